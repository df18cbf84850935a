"""Pictures → small JPEG or PNG files that fit into a message.

Owns the ladder of sizes and qualities. Knows no ids and no budget: it is told how many bytes there are.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.tensors import ImageLike, ensure_pixels


class Rung(NamedTuple):
    """One step of the ladder: longest side in pixels and JPEG quality."""

    max_edge: int
    quality: int


_LADDER = tuple(
    Rung(*rung)
    for rung in (
        (1024, 75),
        (896, 75),
        (768, 70),
        (640, 65),
        (512, 60),
        (384, 50),
        (256, 40),
        (192, 30),
        (128, 20),
        (64, 20),
    )
)
"""Each takes about two thirds of the bytes of the one before. Size goes before quality: a model reads a small
picture better than a blotchy one."""

_BYTES_PER_GROUP = 3
_CHARACTERS_PER_GROUP = 4


def count_characters(size: int) -> int:
    """Characters of base64 for a number of bytes."""
    return _CHARACTERS_PER_GROUP * -(-size // _BYTES_PER_GROUP)


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture as it travels in a message; carries no metadata."""

    data: bytes
    mime_type: str
    width: int
    height: int

    @property
    def characters(self) -> int:
        """Length of the data in base64."""
        return count_characters(len(self.data))


def list_rungs(max_edge: int, quality: int) -> Iterator[Rung]:
    """From the best rung that was asked for downwards; none is larger or better than the first."""
    best = Rung(max_edge, quality)
    yield best
    for rung in _LADDER:
        if rung.max_edge <= max_edge:
            lower = Rung(rung.max_edge, min(rung.quality, quality))
            if lower != best:
                yield lower


def encode_rung(picture: ImageLike, rung: Rung) -> Preview:
    """A preview of a given size and quality: JPEG, or PNG when some pixel is not opaque.

    Pictures are never enlarged.
    """
    image = Image.fromarray(ensure_pixels(picture))
    image = image.resize(fit_size(image.size, rung.max_edge), Image.Resampling.LANCZOS, reducing_gap=3.0)
    is_opaque = image.mode == "RGB"
    stream = io.BytesIO()
    if is_opaque:
        image.save(stream, "JPEG", quality=rung.quality)
    else:
        image.save(stream, "PNG")
    return Preview(stream.getvalue(), "image/jpeg" if is_opaque else "image/png", *image.size)


def fit_size(size: tuple[int, int], max_edge: int) -> tuple[int, int]:
    """Width and height scaled down so that the longer side is at most ``max_edge``."""
    width, height = size
    scale = min(1.0, max_edge / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


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
    pixels = ensure_pixels(picture)
    smallest = 0
    for rung in list_rungs(max_edge, quality):
        preview = encode_rung(pixels, rung)
        if len(preview.data) <= max_bytes:
            return preview
        smallest = len(preview.data)
    raise InvalidInputError(f"max_bytes: the smallest preview has {smallest} bytes, got {max_bytes}.")
