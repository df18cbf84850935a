"""Records → pixels, of exactly the bytes that were recorded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.library import ImageRecord, open_unchanged
from drawthings_mcp.tensors import ensure_pixels
from drawthings_mcp.tensors.pixels import read_pixels as read_stream


def read_pixels(source: ImageRecord | Path) -> NDArray[np.uint8]:
    """Pixels of a picture: upright, in sRGB, without anything else that the file carries.

    Returns
    -------
    NDArray[np.uint8]
        ``(H, W, 3)``, or ``(H, W, 4)`` when some pixel is not opaque.

    Raises
    ------
    MissingFileError
        The file of the record is gone; says how to get the picture again.
    InvalidImageError
        It changed since it was recorded, or is no picture.
    """
    if isinstance(source, Path):
        return ensure_pixels(source)
    with open_unchanged(source) as file:
        return read_stream(file, source.id)


def hash_pixels(pixels: NDArray[np.uint8]) -> str:
    """A digest that is the same for the same picture in any lossless file: of its size and pixels."""
    shape = "x".join(map(str, pixels.shape))
    return hashlib.sha256(shape.encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
