"""Draw Things' own project files as a source: every picture of their histories (formats §5)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from drawthings_mcp.errors import InvalidImageError, InvalidInputError
from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.search.projects.project_file import ProjectFile, format_reference
from drawthings_mcp.search.source import Entry, FileStamp, Listing, is_folder, is_plain_file, walk
from drawthings_mcp.tensors.pixels import ImageLike

KIND = "projects"
_SUFFIX = ".sqlite3"
_DIGEST = 16
_PATIENCE = 1.0
"""Seconds to wait for the app; what it holds longer is tried again by the next run."""


@dataclass(frozen=True, slots=True)
class ProjectSource:
    """The projects in a folder."""

    root: Path
    skipped: frozenset[Path] = frozenset()

    @property
    def kind(self) -> str:
        """``projects``."""
        return KIND

    def is_there(self) -> bool:
        """Whether the folder is there."""
        return is_folder(self.root)

    def list_folders(self) -> Iterator[Listing]:
        """Every folder and its databases."""
        for listing in walk(self.root, {_SUFFIX}, self.skipped):
            yield listing._replace(
                files={name: _add_log(listing.folder / name, stamp) for name, stamp in listing.files.items()}
            )

    def read(self, path: Path) -> Iterator[Entry]:
        """The pictures of a project; none of any other database."""
        modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        try:
            with ProjectFile(path, _PATIENCE, follows_links=False) as project:
                for entry in project.list_entries():
                    metadata = entry.metadata
                    yield Entry(str(entry.id), _identify(entry.id, metadata), path.stem, modified, metadata)
        except InvalidImageError:
            raise
        except InvalidInputError:
            return  # other programs' databases have that suffix as well

    def find_place(self, path: Path, key: str) -> str | None:
        """The reference of a picture, when its project is still there."""
        return format_reference(path, int(key)) if is_plain_file(path) else None

    def read_preview(self, path: Path, key: str) -> ImageLike:
        """The thumbnail that the app kept, or else the picture."""
        with ProjectFile(path, follows_links=False) as project:
            return project.read_thumbnail(int(key)) or project.read_image(int(key))


def _add_log(path: Path, stamp: FileStamp) -> FileStamp:
    """What was written last may still be in the log next to the file."""
    try:
        log = path.with_name(f"{path.name}-wal").stat()
    except OSError:
        return stamp
    return FileStamp(stamp.inode, stamp.size + log.st_size, max(stamp.mtime_ns, log.st_mtime_ns))


def _identify(entry_id: int, metadata: ImageMetadata) -> str:
    """The same in every copy of a project, wherever it lies."""
    told = (
        entry_id,
        metadata.created,
        metadata.seed,
        metadata.model,
        metadata.width,
        metadata.height,
        metadata.steps,
        metadata.prompt,
    )
    return f"project-{hashlib.blake2b(repr(told).encode(), digest_size=_DIGEST).hexdigest()}"
