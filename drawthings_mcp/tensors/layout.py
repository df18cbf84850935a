"""Image tensors ↔ pixels: values, axes and the order of channels (protocol §3.6, §3.7).

A byte stands for a value from -1 to 1, of alpha from 0 to 1. On the wire an image is ``(1, H, W, 3)``, red, green,
blue, or ``(1, H, W, 4)``, **alpha**, red, green, blue.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidImageError

_ScalarT = TypeVar("_ScalarT", bound=np.generic)
_BLOCK_VALUES = 65536
"""Values per step: the scratch arrays stay in the second-level cache, and other threads get a turn."""
_NO_NUMBER, _MINUS_INFINITY = 0x7C00, 0xFC00
"""Bits of the float16 of plus and of minus infinity; what is above is NaN."""
_BLOCK_PIXELS = 16384  # so that channels are taken apart in the second-level cache, and not in a copy of it all


@dataclass(frozen=True, slots=True)
class ValueRange:
    """Values ``v`` and bytes ``b`` are tied by ``b = (v + offset) * factor``."""

    offset: float
    factor: float


COLOUR = ValueRange(offset=1.0, factor=127.5)
"""-1 is black, 1 is full."""


ALPHA = ValueRange(offset=0.0, factor=255.0)
"""0 is clear, 1 is opaque."""


def pixels_to_tensor(pixels: NDArray[np.uint8], value_range: ValueRange = COLOUR) -> NDArray[np.float16]:
    """Values for pixels of any shape, of the same shape: in [-1, 1] for colours, [0, 1] for alpha.

    Notes
    -----
    ``float16(float32(b) / 127.5 - 1)`` for colours. ``tensor_to_pixels`` is its exact inverse.
    """
    tensor = np.empty(pixels.shape, np.float16)
    fill_looked_up(_list_values(value_range), pixels, tensor.reshape(-1))
    return tensor


def tensor_to_pixels(tensor: NDArray[np.floating[Any]], value_range: ValueRange = COLOUR) -> NDArray[np.uint8]:
    """Pixels for float16, float32 or float64 values of any shape, of the same shape.

    Values beyond the range are clamped, NaN and infinities give 0.

    Notes
    -----
    ``rint((v + 1) * 127.5)`` in float32 for colours.
    """
    pixels = np.empty(tensor.shape, np.uint8)
    fill_pixels(tensor, pixels.reshape(-1), value_range)
    return pixels


def fill_pixels(tensor: NDArray[np.floating[Any]], pixels: NDArray[np.uint8], value_range: ValueRange = COLOUR) -> bool:
    """The same into memory that is already there: one-dimensional, contiguous, one byte per value.

    It may begin where a contiguous tensor begins: every block of values is read before its pixels are written, and
    these never reach the next block.

    Returns
    -------
    bool
        Whether a value was NaN or plus infinity.
    """
    if tensor.dtype.itemsize == 2:
        words = tensor.view(np.uint16)
        # Asked before the memory may be written over. NaN and infinity have the largest exponent, with either sign.
        has_gaps = bool(tensor.size) and bool(
            tensor.view(np.int16).max() >= _NO_NUMBER or words.max() > _MINUS_INFINITY
        )
        fill_looked_up(_list_pixels(value_range), words, pixels)
        return has_gaps
    has_gaps = False
    flat = tensor.reshape(-1)
    scratch = np.empty(min(flat.size, _BLOCK_VALUES), np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, flat.size, _BLOCK_VALUES):
            block = flat[start : start + _BLOCK_VALUES]
            has_gaps |= _quantise(block, value_range, scratch, pixels[start : start + _BLOCK_VALUES])
    return has_gaps


def fill_looked_up(
    table: NDArray[_ScalarT], words: NDArray[np.unsignedinteger[Any]], found: NDArray[_ScalarT], shift: int = 0
) -> None:
    """``table[words >> shift]`` into memory as for ``fill_pixels``; the table covers every word.

    Without an index array of eight bytes per value.
    """
    flat = words.reshape(-1)
    scratch = np.empty(min(flat.size, _BLOCK_VALUES), np.intp)
    for start in range(0, flat.size, _BLOCK_VALUES):
        block = flat[start : start + _BLOCK_VALUES]
        index = scratch[: block.size]
        np.right_shift(block, shift, out=index, casting="unsafe")
        np.take(table, index, out=found[start : start + _BLOCK_VALUES], mode="clip")


def _quantise(
    values: NDArray[np.floating[Any]], value_range: ValueRange, scratch: NDArray[np.float32], pixels: NDArray[np.uint8]
) -> bool:
    levels = scratch[: values.size]
    np.add(values, value_range.offset, out=levels, dtype=np.float32, casting="same_kind")
    np.multiply(levels, value_range.factor, out=levels)
    np.rint(levels, out=levels)
    np.clip(levels, 0, 255, out=levels)
    has_gaps = not np.isfinite(values.max())  # -inf needs no care, it is clamped to 0 anyway
    if has_gaps:
        levels[~np.isfinite(values)] = 0
    np.copyto(pixels, levels, casting="unsafe")
    return has_gaps


@cache
def _list_values(value_range: ValueRange) -> NDArray[np.float16]:
    """The value of each of the 256 bytes."""
    values = np.arange(256, dtype=np.float32) / np.float32(value_range.factor) - np.float32(value_range.offset)
    return values.astype(np.float16)


@cache
def _list_pixels(value_range: ValueRange) -> NDArray[np.uint8]:
    """The byte of each of the 65,536 bit patterns of a float16."""
    return tensor_to_pixels(np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32), value_range)


def fill_picture(tensor: NDArray[np.floating[Any]], pixels: NDArray[np.uint8]) -> bool:
    """Pixels of a part of an image, ``(…, 3 or 4)``, contiguous, alpha first in the tensor and last in the pixels.

    Memory and answer are as for ``fill_pixels``.
    """
    if tensor.shape[-1] == 3:
        return fill_pixels(tensor, pixels)
    has_gaps = False
    values, picture = tensor.reshape(-1, 4), pixels.reshape(-1, 4)
    for start in range(0, len(values), _BLOCK_PIXELS):
        block = values[start : start + _BLOCK_PIXELS]
        colours, alpha = np.empty((len(block), 3), np.uint8), np.empty(len(block), np.uint8)
        has_gaps |= fill_pixels(block[:, 1:], colours.reshape(-1))
        has_gaps |= fill_pixels(block[:, 0], alpha, ALPHA)
        picture[start : start + _BLOCK_PIXELS, :3] = colours
        picture[start : start + _BLOCK_PIXELS, 3] = alpha
    return has_gaps


def build_tensor(pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
    """The image tensor of pixels; the inverse of ``fill_picture``."""
    if pixels.shape[2] == 3:
        return pixels_to_tensor(pixels)[np.newaxis]
    tensor = np.empty((1, *pixels.shape), np.float16)
    tensor[0, ..., 1:] = pixels_to_tensor(pixels[..., :3])
    tensor[0, ..., 0] = pixels_to_tensor(pixels[..., 3], ALPHA)
    return tensor


def check_pixels(pixels: NDArray[np.uint8], *channels: int) -> None:
    """Raise an ``InvalidImageError`` unless an array is ``(H, W, C)`` of uint8, with C one of ``channels``."""
    if pixels.ndim != 3 or pixels.shape[2] not in channels or pixels.dtype != np.uint8 or pixels.size == 0:
        shapes = " or ".join(f"(H, W, {count})" for count in channels)
        raise InvalidImageError(
            f"Pixels are {shapes} of uint8, not {pixels.shape} of {pixels.dtype}; ensure_pixels makes them from any "
            "picture."
        )
