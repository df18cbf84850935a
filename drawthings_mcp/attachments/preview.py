"""One picture → a small JPEG or PNG file without metadata.

A preview that has too many bytes is made again at the next of a fixed row of sizes and qualities.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops

from drawthings_mcp.attachments.grid import fit_size
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.tensors.pixels import ImageLike, ensure_pixels
from drawthings_mcp.tensors.png import encode_png

_REDUCING_GAP = 3.0
_COLOUR_BITS = ((80, 8), (65, 6), (0, 5))
"""Quality from which on a transparent picture keeps so many bits of each colour. PNG has no quality of its own; noise
in the low bits takes half of its bytes."""
_QUALITY = 85
"""Of a JPEG at the first of its steps."""
_MAX_COLOURS = 256
"""Of a palette in a PNG file."""
_SAMPLE_EDGE = 48
"""A palette is chosen by so many pixels a side: choosing it by all takes half a second."""
_HALF = 127
_PALETTE_LEVEL = 1
"""Of zlib: a third of the time of the default, and hardly larger."""


class SizeStep(NamedTuple):
    """Longest side in pixels and JPEG quality."""

    max_edge: int
    quality: int


_SIZE_STEPS = tuple(
    map(SizeStep, (1024, 896, 768, 640, 512, 384, 256, 192, 128, 64), (75, 75, 70, 65, 60, 50, 40, 30, 20, 20))
)
"""Each takes about two thirds of the bytes of the one before. Size goes before quality: a model reads a small
picture better than a blotchy one."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture as it travels in a message; carries no metadata."""

    data: bytes
    mime_type: str
    width: int
    height: int

    @property
    def characters(self) -> int:
        """Length of the data in base64: four for each three bytes begun."""
        return 4 * -(-len(self.data) // 3)


@dataclass(frozen=True, slots=True)
class PreparedPicture:
    """A picture that is about to be shown: as small as it will be, with the preview that it most likely gets.

    Attributes
    ----------
    image
        RGB or RGBA.
    """

    image: Image.Image = field(repr=False)
    step: SizeStep
    preview: Preview


def prepare_picture(picture: ImageLike, max_edge: int, quality: int) -> PreparedPicture:
    """A picture with its preview of the best step, made while its file is written.

    Raises
    ------
    InvalidImageError
        It cannot be read.
    """
    image, step = open_small(picture, max_edge), SizeStep(max_edge, quality)
    return PreparedPicture(image, step, encode_step(image, step))


def list_size_steps(max_edge: int, quality: int) -> Iterator[SizeStep]:
    """From the best step that was asked for downwards; none is larger or better than the first."""
    best = SizeStep(max_edge, quality)
    yield best
    for step in _SIZE_STEPS:
        if step.max_edge <= max_edge:
            lower = SizeStep(step.max_edge, min(step.quality, quality))
            if lower != best:
                yield lower


def open_small(picture: ImageLike | PreparedPicture, max_edge: int) -> Image.Image:
    """A picture that is no larger than it will be shown: RGB, or RGBA when some pixel is not opaque.

    It is upright, in sRGB, and carries none of its file's metadata. Pictures are never enlarged.

    Raises
    ------
    InvalidImageError
        It cannot be read.
    """
    if isinstance(picture, PreparedPicture):
        return _shrink(picture.image, max_edge)
    return _shrink(Image.fromarray(ensure_pixels(picture, enough=max_edge)), max_edge)


def encode_step(image: Image.Image, step: SizeStep) -> Preview:
    """A preview of a given size and quality: JPEG, or PNG when some pixel is not opaque.

    Parameters
    ----------
    image
        RGB or RGBA.
    """
    small = _shrink(image, step.max_edge)
    if small.mode == "RGBA" and any(_count_alpha(small)[:255]):
        return Preview(_encode_transparent(small, step.quality), "image/png", *small.size)
    return Preview(_save(small.convert("RGB"), "JPEG", quality=step.quality), "image/jpeg", *small.size)


def encode_preview(picture: ImageLike, *, max_bytes: int, max_edge: int = 1024) -> Preview:
    """The best preview that has at most ``max_bytes``.

    Parameters
    ----------
    picture
        A path, the bytes of a file, a Pillow image or an array.
    max_edge
        Longest side in pixels.

    Raises
    ------
    InvalidImageError
        The picture cannot be read.
    InvalidInputError
        Not even the last step is small enough.
    """
    image = open_small(picture, max_edge)
    smallest = 0
    for step in list_size_steps(max_edge, _QUALITY):
        preview = encode_step(image, step)
        if len(preview.data) <= max_bytes:
            return preview
        smallest = len(preview.data)
    raise InvalidInputError(f"the smallest preview has {smallest} bytes, got {max_bytes}.", parameter="max_bytes")


def _shrink(image: Image.Image, max_edge: int) -> Image.Image:
    """A smaller copy; a cut-out with hard edges keeps them."""
    size = fit_size(image.size, max_edge)
    if size == image.size:
        return image
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    if image.mode == "RGBA" and _has_hard_edges(image):
        small.putalpha(small.getchannel("A").point(lambda level: 255 * (level > _HALF)))
    return small


def _count_alpha(image: Image.Image) -> list[int]:
    """Pixels of each level of opacity."""
    return image.getchannel("A").histogram()


def _has_hard_edges(image: Image.Image) -> bool:
    return not any(_count_alpha(image)[1:255])


def _encode_transparent(image: Image.Image, quality: int) -> bytes:
    """PNG with the alpha channel as it is; with a palette, which takes a third of the bytes, when edges are hard."""
    alpha = image.getchannel("A")
    if _has_hard_edges(image):
        return _encode_palette(image.convert("RGB"), ImageChops.invert(alpha))
    simplified = image.copy()
    # Colours that nobody sees cost as much as others.
    simplified.paste((0, 0, 0, 0), mask=alpha.point(lambda level: 255 * (level == 0)))
    dropped = 8 - next(bits for least, bits in _COLOUR_BITS if quality >= least)
    return _encode_levels(simplified, dropped) if dropped else encode_png(np.asarray(simplified))


def _encode_levels(image: Image.Image, dropped: int) -> bytes:
    """PNG without the lowest bits of its colours: every row with the filter that suits it, deflated by run lengths."""
    levels = [level >> dropped << dropped | (1 << dropped) >> 1 for level in range(256)]
    return _save(image.point([*3 * levels, *range(256)]), "PNG", compress_type=zlib.Z_RLE)


def _encode_palette(colours: Image.Image, clear: Image.Image) -> bytes:
    """PNG with a palette, its last colour clear; ``clear`` is 255 where that goes, else 0."""
    colours.paste(0, mask=clear)
    if colours.getcolors(_MAX_COLOURS - 1):
        indexed = colours.quantize(_MAX_COLOURS - 1)
    else:
        sample = colours.resize(fit_size(colours.size, _SAMPLE_EDGE), Image.Resampling.NEAREST)
        indexed = colours.quantize(palette=sample.quantize(_MAX_COLOURS - 1), dither=Image.Dither.NONE)
    palette = indexed.getpalette() or []
    last = min(len(palette) // 3, _MAX_COLOURS - 1)
    indexed.putpalette([*palette[: 3 * last], 0, 0, 0])
    indexed.paste(last, mask=clear)
    return _save(indexed, "PNG", transparency=last, compress_level=_PALETTE_LEVEL)


def _save(image: Image.Image, file_format: str, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()
