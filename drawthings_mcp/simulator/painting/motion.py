"""Frames of a video: a slow move of the camera through one painting or out of one canvas."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

_REACH = 0.16
"""How much of the picture the camera has left behind at the end."""
_DEPARTURE = 0.6
"""How far the last frame has moved from the canvas towards the new painting."""


def move_camera(picture: Pixels, count: int) -> Iterator[Pixels]:
    """``count`` pictures of the same size, each a little closer than the one before; the first is the picture."""
    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    for index in range(count):
        share = _REACH * index / max(1, count - 1)
        left, top = width * share * 0.6, height * share
        box = (left, top, left + width * (1 - share), top + height * (1 - share))
        yield np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box)) if index else picture


def leave_canvas(canvas: Pixels, painting: Pixels, count: int, strength: float) -> Iterator[Pixels]:
    """Frames that begin with the canvas itself and drift into the painting, the further the higher the strength."""
    moves = zip(move_camera(canvas, count), move_camera(painting, count), strict=True)
    for index, (old, new) in enumerate(moves):
        share = _DEPARTURE * strength * index / max(1, count - 1)
        yield mix_pixels(old, new, share)


def mix_pixels(old: Pixels, new: Pixels, share: float) -> Pixels:
    """``share`` of the new pixels, the rest of the old; exact at 0 and 1."""
    if share <= 0:
        return old
    if share >= 1:
        return new
    mixed = old.astype(np.float32)
    mixed += (new - mixed) * np.float32(share)
    return np.rint(mixed).astype(np.uint8)
