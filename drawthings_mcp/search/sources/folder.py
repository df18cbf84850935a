"""Folders of pictures, with everything below them.

Owns which files count as pictures. Links are not followed: they lead in circles, or out of the folders that the
user allowed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeAlias

from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.search.entry import Entry, Listing, Stamp, place_name, stamp_of
from drawthings_mcp.search.sources.fingerprint import fingerprint

ReadFacts: TypeAlias = Callable[[BinaryIO, Path], ImageMetadata]
"""What an open picture file says about itself; the path is what errors call it."""

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)


GENERATED = "generated"
_FRAME = re.compile(r"(.+)-\d{4,}\.png")
"""As ``library.FrameSet`` names frames."""


def walk(root: Path, suffixes: Collection[str], skipped: Collection[Path] = ()) -> Iterator[Listing]:
    """A folder and those below it, each with its files of some suffixes; nothing hidden.

    Raises
    ------
    FileNotFoundError
        The root is not there.
    """
    if not root.is_dir():
        raise FileNotFoundError(str(root))
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            listing, below = _list_folder(folder, suffixes)
        except OSError as error:
            yield Listing(folder, {}, f"{folder} cannot be listed: {error.strerror}.")
            continue
        waiting += sorted(set(below).difference(skipped), reverse=True)
        yield listing


def _list_folder(folder: Path, suffixes: Collection[str]) -> tuple[Listing, list[Path]]:
    files: dict[str, Stamp] = {}
    below: list[Path] = []
    with os.scandir(folder) as found:
        for item in found:
            if item.name.startswith(".") or not _is_text(item.name):
                continue
            if item.is_dir(follow_symlinks=False):
                below.append(folder / item.name)
            elif os.path.splitext(item.name)[1].lower() in suffixes and item.is_file(follow_symlinks=False):  # noqa: PTH122
                files[item.name] = stamp_of(item.stat(follow_symlinks=False))
    return Listing(folder, files), below


def is_plain_file(path: Path) -> bool:
    """Whether there is a file that is no link: one may lead out of the folders that the user allowed."""
    return path.is_file() and not path.is_symlink()


def _is_text(name: str) -> bool:
    """Whether a name can be written down; those that some other system made are bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _drop_frames(files: dict[str, Stamp]) -> dict[str, Stamp]:
    """Without those that follow the first frame of a video: all of them say and show nearly the same."""
    firsts = {name: _name_first_frame(name) for name in files}
    return {name: stamp for name, stamp in files.items() if firsts[name] == name or firsts[name] not in files}


def _name_first_frame(name: str) -> str:
    """The file of the first frame, for one that may be a later one; otherwise empty."""
    match = _FRAME.fullmatch(name)
    return f"{match[1]}-0001.png" if match else ""


def read_picture(path: Path, read_facts: ReadFacts, name: str = "") -> Entry:
    """One picture file.

    Raises
    ------
    DrawThingsError
        It cannot be read, or is no picture.
    OSError
        It is gone, or its disk is.
    """
    with path.open("rb") as file:
        facts = read_facts(file, path)
        content = fingerprint(file)
        modified = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
    return Entry("", content, name or place_name(path), modified, facts)


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Pictures in a folder.

    Attributes
    ----------
    kind
        ``folders``; ``generated`` for our own library; ``comfyui`` for the output folder of that program.
    read_facts
        What a picture says about itself.
    skipped
        Folders below it that are sources of their own.
    """

    kind: str
    root: Path
    read_facts: ReadFacts
    skipped: frozenset[Path] = field(default_factory=frozenset)

    def is_there(self) -> bool:
        """Whether the folder is there."""
        return self.root.is_dir()

    def list_folders(self) -> Iterator[Listing]:
        """Every folder and its pictures; of the frames of our own videos the first one only."""
        for listing in walk(self.root, SUFFIXES, self.skipped):
            yield listing._replace(files=_drop_frames(listing.files)) if self.kind == GENERATED else listing

    def read(self, path: Path) -> Iterator[Entry]:
        """The one picture of a file."""
        yield read_picture(path, self.read_facts)

    def find_place(self, path: Path, key: str) -> str | None:
        """Its path, when it is still there."""
        return str(path) if is_plain_file(path) else None

    def read_preview(self, path: Path, key: str) -> Path | bytes:
        """The file itself."""
        return path
