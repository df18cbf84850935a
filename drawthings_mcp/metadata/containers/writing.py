"""Pixels and what a file said of them → the bytes of a JPEG, PNG or WebP file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from PIL import ExifTags, Image

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.faces import Text
from drawthings_mcp.metadata.containers.bounded import RawMetadata
from drawthings_mcp.metadata.xmp import XMP_KEYWORD
from drawthings_mcp.tensors.pixels import Pixels
from drawthings_mcp.tensors.png import encode_png

PictureFormat: TypeAlias = Literal["jpeg", "webp", "png"]

_OPTIONS: Mapping[PictureFormat, Mapping[str, object]] = {
    # Full resolution of colours: half of it frays red letters.
    "jpeg": {"quality": 92, "subsampling": 0, "optimize": True},
    "webp": {"quality": 90, "method": 4},
}
_MAX_SIDES: Mapping[PictureFormat, int] = {"jpeg": 65_535, "webp": 16_383}
_MAX_SEGMENT = 65_000
"""Bytes of EXIF, and of XMP, that a JPEG file takes in one piece."""
_USER_COMMENT = 0x9286
_PARAMETERS = "parameters"
_GRAPHS = {"prompt": ExifTags.Base.Model, "workflow": ExifTags.Base.Make}
"""Where ComfyUI puts the texts of a PNG file in others, each behind its keyword and a colon."""
_RGBA = 4


class WrittenPicture(NamedTuple):
    """A file's bytes, and the names of the texts that its format has no place for."""

    data: bytes
    lost: tuple[str, ...]


def write_picture(pixels: Pixels, file_format: PictureFormat, raw: RawMetadata) -> WrittenPicture:
    """A file with the metadata of another one, at a quality that the eye takes for the original.

    Parameters
    ----------
    pixels
        ``(H, W, 3)`` or ``(H, W, 4)`` uint8, sRGB; clear parts become white in JPEG.
    raw
        Texts and EXIF; its sizes are not looked at.

    Raises
    ------
    InvalidImageError
        The picture has more pixels to a side than the format takes.
    """
    texts = dict(raw.texts)
    packet = texts.pop(XMP_KEYWORD, "")
    if file_format == "png":
        kept = {key: text for key, text in texts.items() if _is_keyword(key)}
        data = encode_png(pixels, packet, texts=kept, exif=raw.exif)
        return WrittenPicture(data, tuple(texts.keys() - kept.keys()))
    _check_sides(pixels, file_format)
    exif, lost = _move_texts(raw.exif, texts)
    blocks = {"exif": exif, "xmp": packet.encode()}
    if file_format == "jpeg":
        too_large = [name for name, block in blocks.items() if len(block) > _MAX_SEGMENT]
        lost += [name.upper() for name in too_large]
        blocks = {name: block for name, block in blocks.items() if name not in too_large}
    stream = io.BytesIO()
    image = _flatten(pixels) if file_format == "jpeg" else Image.fromarray(pixels)
    given = {name: block for name, block in blocks.items() if block}
    image.save(stream, file_format, **_OPTIONS[file_format], **given)
    return WrittenPicture(stream.getvalue(), tuple(lost))


def _is_keyword(key: str) -> bool:
    """What a PNG file takes as the name of a text (PNG 3, §11.3.3.2)."""
    return 0 < len(key) < 80 and key.isprintable() and all(ord(sign) < 256 for sign in key)


def _check_sides(pixels: Pixels, file_format: PictureFormat) -> None:
    most = _MAX_SIDES[file_format]
    if max(pixels.shape[:2]) > most:
        text = "has {width}×{height} pixels, {format} takes at most {most} a side; take png, or resize it."
        sides = {"width": pixels.shape[1], "height": pixels.shape[0]}
        raise InvalidImageError(Text(text, **sides, format=file_format, most=most), parameter="format")


def _move_texts(exif: bytes, texts: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """EXIF with the texts that other programs look for there, and the names of all others."""
    tags = Image.Exif()
    if exif:
        tags.load(exif)
    lost = []
    for key, text in texts.items():
        if key in _GRAPHS and _GRAPHS[key] not in tags:
            tags[_GRAPHS[key]] = f"{key}:{text}"
        elif key == _PARAMETERS and _USER_COMMENT not in tags.get_ifd(ExifTags.IFD.Exif):
            tags.get_ifd(ExifTags.IFD.Exif)[_USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be")
        else:
            lost.append(key)
    return (tags.tobytes() if len(lost) < len(texts) else exif), lost


def _flatten(pixels: Pixels) -> Image.Image:
    """Three channels, with white where a picture is clear."""
    picture = Image.fromarray(pixels)
    if pixels.shape[2] != _RGBA:
        return picture
    image = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    image.alpha_composite(picture)
    return image.convert("RGB")
