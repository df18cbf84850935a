"""Folders of pictures, and which sources are in the folders that the user allowed.

Folders of ComfyUI and LM Studio are recognised (formats §8.1).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePath
from typing import BinaryIO, TypeAlias

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.library.records import MediaKind
from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.search.projects.project_file import ProjectSource
from drawthings_mcp.search.source import (
    CHANGING,
    NONE_KNOWN,
    Entry,
    FileStamp,
    KnownFolders,
    Listing,
    PictureSource,
    fingerprint,
    is_folder,
    is_plain_file,
    open_listed,
    stamp_folder,
    stamp_of,
    walk,
)
from drawthings_mcp.tensors.picture_files import PictureFile, open_regular_file
from drawthings_mcp.tensors.pixels import ImageLike

ReadMetadata: TypeAlias = Callable[[BinaryIO, Path], ImageMetadata]
"""What an open picture file says about itself; the path is what errors call it."""

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
GENERATED, FOLDERS, COMFYUI, LM_STUDIO = "generated", "folders", "comfyui", "lm-studio"
LIBRARY, IMPORTED = "library", "imported"
LIBRARY_KINDS: Mapping[str, MediaKind] = {LIBRARY: "v", IMPORTED: "a"}
"""What the library has outside of the folders that are searched: pictures that were made here, and brought in."""
ListFiles: TypeAlias = Callable[["MediaKind", Iterable[Path]], Iterable[Path]]
"""Where the library has its pictures of a kind; those in some folders need not be told."""
_FRAME = re.compile(r"(.+)-\d{4,}\.png")
"""As ``library.FrameSet`` names frames."""
_COMFYUI_PARTS = ("output", "custom_nodes", "models")
_ATTACHMENTS = "user-files"
"""Where LM Studio keeps attachments of chats, each with a file that describes it."""
_WORKING_FOLDERS = "working-directories"
"""Where LM Studio keeps pictures of tool results, by chat."""
_MAX_DESCRIPTION = 4 << 20
"""Bytes of an attachment's description, which contains a preview."""


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Pictures in a folder, without ``skipped`` folders below it, which are sources of their own.

    Links are not followed: they lead in circles, or out of the folders that the user allowed. ``kind`` is ``folders``;
    ``generated`` for our own library; ``library`` and ``imported`` for what it has elsewhere; ``comfyui`` and
    ``lm-studio`` for folders of those programs. Attachments of LM Studio are found under the names that they had.
    """

    kind: str
    root: Path
    read_metadata: ReadMetadata
    skipped: frozenset[Path] = field(default_factory=frozenset)

    def is_there(self) -> bool:
        """Whether the folder is there."""
        return is_folder(self.root)

    def list_folders(self, known: KnownFolders = NONE_KNOWN) -> Iterator[Listing]:
        """Every folder and its pictures; of the frames of our own videos the first one only."""
        for listing in walk(self.root, SUFFIXES, self.skipped, known):
            yield listing._replace(files=_drop_frames(listing.files)) if self.kind == GENERATED else listing

    def read(self, path: Path) -> Iterator[Entry]:
        """The one picture of a file."""
        with open_listed(path) as file:
            metadata = self.read_metadata(file, path)
            content = fingerprint(file)
            modified = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
        name = _find_original_name(path) if self.kind == LM_STUDIO else ""
        yield Entry("", content, name or path.stem, modified, metadata)

    def find_place(self, path: Path, key: str) -> str | None:
        """Its path, when it is still there."""
        return str(path) if is_plain_file(path) else None

    def read_preview(self, path: Path, key: str) -> ImageLike:
        """The file itself."""
        return PictureFile(path, follows_links=False)


@dataclass(frozen=True, slots=True)
class LibrarySource(FolderSource):
    """Pictures of the library that lie outside of all folders that are searched, which are ``skipped``.

    ``list_files`` tells where the library has its pictures, given folders whose pictures need not be told.
    """

    list_files: Callable[[Iterable[Path]], Iterable[Path]] = tuple

    def list_folders(self, known: KnownFolders = NONE_KNOWN) -> Iterator[Listing]:
        """The folders of those pictures, with no other files."""
        names: dict[Path, list[str]] = {}
        for path in self.list_files(self.skipped):
            if path.suffix.lower() in SUFFIXES:
                names.setdefault(path.parent, []).append(path.name)
        for parent, here in names.items():
            folder = _resolve(parent)
            if self.skipped.intersection((folder, *folder.parents)):
                continue
            stamp = stamp_folder(folder)
            if stamp == CHANGING or known.get(folder) != stamp:
                files = {name: stamp_of((folder / name).lstat()) for name in here if is_plain_file(folder / name)}
                yield Listing(folder, _drop_frames(files), stamp=stamp)


def choose_sources(
    output_dir: Path,
    folders: Sequence[Path],
    read_metadata: ReadMetadata,
    skipped: Sequence[Path] = (),
    list_files: ListFiles | None = None,
) -> tuple[PictureSource, ...]:
    """The sources in some folders, and our own library ``output_dir``; no file belongs to two.

    Folders that are ``skipped`` are not searched as parts of others: what lies there are copies. ``list_files`` tells
    where the library has pictures outside of some folders; of those that lie inside it may leave out as many as it can.

    A ComfyUI installation or LM Studio's home stands for what people keep there. Each folder may have project files as
    well as pictures.
    """
    roots = {_resolve(output_dir): GENERATED}
    for folder in folders:
        for root, kind in _recognise(_resolve(folder)):
            roots.setdefault(root, kind)
    sources: list[PictureSource] = []
    for root, kind in roots.items():
        others = frozenset((*roots, *map(_resolve, skipped))) - {root}
        sources.append(FolderSource(kind, root, read_metadata, others))
        if kind == FOLDERS:
            sources.append(ProjectSource(root, others))
    if list_files is not None:
        everywhere = Path(_resolve(output_dir).anchor)
        for kind, media in LIBRARY_KINDS.items():
            told = partial(list_files, media)
            sources.append(LibrarySource(kind, everywhere, read_metadata, frozenset(roots), told))
    return tuple(sources)


def _recognise(folder: Path) -> Iterator[tuple[Path, str]]:
    if _is_lm_studio(folder):
        yield folder / _ATTACHMENTS, LM_STUDIO
        yield folder / _WORKING_FOLDERS, LM_STUDIO
    elif _is_comfyui(folder):
        yield folder / "output", COMFYUI
    else:
        yield folder, COMFYUI if folder.name == "output" and _is_comfyui(folder.parent) else FOLDERS


def _is_comfyui(folder: Path) -> bool:
    return all(is_folder(folder / part) for part in _COMFYUI_PARTS)


def _resolve(folder: Path) -> Path:
    """Where a folder really is: two spellings of one folder would index it twice."""
    try:
        return folder.expanduser().resolve()
    except (OSError, RuntimeError):
        return folder.absolute()


def _is_lm_studio(folder: Path) -> bool:
    """Whether a folder is LM Studio's home."""
    return is_folder(folder / _ATTACHMENTS) and is_folder(folder / "conversations")


def _find_original_name(path: Path) -> str:
    """The name that an attachment had; empty when nothing tells it."""
    description = path.with_name(f"{path.name}.metadata.json")
    try:
        with open_regular_file(description, _MAX_DESCRIPTION, follows_links=False) as file:
            name = json.loads(file.read()).get("originalName", "")
    except (InvalidImageError, OSError, ValueError, AttributeError, RecursionError):
        return ""
    return PurePath(name).stem if isinstance(name, str) else ""


def _drop_frames(files: dict[str, FileStamp]) -> dict[str, FileStamp]:
    """Without those that follow the first frame of a video: all of them say and show nearly the same."""
    firsts = {name: _name_first_frame(name) for name in files}
    return {name: stamp for name, stamp in files.items() if firsts[name] == name or firsts[name] not in files}


def _name_first_frame(name: str) -> str:
    """The file of the first frame, for one that may be a later one; otherwise empty."""
    match = _FRAME.fullmatch(name)
    return f"{match[1]}-0001.png" if match else ""
