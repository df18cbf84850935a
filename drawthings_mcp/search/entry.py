"""The values that sources hand to the index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from drawthings_mcp.metadata.dialect import ImageMetadata
    from drawthings_mcp.tensors.pixels import ImageLike


class Stamp(NamedTuple):
    """What tells that a file has changed without reading it."""

    inode: int
    size: int
    mtime_ns: int


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file."""
    # Some file systems use all 64 bits; the database's numbers are signed.
    inode = status.st_ino if status.st_ino < 1 << 63 else status.st_ino - (1 << 64)
    return Stamp(inode, status.st_size, status.st_mtime_ns)


def place_name(path: Path) -> str:
    """What people would call a file: its own name and that of its folder."""
    return f"{path.stem} {path.parent.name}"


class Listing(NamedTuple):
    """The files of one folder.

    Attributes
    ----------
    problem
        Why the folder could not be listed; then nothing is known of its files.
    """

    folder: Path
    files: dict[str, Stamp]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture as its source describes it.

    Attributes
    ----------
    key
        Which picture of its file; empty when the file is the picture.
    content
        The same for the same picture wherever it is, and for no other.
    name
        What people would call it: a file's name without its suffix, the folder's name.
    modified
        Time zone aware; counts when the picture itself tells no date.
    """

    key: str
    content: str
    name: str
    modified: datetime
    facts: ImageMetadata


@runtime_checkable
class Source(Protocol):
    """A place where pictures are: what is there, and what one file of it contains."""

    @property
    def kind(self) -> str:
        """``generated``, ``folders``, ``comfyui``, ``lm-studio`` or ``projects``."""

    @property
    def root(self) -> Path:
        """Everything of the source is below it; absolute."""

    def is_there(self) -> bool:
        """Whether the root is; a disk may be disconnected."""

    def list_folders(self) -> Iterator[Listing]:
        """Every folder and its files.

        Raises
        ------
        FileNotFoundError
            The root is not there: a disk that is not connected, perhaps.
        """

    def read(self, path: Path) -> Iterator[Entry]:
        """The pictures of one file.

        Raises
        ------
        DrawThingsError
            The file cannot be read, or is no picture.
        """

    def find_place(self, path: Path, key: str) -> str | None:
        """How the picture is referred to: its path, or ``project://<file>#<key>``; None when it is there no more."""

    def read_preview(self, path: Path, key: str) -> ImageLike:
        """What shows the picture; it may be small.

        Raises
        ------
        DrawThingsError
            There is none.
        """
