"""Generated pictures → PNG files in the user's folder, none ever overwritten or half written.

Owns how a file comes into being. Knows nothing of the catalog; the bytes are ``metadata``'s.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drawthings_mcp.errors import StorageError
from drawthings_mcp.generation import GeneratedImage
from drawthings_mcp.metadata import ModelKind, build_metadata, encode_png

_HINTS: Mapping[int, str] = {
    errno.EACCES: "Writing is not allowed there: change its permissions or set DRAWTHINGS_OUTPUT_DIR.",
    errno.EPERM: "Writing is not allowed there: change its permissions or set DRAWTHINGS_OUTPUT_DIR.",
    errno.EROFS: "It is read-only: set DRAWTHINGS_OUTPUT_DIR to another folder.",
    errno.ENOSPC: "The disk is full: free some space, then run the same seed again.",
    errno.EDQUOT: "Your disk quota is used up: free some space, then run the same seed again.",
    errno.ENOTDIR: "A file stands where the folder should be: set DRAWTHINGS_OUTPUT_DIR to a folder.",
    errno.EEXIST: "A file stands where the folder should be: set DRAWTHINGS_OUTPUT_DIR to a folder.",
    errno.ENAMETOOLONG: "The name is too long for this disk: use a shorter one.",
    errno.ENOENT: "The folder vanished or its disk is not connected: check it and try again.",
}

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What file systems without hard links answer: exFAT, FAT, some network shares."""


def save_image(
    image: GeneratedImage,
    folder: Path,
    stem: str,
    *,
    server: str = "",
    requested_size: tuple[int, int] | None = None,
    kind: ModelKind | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a picture with its metadata under a name that nobody had.

    The file is ``<stem>.png``, or ``<stem>-2.png`` and so on when that exists. It appears whole or not at
    all, also when several processes save at once.

    Parameters
    ----------
    folder
        Created when missing.
    stem
        From ``naming.file_stem``.
    server, requested_size, kind, extra
        For the metadata: see ``metadata.build_metadata``.

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    StorageError
        The folder cannot be made or written, or the disk is full. Nothing is left behind.
    InvalidInputError
        The image's seed is not the one that was used.
    """
    packet = build_metadata(image, server=server, requested_size=requested_size, kind=kind, extra=extra)
    data = encode_png(image.pixels, packet)
    folder = folder.absolute()
    with _translate_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _write_temporary(folder, data) as temporary:
            path = _publish(temporary, folder, stem)
        _sync(folder)
    return path


@contextmanager
def _translate_os_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "Check the disk, then run the same seed again.")
        raise StorageError(f"The picture cannot be saved in {folder}: {error.strerror}. {hint}") from error


@contextmanager
def _write_temporary(folder: Path, data: bytes) -> Iterator[Path]:
    """A complete file under a name of its own, which is gone in the end."""
    path = folder / f".{secrets.token_hex(8)}.part"
    try:
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def _publish(temporary: Path, folder: Path, stem: str) -> Path:
    """Give a complete file the first name that is free."""
    names = itertools.chain([f"{stem}.png"], (f"{stem}-{number}.png" for number in itertools.count(2)))
    return next(path for name in names if _take_name(temporary, path := folder / name))


def _take_name(temporary: Path, path: Path) -> bool:
    """False when the name is taken. Linking fails on an existing name, where renaming would overwrite it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _claim_name(temporary, path)
    return True


def _claim_name(temporary: Path, path: Path) -> bool:
    """Take a name by an empty file of our own, which is then replaced by the complete one."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    temporary.replace(path)
    return True


def _sync(folder: Path) -> None:
    """Make the new name survive a power cut; some file systems cannot."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
