"""One picture → a small JPEG or PNG file without metadata.

Owns the encoding. Knows no ids and no budget: it is told a rung of the ladder, or how many bytes there are.
"""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image

from drawthings_mcp.attachments.grid import fit_size
from drawthings_mcp.attachments.size_steps import Preview, Rung, list_rungs
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.tensors.pixels import ImageLike, ensure_pixels

_REDUCING_GAP = 3.0
_COLOUR_BITS = ((80, 8), (65, 6), (0, 5))
"""Quality of a rung from which on a transparent picture keeps so many bits of each colour. PNG has no quality of its
own; noise in the low bits takes half of its bytes."""
_MAX_COLOURS = 256
"""Of a palette in a PNG file."""


def open_small(picture: ImageLike, max_edge: int) -> Image.Image:
    """A picture that is no larger than it will be shown: RGB, or RGBA when some pixel is not opaque.

    It is upright, in sRGB, and carries none of its file's metadata. Pictures are never enlarged.

    Raises
    ------
    InvalidImageError
        It cannot be read.
    """
    return _shrink(Image.fromarray(ensure_pixels(picture, enough=max_edge)), max_edge)


def encode_rung(picture: ImageLike, rung: Rung) -> Preview:
    """A preview of a given size and quality: JPEG, or PNG when some pixel is not opaque."""
    image = open_small(picture, rung.max_edge)
    if image.mode == "RGB":
        return Preview(_encode_jpeg(image, rung.quality), "image/jpeg", *image.size)
    return Preview(_encode_transparent(image, rung.quality), "image/png", *image.size)


def encode_preview(picture: ImageLike, *, max_bytes: int, max_edge: int = 1024, quality: int = 85) -> Preview:
    """The best preview that has at most ``max_bytes``, found by going down the ladder.

    Parameters
    ----------
    picture
        A path, the bytes of a file, a Pillow image or an array.
    max_edge
        Longest side in pixels.
    quality
        JPEG quality, 1 to 95.

    Raises
    ------
    InvalidImageError
        The picture cannot be read.
    InvalidInputError
        Not even the last rung of the ladder is small enough.
    """
    image = open_small(picture, max_edge)
    smallest = 0
    for rung in list_rungs(max_edge, quality):
        preview = encode_rung(image, rung)
        if len(preview.data) <= max_bytes:
            return preview
        smallest = len(preview.data)
    raise InvalidInputError(f"max_bytes: the smallest preview has {smallest} bytes, got {max_bytes}.")


def _shrink(image: Image.Image, max_edge: int) -> Image.Image:
    return image.resize(fit_size(image.size, max_edge), Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)


def _encode_jpeg(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _encode_transparent(image: Image.Image, quality: int) -> bytes:
    """PNG with the alpha channel as it is; with a palette where that takes fewer bytes."""
    pixels = np.array(image)
    dropped = 8 - next(bits for least, bits in _COLOUR_BITS if quality >= least)
    pixels[..., :3] = pixels[..., :3] >> dropped << dropped | (1 << dropped) >> 1
    pixels[pixels[..., 3] == 0] = 0  # colours that nobody sees cost as much as others
    simplified = Image.fromarray(pixels)
    # Runs only: a quarter of the time of the default, and no larger where there is any grain.
    files = [_encode_png(simplified, compress_type=zlib.Z_RLE)]
    if np.isin(pixels[..., 3], (0, 255)).all():
        files.append(_encode_palette(simplified))
    return min(files, key=len)


def _encode_palette(image: Image.Image) -> bytes:
    """PNG with a palette, its last colour clear; every pixel of the image is either opaque or clear."""
    indexed = image.convert("RGB").quantize(_MAX_COLOURS - 1)
    palette = indexed.getpalette() or []
    clear = len(palette) // 3
    indexed.putpalette([*palette, 0, 0, 0])
    indexed.paste(clear, mask=image.getchannel("A").point(lambda level: 255 - level))
    return _encode_png(indexed, transparency=clear)


def _encode_png(image: Image.Image, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()
