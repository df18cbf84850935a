"""What may come in, from where, and how much of it: values, made once from the settings.

LM Studio tells servers nothing of a picture that a user attached, so ``latest:a`` looks where it keeps them (formats
§8.1). Its folders are undocumented: whatever is not as expected is as good as not there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from drawthings_mcp.library.originals import INPUTS_FOLDER
from drawthings_mcp.library.records import MediaKind
from drawthings_mcp.library.recovery import MADE_FOLDER, RESCUE_FOLDER
from drawthings_mcp.settings import Settings

if TYPE_CHECKING:
    from drawthings_mcp.web.fetch import Fetched

PictureFetcher: TypeAlias = "Callable[[str, int, float], Awaitable[Fetched]]"
"""Fetches a URL: at most so many bytes, within so many seconds."""
INPUT_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
"""What is taken from outside: what cameras, browsers and chat clients make."""
MAX_PIXELS_BY_FORMAT = {"WEBP": 24_000_000, "AVIF": 40_000_000, "HEIF": 50_000_000}
"""By format, so that no picture takes more than 400 MB to decode: these decoders need 16, 10 and 8 bytes per pixel,
the others 4 (measured with Pillow 13.0 and pillow-heif 1.8)."""
MAX_DATA_BYTES = 24_000_000
"""Of the picture in a ``data:`` URI."""
_PICTURE_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")
_POINTER = ".lmstudio-home-pointer"
_HOMES = (".lmstudio", ".cache/lm-studio")
_USER_FILES = "user-files"
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"})
_MAX_OWN = 500
"""Ids of a kind that are remembered as those of one client."""
_STAMP = re.compile(r"(\d{13}) - ")
"""Milliseconds before the original name, in the name of an attachment."""


async def fetch_picture(url: str, max_bytes: int, timeout: float) -> Fetched:
    """What a public ``https://`` URL gives, unless it says that it is no picture."""
    from drawthings_mcp.web.fetch import fetch_public

    return await fetch_public(url, max_bytes=max_bytes, timeout=timeout, accept=_PICTURE_TYPES)


class OwnPictures:
    """Which pictures one of several clients brought in, made or found: what ``latest`` means to it."""

    def __init__(self) -> None:
        self._ids: dict[str, dict[str, None]] = {}

    def add(self, *image_ids: str) -> None:
        """Notes pictures, oldest first; one that was noted before becomes the newest."""
        for image_id in filter(None, image_ids):
            ids = self._ids.setdefault(image_id[0], {})
            ids.pop(image_id, None)
            ids[image_id] = None
            if len(ids) > _MAX_OWN:
                del ids[next(iter(ids))]

    def list_newest(self, kind: MediaKind) -> list[str]:
        """Ids of a kind, the newest first."""
        return [*reversed(self._ids.get(kind, {}))]


@dataclass(frozen=True, slots=True)
class Visitor:
    """One of several clients of a process, as far as pictures go.

    Attributes
    ----------
    is_remote
        Whether it is on another machine: paths lead to files of this one, which it reaches in folders only that were
        named for that.
    is_lm_studio
        Whether what users attach in LM Studio was attached for it.
    """

    own: OwnPictures = field(default_factory=OwnPictures)
    is_remote: bool = False
    is_lm_studio: bool = False


@dataclass(frozen=True, slots=True)
class ImportPolicy:
    """The limits of one process, or of one client of it.

    Attributes
    ----------
    folders
        From which files may be read by path, links resolved.
    own_folders
        Those of them in which this package saves pictures.
    attachments
        LM Studio's folder of what users attach; None when ``latest:a`` is not to look there.
    attachments_hint
        The same folder when it exists but was not allowed, for errors.
    max_file_bytes, max_data_bytes, max_download_bytes
        Of a file, of what a ``data:`` URI holds, of what a URL gives.
    download_seconds
        For a whole download.
    max_side
        Longest side in pixels.
    own
        The client's pictures; None when there is one client, to whom all of them belong.
    """

    state_dir: Path
    folders: tuple[Path, ...]
    own_folders: tuple[Path, ...] = ()
    attachments: Path | None = None
    attachments_hint: Path | None = None
    max_file_bytes: int = 128_000_000
    max_data_bytes: int = MAX_DATA_BYTES
    max_download_bytes: int = 32_000_000
    download_seconds: float = 30.0
    max_side: int = 16_384
    fetch: PictureFetcher = fetch_picture
    own: OwnPictures | None = None


def build_policy(settings: Settings, visitor: Visitor | None = None) -> ImportPolicy:
    """The policy of some settings, for one of several clients or for the only one.

    The output folder and this package's own folders may always be read. LM Studio's attachments are looked through
    when their folder lies in one that may be read, such as the user's home.
    """
    state_dir = settings.state_dir
    own = [settings.output_dir, state_dir / RESCUE_FOLDER, state_dir / MADE_FOLDER]
    named = {_resolve(folder) for folder in settings.input_dirs}
    own_folders = tuple(_resolve(folder) for folder in own)
    user_files = find_user_files()
    may_read = user_files is not None and any(user_files.is_relative_to(folder) for folder in named)
    policy = ImportPolicy(
        state_dir=state_dir,
        folders=tuple(dict.fromkeys([*sorted(named), *own_folders, _resolve(state_dir / INPUTS_FOLDER)])),
        own_folders=own_folders,
        attachments=user_files if may_read else None,
        attachments_hint=None if may_read else user_files,
    )
    if visitor is None:
        return policy
    if visitor.is_remote or not visitor.is_lm_studio:
        policy = replace(policy, attachments=None, attachments_hint=None)
    if visitor.is_remote:
        is_chosen = settings.origins.get("input_dirs", "default") != "default"
        policy = replace(policy, folders=tuple(sorted(named)) if is_chosen else ())
    return replace(policy, own=visitor.own)


def _resolve(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


class AttachedFile(NamedTuple):
    """A picture that was attached, and when."""

    path: Path
    when: datetime


def find_user_files() -> Path | None:
    """LM Studio's folder of attachments, links resolved; None when there is none."""
    candidates = (home / _USER_FILES for home in _list_homes())
    return next((_resolve(folder) for folder in candidates if os.path.isdir(folder)), None)  # noqa: PTH112 - never raises


def _list_homes() -> list[Path]:
    home = Path.home()
    homes = [home / name for name in _HOMES]
    try:
        pointed = (home / _POINTER).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return homes
    return [Path(pointed), *homes] if pointed.startswith("/") else homes


def list_attachments(folder: Path) -> list[AttachedFile]:
    """The pictures that were attached, the newest first."""
    try:
        paths = [path for path in folder.iterdir() if path.suffix.lower() in _PICTURES and path.is_file()]
        attachments = [AttachedFile(path, _find_time(path)) for path in paths]
    except OSError:
        return []
    return sorted(attachments, key=lambda attachment: (attachment.when, attachment.path.name), reverse=True)


def find_attachment(folder: Path, name: str) -> AttachedFile | None:
    """The newest picture that was attached under a name, with or without what LM Studio puts before it."""
    wanted = name.casefold()
    return next((one for one in list_attachments(folder) if wanted in _list_names(one.path.name.casefold())), None)


def _list_names(name: str) -> tuple[str, str]:
    return name, _STAMP.sub("", name, count=1)


def _find_time(path: Path) -> datetime:
    """When it was attached: a copy may have kept the time of its original, but its name tells."""
    modified = path.stat().st_mtime
    stamp = _STAMP.match(path.name)
    return datetime.fromtimestamp(max(modified, int(stamp[1]) / 1000 if stamp else 0), UTC)
