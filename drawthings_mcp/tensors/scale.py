"""Pixels (uint8, 0 to 255) ↔ tensor values (float, -1 to 1; alpha 0 to 1), see protocol §3.6 and §3.7.

Arithmetic only; knows no payload and no order of channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Value = TypeVar("_Value", bound=np.generic)

_BLOCK_VALUES = 65536
"""Values per step: the scratch arrays stay in the second-level cache, and other threads get a turn."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Values ``v`` and bytes ``b`` are tied by ``b = (v + offset) * factor``."""

    offset: float
    factor: float


COLOUR = Scale(offset=1.0, factor=127.5)
"""-1 is black, 1 is full."""
ALPHA = Scale(offset=0.0, factor=255.0)
"""0 is clear, 1 is opaque."""


def pixels_to_tensor(pixels: NDArray[np.uint8], scale: Scale = COLOUR) -> NDArray[np.float16]:
    """Values for pixels, of the same shape.

    Parameters
    ----------
    pixels
        uint8, any shape.
    scale
        What the bytes stand for.

    Returns
    -------
    NDArray[np.float16]
        In [-1, 1] for colours, [0, 1] for alpha.

    Notes
    -----
    ``float16(float32(b) / 127.5 - 1)`` for colours. ``tensor_to_pixels`` is its exact inverse.
    """
    return look_up(_list_values(scale), pixels)


def tensor_to_pixels(tensor: NDArray[np.floating[Any]], scale: Scale = COLOUR) -> NDArray[np.uint8]:
    """Pixels for values, of the same shape.

    Parameters
    ----------
    tensor
        float16, float32 or float64, any shape; values beyond the range are clamped, NaN and infinities give 0.
    scale
        What the values stand for.

    Notes
    -----
    ``rint((v + 1) * 127.5)`` in float32 for colours.
    """
    pixels = np.empty(tensor.shape, np.uint8)
    fill_pixels(tensor, pixels.reshape(-1), scale)
    return pixels


def fill_pixels(tensor: NDArray[np.floating[Any]], pixels: NDArray[np.uint8], scale: Scale = COLOUR) -> None:
    """The same as ``tensor_to_pixels``, into memory that is already there.

    Parameters
    ----------
    tensor, scale
        As there.
    pixels
        One-dimensional, contiguous, one byte per value. May begin where a contiguous tensor begins: every block of
        values is read before its pixels are written, and these never reach the next block.
    """
    if tensor.dtype.itemsize == 2:
        fill_looked_up(_list_pixels(scale), tensor.view(np.uint16), pixels)
        return
    flat = tensor.reshape(-1)
    scratch = np.empty(min(flat.size, _BLOCK_VALUES), np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, flat.size, _BLOCK_VALUES):
            _quantise(flat[start : start + _BLOCK_VALUES], scale, scratch, pixels[start : start + _BLOCK_VALUES])


def look_up(table: NDArray[_Value], words: NDArray[np.unsignedinteger[Any]]) -> NDArray[_Value]:
    """``table[words]`` without an index array of eight bytes per value; the table covers every word."""
    found = np.empty(words.shape, table.dtype)
    fill_looked_up(table, words, found.reshape(-1))
    return found


def fill_looked_up(
    table: NDArray[_Value], words: NDArray[np.unsignedinteger[Any]], found: NDArray[_Value], shift: int = 0
) -> None:
    """``table[words >> shift]`` into memory that is already there; where that may be, ``fill_pixels`` says."""
    flat = words.reshape(-1)
    scratch = np.empty(min(flat.size, _BLOCK_VALUES), np.intp)
    for start in range(0, flat.size, _BLOCK_VALUES):
        block = flat[start : start + _BLOCK_VALUES]
        index = scratch[: block.size]
        np.right_shift(block, shift, out=index, casting="unsafe")
        np.take(table, index, out=found[start : start + _BLOCK_VALUES], mode="clip")


def _quantise(
    values: NDArray[np.floating[Any]], scale: Scale, scratch: NDArray[np.float32], pixels: NDArray[np.uint8]
) -> None:
    levels = scratch[: values.size]
    np.add(values, scale.offset, out=levels, dtype=np.float32, casting="same_kind")
    np.multiply(levels, scale.factor, out=levels)
    np.rint(levels, out=levels)
    np.clip(levels, 0, 255, out=levels)
    if not np.isfinite(values.max()):  # -inf needs no care, it is clamped to 0 anyway
        levels[~np.isfinite(values)] = 0
    np.copyto(pixels, levels, casting="unsafe")


@cache
def _list_values(scale: Scale) -> NDArray[np.float16]:
    """The value of each of the 256 bytes."""
    return (np.arange(256, dtype=np.float32) / np.float32(scale.factor) - np.float32(scale.offset)).astype(np.float16)


@cache
def _list_pixels(scale: Scale) -> NDArray[np.uint8]:
    """The byte of each of the 65,536 bit patterns of a float16."""
    return tensor_to_pixels(np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32), scale)
