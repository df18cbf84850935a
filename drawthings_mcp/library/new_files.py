"""Files that come into being whole, under names that nobody had, and what such a name looks like."""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from drawthings_mcp.errors import StorageError
from drawthings_mcp.faces import Step, Text, say
from drawthings_mcp.private import PART, make_private_folder

_MAX_SLUG_CHARACTERS = 48
_MAX_SLUG_BYTES = 90
"""With date, seed and number a name stays below 143 bytes, the shortest limit in use (encrypted home folders)."""
_PATIENCE = 86_400
"""Seconds after which nobody writes any more to a file that is not complete."""
_NO_WORDS = "image"
COPY = "copy"
"""What is written for others: nothing has to be rendered again for it, and it has folders of its own."""
CONFIGURATION = "configuration"
COPY_OF_CONFIGURATION = f"copy of the {CONFIGURATION}"
_FIXED = (CONFIGURATION, COPY_OF_CONFIGURATION)
"""What has its one place, which no setting moves."""
_HINTS: Mapping[int, str] = {
    errno.EACCES: "Writing is not allowed there: change its permissions, or {step}.",
    errno.EPERM: "Writing is not allowed there: change its permissions, or {step}.",
    errno.EROFS: "It is read-only: {step}.",
    errno.ENOSPC: "The disk is full: free some space, then {again}.",
    errno.EDQUOT: "Your disk quota is used up: free some space, then {again}.",
    errno.ENOTDIR: "A file stands where the folder should be: move it, or {step}.",
    errno.EEXIST: "A file stands where the folder should be: move it, or {step}.",
    errno.ENAMETOOLONG: "The name is too long for this disk: use a shorter one.",
    errno.ENOENT: "The folder vanished or its disk is not connected: check it and try again.",
}
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What file systems without hard links answer: exFAT, FAT, some network shares."""


def file_stem(prompt: str, seed: int, when: datetime) -> str:
    """A name without extension: date, words of the prompt, seed.

    ``2026-11-20_a-red-fox-in-snow_s1234567890``; letters of any script are kept, everything that some file
    system refuses is not. At most 71 characters.
    """
    return f"{when:%Y-%m-%d}_{_slug(prompt)}_s{seed}"


def _slug(prompt: str) -> str:
    words = _list_words(prompt)
    kept = words[:1]
    for word in words[1:]:
        if not _fits("-".join([*kept, word])):
            break
        kept.append(word)
    return _cut("-".join(kept)) or _NO_WORDS


def _list_words(prompt: str) -> list[str]:
    # Marks belong to the letter before them; on their own (emoji selectors) they are none.
    plain = unicodedata.normalize("NFKC", prompt).lower()
    spaced = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in plain)
    return [word for word in spaced.split() if any(unicodedata.category(c)[0] in "LN" for c in word)]


def _fits(slug: str) -> bool:
    return len(slug) <= _MAX_SLUG_CHARACTERS and len(slug.encode()) <= _MAX_SLUG_BYTES


def _cut(slug: str) -> str:
    while not _fits(slug):
        slug = slug[:-1]
    return slug


def number_stems(stem: str) -> Iterator[str]:
    """``fox``, ``fox-2``, ``fox-3`` and so on, without an end."""
    return itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))


def write_new_file(
    folder: Path, names: Iterable[str], write: Callable[[Path], object], *, what: str, private: bool = False
) -> Path:
    """Write a file and give it the first of some names that is free.

    It appears whole or not at all, also when several processes write at once.

    Parameters
    ----------
    folder
        Created when missing.
    names
        Tried in turn; without an end, so that one is free.
    write
        Fills the empty file that it is given the path of.
    what
        What the file is, for messages: ``picture``, or ``COPY``.
    private
        Whether only the owner may enter the folder, when it is made, and read the file.

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    StorageError
        The folder cannot be made or written, or the disk is full. Nothing is left behind.
    """
    folder = folder.absolute()
    with _translate_os_errors(folder, what):
        make_private_folder(folder) if private else folder.mkdir(parents=True, exist_ok=True)
        with _reserve_temporary(folder, private=private) as temporary:
            write(temporary)
            _sync_file(temporary)
            path = next(path for name in names if _take_name(temporary, path := folder / name))
        _sync_folder(folder)
    return path


def write_named_file(path: Path, data: bytes, *, what: str, is_spare: bool = False) -> None:
    """Write a file whose name says what is in it, in a folder of a folder of the state folder, for its owner alone.

    It appears whole, and another with the same name is replaced.

    Parameters
    ----------
    is_spare
        Whether it can be made again, so that nobody waits for the disk.

    Raises
    ------
    StorageError
        As ``write_new_file``.
    """
    with _translate_os_errors(path.parent, what):
        make_private_folder(path.parent.parent)
        make_private_folder(path.parent)
        with _reserve_temporary(path.parent, private=True) as temporary:
            temporary.write_bytes(data)
            if not is_spare:
                _sync_file(temporary)
            temporary.replace(path)
        if not is_spare:
            _sync_folder(path.parent)


def replace_file(path: Path, data: bytes, *, mode: int, what: str) -> None:
    """Write a file that may be there, in one step: whoever reads it finds the old one or the new one, whole.

    Its owner stays, where this process may see to it. A folder that is missing is made for its owner alone.

    Raises
    ------
    StorageError
        As ``write_new_file``.
    """
    with _translate_os_errors(path.parent, what):
        make_private_folder(path.parent)
        with _reserve_temporary(path.parent, private=True) as temporary:
            temporary.write_bytes(data)
            _sync_file(temporary)
            with suppress(OSError, AttributeError):
                status = path.stat()
                os.chown(temporary, status.st_uid, status.st_gid)
            temporary.chmod(mode)
            temporary.replace(path)
        _sync_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Makes a folder if need be, and makes sure that files can be written there.

    Raises
    ------
    StorageError
        They cannot; says why.
    """
    folder = folder.absolute()
    with _translate_os_errors(folder, "picture"):
        folder.mkdir(parents=True, exist_ok=True)
        with _reserve_temporary(folder):
            pass


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed left half written in a folder, a day ago or longer."""
    oldest = time.time() - _PATIENCE
    with suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            if PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        Path(entry.path).unlink()


@contextmanager
def _translate_os_errors(folder: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = Text("Put that right, then try again.") if what in _FIXED else _find_hint(error, is_copy=what == COPY)
        text = "The {what} cannot be saved in {folder}: {reason}. {hint}"
        raise StorageError(Text(text, what=what, folder=folder, reason=say(error.strerror), hint=hint)) from error


def _find_hint(error: OSError, *, is_copy: bool) -> Text:
    """What helps who keeps pictures."""
    return Text(
        _HINTS.get(error.errno or 0, "Check the disk, then {again}."),
        step=Step("set", setting="export_dirs" if is_copy else "output_dir"),
        again=say("try again" if is_copy else "run the same seed again"),
    )


@contextmanager
def _reserve_temporary(folder: Path, *, private: bool = False) -> Iterator[Path]:
    """An empty file under a name of its own, which is gone in the end."""
    path = folder / f".{secrets.token_hex(8)}.part"
    try:
        path.touch(0o600 if private else 0o666, exist_ok=False)
        yield path
    finally:
        path.unlink(missing_ok=True)


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


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut; some file systems cannot."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
