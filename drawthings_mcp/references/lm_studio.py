"""The newest picture that a user attached in LM Studio, which tells servers nothing of it (formats §8.1).

Owns where LM Studio keeps what. Its folders are undocumented: whatever is not as expected is as good as not there.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

_POINTER = ".lmstudio-home-pointer"
_HOMES = (".lmstudio", ".cache/lm-studio")
_USER_FILES = "user-files"
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"})
_STAMP = re.compile(r"(\d{13}) - ")
"""Milliseconds before the original name, in the name of an attachment."""


class Attachment(NamedTuple):
    """A picture that was attached, and when."""

    path: Path
    when: datetime


def find_user_files() -> Path | None:
    """LM Studio's folder of attachments, links resolved; None when there is none."""
    candidates = (home / _USER_FILES for home in _list_homes())
    return next((Path(os.path.realpath(folder)) for folder in candidates if folder.is_dir()), None)


def _list_homes() -> list[Path]:
    home = Path.home()
    homes = [home / name for name in _HOMES]
    try:
        pointed = (home / _POINTER).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return homes
    return [Path(pointed), *homes] if pointed.startswith("/") else homes


def find_newest_attachment(folder: Path) -> Attachment | None:
    """The picture that was attached last; None when there is none."""
    try:
        paths = [path for path in folder.iterdir() if path.suffix.lower() in _PICTURES and path.is_file()]
        attachments = [Attachment(path, _find_time(path)) for path in paths]
    except OSError:
        return None
    return max(attachments, key=lambda attachment: attachment.when, default=None)


def _find_time(path: Path) -> datetime:
    """When it was attached: a copy may have kept the time of its original, but its name tells."""
    modified = path.stat().st_mtime
    stamp = _STAMP.match(path.name)
    return datetime.fromtimestamp(max(modified, int(stamp[1]) / 1000 if stamp else 0), UTC)
