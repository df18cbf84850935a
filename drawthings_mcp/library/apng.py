"""Frames → an animated PNG file: bigger than any video, but every browser shows it and nothing is lost.

Owns the chunks that make a PNG file move (PNG 3, §11.3.6). Knows no names of files; pictures are encoded by
``metadata.png``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.metadata.png import build_chunk, build_head, deflate_pixels

_FOREVER = 0
_KEEP, _REPLACE = 0, 0
"""What becomes of a frame when it has been shown, and how the next one is laid over it."""


def write_apng(frames: Iterable[NDArray[np.uint8]], path: Path, rate: Fraction) -> None:
    """Write frames as they come; at no time more than two are in memory.

    Parameters
    ----------
    frames
        At least one, ``(H, W, 3)`` or ``(H, W, 4)`` uint8, sRGB, all of the same shape.
    path
        A file that may be overwritten.
    rate
        Frames per second; numerator and denominator fit 16 bits.
    """
    with path.open("wb") as file:
        count, place = 0, 0
        for frame in frames:
            if not count:
                file.write(build_head(frame))
                place = file.tell()
                file.write(_build_animation_control(count))
            file.write(_build_frame(frame, count, rate))
            count += 1
        file.write(build_chunk(b"IEND", b""))
        # How many there are stands before them, but only now it is known.
        file.seek(place)
        file.write(_build_animation_control(count))


def _build_animation_control(count: int) -> bytes:
    return build_chunk(b"acTL", struct.pack(">II", count, _FOREVER))


def _build_frame(pixels: NDArray[np.uint8], index: int, rate: Fraction) -> bytes:
    """Control and data of a frame; the first one is also what programs show that know no animation."""
    height, width = pixels.shape[:2]
    sequence = max(0, 2 * index - 1)  # counts all of these chunks but the data of the first frame
    control = struct.pack(
        ">IIIIIHHBB", sequence, width, height, 0, 0, rate.denominator, rate.numerator, _KEEP, _REPLACE
    )
    data = deflate_pixels(pixels)
    picture = build_chunk(b"fdAT", struct.pack(">I", sequence + 1) + data) if index else build_chunk(b"IDAT", data)
    return build_chunk(b"fcTL", control) + picture
