"""What a source of pictures is: its contract, the values that it hands to the index, how its folders are walked.

A fingerprint tells copies from each other by a few kilobytes of each; it is kept with tags and must not change.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol, TypeAlias, runtime_checkable

from drawthings_mcp.errors import InvalidImageError

if TYPE_CHECKING:
    from drawthings_mcp.metadata.dialect import ImageMetadata
    from drawthings_mcp.tensors.pixels import ImageLike

_PART = 16 * 1024
"""Bytes of each end that are read: the beginning has the metadata, the end the checksum of a PNG's pixels."""
_DIGEST = 16


CHANGING = -1
"""Stamp of a folder that is to be listed each time."""
_SETTLED_NS = 2_000_000_000
"""Age from which a folder's time tells changes apart; file systems round it, up to two seconds."""
KnownFolders: TypeAlias = Mapping[Path, int]
"""Folders that were listed, and their stamps."""
NONE_KNOWN: KnownFolders = MappingProxyType({})


class FileStamp(NamedTuple):
    """What tells that a file has changed without reading it."""

    inode: int
    size: int
    mtime_ns: int


def stamp_of(status: os.stat_result) -> FileStamp:
    """The stamp of a file."""
    # Some file systems use all 64 bits; the database's numbers are signed.
    inode = status.st_ino if status.st_ino < 1 << 63 else status.st_ino - (1 << 64)
    return FileStamp(inode, status.st_size, status.st_mtime_ns)


class Listing(NamedTuple):
    """The files of one folder; nothing is known of them when a ``problem`` says why it could not be listed.

    ``links`` are names of links to folders, which are not followed; ``unnamed`` counts files and folders whose names
    are no text. ``stamp`` tells whether the folder has changed since; ``CHANGING`` when nothing tells.
    """

    folder: Path
    files: dict[str, FileStamp]
    problem: str = ""
    links: tuple[str, ...] = ()
    unnamed: int = 0
    stamp: int = CHANGING


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture as its source describes it.

    ``key`` tells which picture of its file it is, empty when the file is the picture. ``content`` is the same for the
    same picture wherever it is, and for no other. ``name`` is what people would call it: a file's name without its
    suffix. ``modified``, time zone aware, counts when the picture itself tells no date.
    """

    key: str
    content: str
    name: str
    modified: datetime
    metadata: ImageMetadata


@runtime_checkable
class PictureSource(Protocol):
    """A place where pictures are: what is there, and what one file of it contains.

    The files are below ``root``, an absolute path. ``kind`` is ``generated``, ``folders``, ``comfyui``, ``lm-studio``
    or ``projects``.
    """

    @property
    def kind(self) -> str:
        """``generated``, ``folders``, ``comfyui``, ``lm-studio`` or ``projects``."""

    @property
    def root(self) -> Path:
        """Everything of the source is below it; absolute."""

    def is_there(self) -> bool:
        """Whether the root is; a disk may be disconnected."""

    def list_folders(self, known: KnownFolders = NONE_KNOWN) -> Iterator[Listing]:
        """Every folder and its files; raises ``FileNotFoundError`` when the root is not there, on a disk perhaps.

        Of ``known`` folders, those that are as they were may be left out.
        """

    def read(self, path: Path) -> Iterator[Entry]:
        """The pictures of one file; raises ``DrawThingsError`` when it cannot be read, or is no picture."""

    def find_place(self, path: Path, key: str) -> str | None:
        """How the picture is referred to: its path, or ``project://<file>#<key>``; None when it is there no more."""

    def read_preview(self, path: Path, key: str) -> ImageLike:
        """What shows the picture; it may be small. Raises ``DrawThingsError`` when there is none."""


def open_listed(path: Path) -> BinaryIO:
    """A file of a source, open for reading, if it still lies where it was listed: no link leads there.

    Raises ``InvalidImageError`` when it is no file any more, ``OSError`` when it cannot be opened.
    """
    from drawthings_mcp.tensors.picture_files import open_regular_file

    try:
        return open_regular_file(path, sys.maxsize, follows_links=False)
    except InvalidImageError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise


def fingerprint(file: BinaryIO) -> str:
    """Equal for equal files, and nearly always different for others: size and both ends."""
    size = file.seek(0, os.SEEK_END)
    digest = hashlib.blake2b(str(size).encode(), digest_size=_DIGEST)
    for start in (0, max(0, size - _PART)):
        file.seek(start)
        digest.update(file.read(_PART))
    return digest.hexdigest()


def are_copies(one: Path, other: Path) -> bool:
    """Whether two files of one fingerprint are byte for byte the same; not when one cannot be read."""
    from drawthings_mcp.tensors.picture_files import hash_file

    try:
        with open_listed(one) as first, open_listed(other) as second:
            return os.fstat(first.fileno()).st_size <= 2 * _PART or hash_file(first) == hash_file(second)
    except (OSError, InvalidImageError):
        return False


def tell_apart(content: str, path: Path) -> str:
    """The identity of a file whose fingerprint another file has that is no copy of it."""
    from drawthings_mcp.tensors.picture_files import hash_file

    with open_listed(path) as file:
        return f"{content}-{hash_file(file)[:_DIGEST]}"


def walk(
    root: Path, suffixes: Collection[str], skipped: Collection[Path] = (), known: KnownFolders = NONE_KNOWN
) -> Iterator[Listing]:
    """A folder and those below it, each with its files of some suffixes; nothing hidden.

    With ``known`` folders, only those that have changed and those that are new. Raises ``FileNotFoundError`` when the
    root is not there.
    """
    if not root.is_dir():
        raise FileNotFoundError(str(root))
    changed = (folder for folder, stamp in known.items() if stamp == CHANGING or stamp_folder(folder) != stamp)
    waiting = list(changed) if known else [root]
    while waiting:
        folder = waiting.pop()
        stamp = stamp_folder(folder)
        try:
            listing, below = _list_folder(folder, suffixes)
        except FileNotFoundError:
            yield Listing(folder, {})
            continue
        except OSError as error:
            yield Listing(folder, {}, f"{folder} cannot be listed: {error.strerror}.")
            continue
        waiting += sorted(set(below).difference(skipped, known), reverse=True)
        yield listing._replace(stamp=stamp)


def stamp_folder(folder: Path) -> int:
    """When something in a folder was last created, renamed or deleted; ``CHANGING`` when that was only just now."""
    try:
        changed = folder.stat().st_mtime_ns
    except OSError:
        return CHANGING
    return changed if abs(time.time_ns() - changed) > _SETTLED_NS else CHANGING


def _list_folder(folder: Path, suffixes: Collection[str]) -> tuple[Listing, list[Path]]:
    files: dict[str, FileStamp] = {}
    below: list[Path] = []
    links: list[str] = []
    unnamed = 0
    with os.scandir(folder) as found:
        for item in found:
            if item.name.startswith("."):
                continue
            if not _is_text(item.name):
                unnamed += item.is_dir() or _has_suffix(item.name, suffixes)
            elif item.is_dir(follow_symlinks=False):
                below.append(folder / item.name)
            elif item.is_symlink():
                links += [item.name] if item.is_dir() else []
            elif _has_suffix(item.name, suffixes) and item.is_file(follow_symlinks=False):
                files[item.name] = stamp_of(item.stat(follow_symlinks=False))
    return Listing(folder, files, links=tuple(sorted(links)), unnamed=unnamed), below


def _has_suffix(name: str, suffixes: Collection[str]) -> bool:
    return os.path.splitext(name)[1].lower() in suffixes  # noqa: PTH122 - a path of each name takes too long


def is_plain_file(path: Path) -> bool:
    """Whether there is a file that is no link: one may lead out of the folders that the user allowed."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there and can be seen."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_text(name: str) -> bool:
    """Whether a name can be written down; those that some other system made are bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
