"""Pictures that people attached to chats in LM Studio, under the names that they had (formats §8.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from drawthings_mcp.search.entry import Entry, Listing
from drawthings_mcp.search.sources.folder import SUFFIXES, ReadFacts, is_plain_file, read_picture, walk

ATTACHMENTS = "user-files"
"""Where attachments are, beside a file that describes each of them."""
WORKING_FOLDERS = "working-directories"
"""Where pictures of tool results are, by chat."""
KIND = "lm-studio"
_MAX_DESCRIPTION = 4 << 20
"""Bytes of a description, which contains a preview."""


@dataclass(frozen=True, slots=True)
class LMStudioSource:
    """One of LM Studio's folders of pictures."""

    root: Path
    read_facts: ReadFacts

    @property
    def kind(self) -> str:
        """``lm-studio``."""
        return KIND

    def is_there(self) -> bool:
        """Whether the folder is there."""
        return self.root.is_dir()

    def list_folders(self) -> Iterator[Listing]:
        """Every folder and its pictures."""
        return walk(self.root, SUFFIXES)

    def read(self, path: Path) -> Iterator[Entry]:
        """The one picture of a file."""
        yield read_picture(path, self.read_facts, _find_original_name(path))

    def find_place(self, path: Path, key: str) -> str | None:
        """Its path, when it is still there."""
        return str(path) if is_plain_file(path) else None

    def read_preview(self, path: Path, key: str) -> Path | bytes:
        """The file itself."""
        return path


def is_lm_studio(folder: Path) -> bool:
    """Whether a folder is LM Studio's home."""
    return (folder / ATTACHMENTS).is_dir() and (folder / "conversations").is_dir()


def _find_original_name(path: Path) -> str:
    """The name that an attachment had; empty when nothing tells it."""
    description = path.with_name(f"{path.name}.metadata.json")
    try:
        if description.stat().st_size > _MAX_DESCRIPTION:
            return ""
        name = json.loads(description.read_bytes()).get("originalName", "")
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""
    return PurePath(name).stem if isinstance(name, str) else ""
