"""One entry for every picture file: which dialect it speaks, and what it says (formats §3.5, §4.1).

Each file is opened once; only what carries text is read of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.faces import Text
from drawthings_mcp.metadata.a1111 import parse_a1111
from drawthings_mcp.metadata.civitai import parse_civitai
from drawthings_mcp.metadata.comfyui import parse_comfyui
from drawthings_mcp.metadata.containers.bounded import RawMetadata
from drawthings_mcp.metadata.containers.reading import read_raw_metadata, read_raw_metadata_from
from drawthings_mcp.metadata.dialect import ImageMetadata, ImageTags, clean_text, collect_tags, is_graph
from drawthings_mcp.metadata.draw_things import (
    DrawThingsMetadata,
    find_own_object,
    parse_description,
    parse_exif_comment,
    parse_metadata,
    parse_xmp_comment,
)
from drawthings_mcp.metadata.exif import MAKE, MODEL, SOFTWARE, ExifTags, find_position, find_time, is_turned
from drawthings_mcp.metadata.fooocus import parse_fooocus
from drawthings_mcp.metadata.invokeai import parse_invokeai
from drawthings_mcp.metadata.novelai import parse_novelai
from drawthings_mcp.metadata.ruined_fooocus import parse_ruined_fooocus
from drawthings_mcp.metadata.stability_matrix import parse_stability_matrix
from drawthings_mcp.metadata.swarmui import parse_swarmui

MAX_TAG_TEXT = 2 * 1024 * 1024
"""Bytes of text, after inflating, that one file may carry: graphs of five hundred nodes take one. In memory a hostile
text takes ten times as much (``benchmarks/metadata.py``)."""

_Dialect: TypeAlias = Callable[[ImageTags], ImageMetadata | None]

_DIALECTS: tuple[_Dialect, ...] = (
    parse_xmp_comment,
    parse_stability_matrix,
    parse_civitai,
    parse_comfyui,
    parse_invokeai,
    parse_swarmui,
    parse_ruined_fooocus,
    parse_fooocus,
    parse_novelai,
    parse_a1111,
    parse_exif_comment,
    parse_description,
)


def read_metadata(path: str | Path) -> DrawThingsMetadata | None:
    """How Draw Things or this package made the picture in a file; None when neither did.

    The JSON in XMP counts first, then the JSON in EXIF, then the text for people (formats §3.5). No pixel
    is decoded.

    Raises
    ------
    InvalidImageError
        The file is not a picture, or its metadata are too large or hostile.
    StorageError
        The file cannot be read.
    """
    return _parse_own(read_raw_metadata(Path(path)))


def read_metadata_from(stream: BinaryIO) -> DrawThingsMetadata | None:
    """The same of a file that is open; it must be seekable and is read from its beginning."""
    return _parse_own(read_raw_metadata_from(stream))


def _parse_own(raw: RawMetadata) -> DrawThingsMetadata | None:
    tags = collect_tags(raw)
    found = find_own_object(tags)
    return None if found is None else parse_metadata(found, tags.packet.software)


def read_image_metadata(path: str | Path, *, with_position: bool = False) -> ImageMetadata:
    """What a picture file of any dialect says about itself.

    Reads what carries text, never pixels, and nothing of a file's name, date or size on disk.

    Parameters
    ----------
    with_position
        Whether to say where a photo was taken.

    Raises
    ------
    InvalidImageError
        The file is not a picture, is damaged, or carries more than ``MAX_TAG_TEXT`` or ``dialect.MAX_VALUES``.
    StorageError
        The file cannot be read.
    """
    return _parse(read_raw_metadata(Path(path), MAX_TAG_TEXT), str(path), with_position)


def read_image_metadata_from(
    stream: BinaryIO, *, name: str = "The picture", with_position: bool = False
) -> ImageMetadata:
    """The same of a file that is open.

    Parameters
    ----------
    stream
        Seekable; read from its beginning, left open.
    name
        What errors call it.
    """
    return _parse(read_raw_metadata_from(stream, name=name, max_text=MAX_TAG_TEXT), name, with_position)


def _parse(raw: RawMetadata, name: str, with_position: bool) -> ImageMetadata:
    try:
        tags = collect_tags(raw)
        parsed = (parse(tags) for parse in _DIALECTS)
        metadata = next((found for found in parsed if found is not None), None)
    except InvalidImageError as error:
        raise InvalidImageError(Text("{name}: {error}", name=name, error=error)) from error
    if metadata is None:
        metadata = _parse_photo(tags.exif, with_position) or ImageMetadata("plain")
    return _complete(metadata, raw, tags.exif)


def _parse_photo(tags: ExifTags, with_position: bool) -> ImageMetadata | None:
    """The metadata of a photo; None when nothing names a camera, a time or a place."""
    make, model = ("" if is_graph(text) else text for text in (tags.get_text(MAKE), tags.get_text(MODEL)))
    camera = model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()
    created = find_time(tags)
    if not (camera or created or tags.place):
        return None
    position = find_position(tags) if with_position else None
    return ImageMetadata("exif", created=created, camera=camera, position=position, software=tags.get_text(SOFTWARE))


_TEXTS = ("prompt", "negative_prompt", "model", "sampler", "camera", "software")


def _complete(metadata: ImageMetadata, raw: RawMetadata, exif: ExifTags) -> ImageMetadata:
    is_turned_here = not raw.is_upright and is_turned(exif)
    width, height = (raw.height, raw.width) if is_turned_here else (raw.width, raw.height)
    texts: dict[str, Any] = {name: clean_text(getattr(metadata, name)) for name in _TEXTS}
    loras = tuple((clean_text(lora), weight) for lora, weight in metadata.loras)
    created = metadata.created or find_time(exif)
    return replace(metadata, **texts, width=width, height=height, created=created, loras=loras)
