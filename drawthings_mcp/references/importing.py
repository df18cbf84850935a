"""Pictures from outside → records: the same bytes are the same picture, wherever they come from. Blocks."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.faces import Phrase, Step, Text
from drawthings_mcp.library.catalog import ImageCatalog, is_in_place
from drawthings_mcp.library.originals import hash_pixels, keep_input
from drawthings_mcp.library.records import ImageRecord
from drawthings_mcp.library.recovery import read_own, recover_file
from drawthings_mcp.quoting import show_path
from drawthings_mcp.references.policy import INPUT_FORMATS, MAX_PIXELS_BY_FORMAT, ImportPolicy
from drawthings_mcp.tensors.picture_files import PictureInfo, check_picture, hash_file, name_file, open_regular_file
from drawthings_mcp.tensors.pixels import read_pixels

_MAX_PREVIEW_SIDE = 1568
"""Nothing larger is ever shown to a model."""
_FOLDERS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference leads to.

    Attributes
    ----------
    notes
        Sentences about what the caller might not expect: a guess, a file that changed, frames that are not used.
    """

    record: ImageRecord
    notes: tuple[str, ...] = ()


def import_path(path: Path, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    """The record of a file.

    Raises
    ------
    InvalidImageError
        It lies outside the folders that may be read, or is no picture that can be taken.
    """
    real = check_place(path, policy)
    with open_regular_file(real, policy.max_file_bytes, follows_links=False) as file:
        sha256 = hash_file(file)
        known = _find_known(catalog, sha256, real) or _find_own(catalog, file, real, policy)
        file.seek(0)
        if known is not None:
            return Resolved(known)
        info = check_file(file, name_file(path), policy)
        shown = _find_shown(catalog, file, info)
        if shown is not None:
            return Resolved(shown)
        size = os.fstat(file.fileno()).st_size
    return _register(catalog, real, sha256, size, info, str(path))


def import_bytes(data: bytes, name: str, origin: str, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    """The record of a picture that came without a file, which is given one.

    Parameters
    ----------
    name
        What errors call it.

    Raises
    ------
    InvalidImageError
        It is no picture that can be taken.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    known = _find_known(catalog, sha256)
    if known is not None and is_in_place(known):
        return Resolved(known)
    file = io.BytesIO(data)
    info = check_file(file, name, policy)
    if known is None and (shown := _find_shown(catalog, file, info)) is not None:
        return Resolved(shown)
    path = keep_input(policy.state_dir, data, info.format)
    if known is not None:
        return Resolved(catalog.relocate(known.id, path))
    return _register(catalog, path, sha256, len(data), info, origin)


def keep_found(data: bytes, record: ImageRecord, catalog: ImageCatalog, policy: ImportPolicy) -> Resolved:
    """The record of what was found on the web, with the file that it now has.

    Raises
    ------
    InvalidImageError
        The bytes are no picture that can be taken.
    """
    info = check_file(io.BytesIO(data), f"The picture of {record.id}", policy)
    kept = catalog.register_found(
        record.origin,
        path=keep_input(policy.state_dir, data, info.format),
        sha256=hashlib.sha256(data).hexdigest(),
        created=record.created,
        width=info.width,
        height=info.height,
        size_bytes=len(data),
        format=info.format,
    )
    return _note_oddities(kept, info)


def check_place(path: Path, policy: ImportPolicy) -> Path:
    """The file that a path leads to, links resolved, which must lie in a folder that may be read.

    Raises
    ------
    InvalidImageError
        It does not, whether it exists or not.
    """
    try:
        real = Path(os.path.realpath(path))
    except OSError as error:
        raise InvalidImageError(f"{name_file(path)} cannot be read ({error.strerror}); check the path.") from error
    if any(real.is_relative_to(folder) for folder in policy.folders):
        return real
    state_dir = _resolve(policy.state_dir)
    folders = [folder for folder in policy.folders if not folder.is_relative_to(state_dir)][:_FOLDERS_SHOWN]
    if not folders:
        problem = "{file} is a path on the server's machine; give an id, a data: URI or an https:// URL, or {step}."
        raise InvalidImageError(
            Text(problem, file=Phrase(name_file(path)), step=Step("allow_folder", folder="its folder"))
        )
    raise InvalidImageError(
        Text(
            "{file} lies outside the folders that may be read ({folders}); copy it there, or {step}.",
            file=Phrase(name_file(path)),
            folders=Phrase(", ".join(map(show_path, folders))),
            step=Step("allow_folder", folder="its folder"),
        )
    )


def _find_known(catalog: ImageCatalog, sha256: str, path: Path | None = None) -> ImageRecord | None:
    """The picture with these bytes; when its file is gone, ``path`` is where it is now."""
    known = catalog.find_by_hash(sha256)
    if known is None or path is None or is_in_place(known):
        return known
    return catalog.relocate(known.id, path)


def _find_own(catalog: ImageCatalog, file: BinaryIO, path: Path, policy: ImportPolicy) -> ImageRecord | None:
    """The record of a picture that we saved but could not record then."""
    reservations = catalog.list_reservations()
    places = {*policy.own_folders, *map(_resolve, reservations.values())}
    if not any(path.is_relative_to(place) for place in places):
        return None
    own = read_own(file, path)
    return recover_file(catalog, own, trusted=reservations) if own is not None else None


def _resolve(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def check_file(file: BinaryIO, name: str, policy: ImportPolicy) -> PictureInfo:
    """What picture an open file holds; refuses one that is not taken."""
    info = check_picture(file, name, formats=INPUT_FORMATS, max_side=policy.max_side, max_pixels=MAX_PIXELS_BY_FORMAT)
    file.seek(0)
    return info


def _find_shown(catalog: ImageCatalog, file: BinaryIO, info: PictureInfo) -> ImageRecord | None:
    """The picture that these pixels were a preview of, for clients that save previews in files of their own."""
    if max(info.width, info.height) > _MAX_PREVIEW_SIDE:
        return None
    return catalog.find_by_preview(hash_pixels(read_pixels(file, "The picture")))


def _register(
    catalog: ImageCatalog, path: Path, sha256: str, size_bytes: int, info: PictureInfo, origin: str
) -> Resolved:
    record = catalog.register_file(
        "a",
        path,
        sha256=sha256,
        origin=origin,
        created=datetime.now(UTC),
        width=info.width,
        height=info.height,
        size_bytes=size_bytes,
        format=info.format,
    )
    return _note_oddities(record, info)


def _note_oddities(record: ImageRecord, info: PictureInfo) -> Resolved:
    return Resolved(record, tuple(f"{record.id} {text}" for text in _list_oddities(info)))


def _list_oddities(info: PictureInfo) -> Iterator[str]:
    if info.is_animated:
        yield "has several frames, of which the first is used"
    if info.mode == "CMYK":
        yield "is in the colours of a printer (CMYK) and is used in sRGB"
    if info.mode.startswith("I"):
        yield "has 16 bits per channel, of which 8 are used"
