"""Image tensors ↔ pixels: axes and the order of channels (protocol §3.6).

On the wire an image is ``(1, H, W, 3)``, red, green, blue, or ``(1, H, W, 4)``, **alpha**, red, green, blue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.tensors.scale import ALPHA, fill_pixels, pixels_to_tensor, tensor_to_pixels

_BLOCK_PIXELS = 16384  # so that channels are taken apart in the second-level cache, and not in a copy of it all


def build_pixels(tensor: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Pixels of an image tensor.

    Parameters
    ----------
    tensor
        ``(1, H, W, 3)`` or ``(1, H, W, 4)``, float; colours in [-1, 1], alpha, which comes first, in [0, 1].

    Returns
    -------
    NDArray[np.uint8]
        ``(H, W, 3)`` or ``(H, W, 4)``, sRGB, alpha last.
    """
    pixels = np.empty(tensor.shape[1:], np.uint8)
    fill_picture(tensor, pixels.reshape(-1))
    return pixels


def fill_picture(tensor: NDArray[np.floating[Any]], pixels: NDArray[np.uint8]) -> None:
    """The same as ``build_pixels`` for any part of an image, into memory that is already there.

    Parameters
    ----------
    tensor
        ``(…, 3)`` or ``(…, 4)``, contiguous; values as there.
    pixels
        One-dimensional, contiguous, one byte per value; may begin where the tensor begins.
    """
    if tensor.shape[-1] == 3:
        fill_pixels(tensor, pixels)
        return
    values, picture = tensor.reshape(-1, 4), pixels.reshape(-1, 4)
    for start in range(0, len(values), _BLOCK_PIXELS):
        block = values[start : start + _BLOCK_PIXELS]
        colours, alpha = tensor_to_pixels(block[:, 1:]), tensor_to_pixels(block[:, 0], ALPHA)
        picture[start : start + _BLOCK_PIXELS, :3] = colours
        picture[start : start + _BLOCK_PIXELS, 3] = alpha


def build_tensor(pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
    """The image tensor of pixels; the inverse of ``build_pixels``."""
    if pixels.shape[2] == 3:
        return pixels_to_tensor(pixels)[np.newaxis]
    tensor = np.empty((1, *pixels.shape), np.float16)
    tensor[0, ..., 1:] = pixels_to_tensor(pixels[..., :3])
    tensor[0, ..., 0] = pixels_to_tensor(pixels[..., 3], ALPHA)
    return tensor
