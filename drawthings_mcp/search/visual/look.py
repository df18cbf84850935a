"""A picture → a few bytes that tell how it looks. Pure, and needs no model.

Owns the features: a perceptual hash, shares of colours, brightness, aspect and a tiny picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.search.visual.colours import COLOURS, measure_colours

SIDE = 64
"""Pixels of the square that all is measured on."""
GRID = 4
"""Cells of the tiny picture along each side."""
_HASHED = 32
"""Pixels of the square whose frequencies are hashed."""
_FREQUENCIES = 8
"""Lowest frequencies along each side that make the 64 bits."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_ASPECT_UNIT = 32
"""Steps of the aspect per doubling of width over height."""

LOOK_SIZE = 8 + len(COLOURS) + 2 + GRID * GRID * 3


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture looks.

    Attributes
    ----------
    hash
        64 bits; pictures that differ in few of them show the same.
    colours
        Share of each of ``COLOURS``, 0 to 255.
    brightness
        Mean, 0 to 255.
    aspect
        128 for a square, more for a landscape.
    grid
        ``(4, 4, 3)`` uint8: the picture at that size.
    """

    hash: int
    colours: NDArray[np.uint8]
    brightness: int
    aspect: int
    grid: NDArray[np.uint8]

    def encode(self) -> bytes:
        """As it is kept: ``LOOK_SIZE`` bytes."""
        head = self.hash.to_bytes(8, "little") + self.colours.tobytes() + bytes([self.brightness, self.aspect])
        return head + self.grid.tobytes()


def measure_look(square: NDArray[np.uint8], width: int, height: int) -> Look:
    """How a picture looks.

    Parameters
    ----------
    square
        ``(64, 64, 3)`` uint8, sRGB: the picture scaled without regard to its aspect.
    width, height
        Pixels of the picture itself.
    """
    light = square.astype(np.float32) @ _LUMA
    cell = SIDE // GRID
    grid = square.reshape(GRID, cell, GRID, cell, 3).mean(axis=(1, 3))
    aspect = 128 + _ASPECT_UNIT * np.log2(max(width, 1) / max(height, 1))
    return Look(
        hash=_hash(light),
        colours=measure_colours(square),
        brightness=int(light.mean().clip(0, 255)),
        aspect=int(np.clip(aspect, 0, 255)),
        grid=np.rint(grid).astype(np.uint8),
    )


def decode_grid(data: bytes) -> NDArray[np.int16]:
    """The tiny picture of a kept look: ``(48,)``, 0 to 255."""
    return np.frombuffer(data, np.uint8)[-GRID * GRID * 3 :].astype(np.int16)


def _hash(light: NDArray[np.float32]) -> int:
    """Which of the lowest frequencies are stronger than their median (a perceptual hash by cosine transform)."""
    factor = SIDE // _HASHED
    small = light.reshape(_HASHED, factor, _HASHED, factor).mean(axis=(1, 3))
    waves = _make_waves()
    strengths = (waves @ small @ waves.T).ravel()
    # The first is the mean brightness, which says nothing of what is shown.
    bits = strengths > np.median(strengths[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@cache
def _make_waves() -> NDArray[np.float32]:
    """``(8, 32)``: the lowest rows of the cosine transform."""
    numbers, places = np.arange(_FREQUENCIES)[:, None], np.arange(_HASHED)[None, :]
    waves: NDArray[np.float32] = np.cos(np.pi * numbers * (2 * places + 1) / (2 * _HASHED)).astype(np.float32)
    return waves
