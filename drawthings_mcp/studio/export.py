"""Copies of pictures to be given to others: JPEG, WebP or PNG in the folders for exports, never over another file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from drawthings_mcp.errors import InvalidImageError, InvalidInputError
from drawthings_mcp.faces import Step, Text, say
from drawthings_mcp.library.new_files import COPY, number_stems, write_new_file
from drawthings_mcp.library.originals import INPUTS_FOLDER, open_unchanged
from drawthings_mcp.library.records import ImageRecord
from drawthings_mcp.metadata.containers.bounded import RawMetadata
from drawthings_mcp.metadata.containers.reading import read_raw_metadata_from
from drawthings_mcp.metadata.containers.writing import PictureFormat, write_picture
from drawthings_mcp.metadata.draw_things import mark_exported
from drawthings_mcp.metadata.exif import parse_exif
from drawthings_mcp.metadata.position import remove_position
from drawthings_mcp.metadata.xmp import XMP_KEYWORD
from drawthings_mcp.tensors.pixels import read_pixels

if TYPE_CHECKING:
    from drawthings_mcp.tensors.pixels import Pixels

_FORMATS: dict[str, PictureFormat] = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".png": "png"}
_ENDINGS: dict[PictureFormat, str] = {"jpeg": ".jpg", "webp": ".webp", "png": ".png"}
_OTHERS = frozenset((".gif", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".pdf", ".psd", ".svg", ".jxl", ".jp2"))
"""Endings of files that are no name either."""
_MAX_NAME = 200
"""Bytes of a name: room for a number below the 255 that file systems take."""
_FORBIDDEN = frozenset('\\:*?"<>|')
"""What some file system refuses in a name."""
_RGBA = 4


@dataclass(frozen=True, slots=True)
class ExportParams:
    """One call.

    Attributes
    ----------
    images
        References.
    filename
        Name, with or without an ending, or a path in one of the folders; empty for the pictures' own names.
    format
        By default that of the ending, else JPEG, or PNG for a picture that is clear in places.
    keep_metadata
        Whether the file says how the picture was made; never where it was taken.
    """

    images: tuple[str, ...]
    filename: str = ""
    format: PictureFormat | None = None
    keep_metadata: bool = True


@dataclass(frozen=True, slots=True)
class ExportedPicture:
    """A copy as it was written."""

    id: str
    path: Path
    size: tuple[int, int]
    format: PictureFormat
    size_bytes: int
    notes: tuple[Text, ...] = ()


def export_pictures(
    params: ExportParams, pictures: Sequence[ImageRecord], folders: Sequence[Path]
) -> tuple[ExportedPicture, ...]:
    """Write the copies. Blocks.

    Parameters
    ----------
    folders
        Where copies may go; the first by default. Made when missing.

    Raises
    ------
    InvalidInputError
        The name leads out of the folders or is none; says which are allowed.
    StorageError
        The folder cannot be written, or the disk is full.
    """
    folder, stem, ending = _find_place(params.filename, [Path(os.path.realpath(folder)) for folder in folders])
    wanted = params.format or _FORMATS.get(ending.lower())
    if ending and wanted != _FORMATS[ending.lower()]:
        raise InvalidInputError(
            Text("ends in {ending}, which is not {format}; leave one of both out.", ending=ending, format=wanted),
            parameter="filename",
        )
    return tuple(_export(record, folder, stem, ending, wanted, params.keep_metadata) for record in pictures)


def _find_place(filename: str, folders: Sequence[Path]) -> tuple[Path, str, str]:
    """The folder, the name without its ending, and the ending; the last two may be empty."""
    if not filename.strip():
        return folders[0], "", ""
    path = Path(filename.strip()) if not filename.strip().startswith("~") else Path(filename.strip()).expanduser()
    is_folder = filename.strip().endswith("/")
    try:
        folder = Path(os.path.realpath(folders[0] / (path if is_folder else path.parent)))
    except ValueError:  # a NUL character
        folder = Path("/")
    if not any(folder.is_relative_to(allowed) for allowed in folders):
        raise InvalidInputError(
            Text(
                "leads out of the folders for exports: {folders}. Give a name alone, or {step}.",
                folders=tuple(folders),
                step=Step("set", setting="export_dirs"),
            ),
            parameter="filename",
            value=filename,
        )
    if is_folder:
        return folder, "", ""
    ending = path.suffix if path.suffix.lower() in _FORMATS else ""
    stem = path.name.removesuffix(ending)
    is_name = stem.isprintable() and not _FORBIDDEN & set(stem) and not stem.startswith(".") and stem.strip() != ""
    if not is_name or path.suffix.lower() in _OTHERS or len(stem.encode()) > _MAX_NAME:
        raise InvalidInputError(
            "is a name such as poster.jpg, ending in .jpg, .webp or .png or in nothing.", parameter="filename"
        )
    return folder, stem, ending


def _export(
    record: ImageRecord, folder: Path, stem: str, ending: str, wanted: PictureFormat | None, keep_metadata: bool
) -> ExportedPicture:
    with open_unchanged(record) as file:
        pixels = read_pixels(file, record.id)
        file.seek(0)
        raw = read_raw_metadata_from(file) if keep_metadata else RawMetadata()
        file.seek(0)
        is_clear = pixels.shape[2] == _RGBA
        file_format = wanted or ("png" if is_clear else "jpeg")
        # What this package wrote says nothing of places, and the same bytes are known again as the same picture.
        is_as_it_is = keep_metadata and file_format == "png" and record.kind in "vi" and record.format == "PNG"
        data, notes = (file.read(), []) if is_as_it_is else _write(pixels, file_format, raw)
    if not keep_metadata:
        notes = [Text("without metadata"), *notes]
    if is_clear and file_format == "jpeg":
        notes.append(Text("clear parts of {id} are white: JPEG has none", id=record.id))
    own = stem or _name(record)
    names = (f"{free}{ending or _ENDINGS[file_format]}" for free in number_stems(own))
    path = write_new_file(folder, names, lambda path: path.write_bytes(data), what=COPY)
    size = pixels.shape[1], pixels.shape[0]
    return ExportedPicture(record.id, path, size, file_format, len(data), tuple(notes))


def _write(pixels: Pixels, file_format: PictureFormat, raw: RawMetadata) -> tuple[bytes, list[Text]]:
    cleaned = remove_position(raw)
    packet = cleaned.texts.get(XMP_KEYWORD)
    own = {XMP_KEYWORD: mark_exported(packet)} if packet else {}
    written = write_picture(pixels, file_format, replace(cleaned, texts={**cleaned.texts, **own}))
    notes = []
    if parse_exif(raw.exif).place or cleaned.texts != raw.texts:
        notes.append(Text("position data removed"))
    if written.lost:
        names = tuple(sorted(written.lost)[:5])
        notes.append(Text("{format} has no place for {names}; png keeps them", format=say(file_format), names=names))
    return written.data, notes


def _name(record: ImageRecord) -> str:
    """The name of the picture's file; the id of one that only has a name made of its hash."""
    if record.path is None:
        raise InvalidImageError(f"{record.id} has no file of its own.")
    return record.id if INPUTS_FOLDER in record.path.parts[-3:-1] else record.path.stem.lstrip(".")[: _MAX_NAME // 4]
