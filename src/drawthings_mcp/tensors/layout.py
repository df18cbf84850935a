"""Image tensors ↔ pixels: axes and the order of channels (protocol §3.6).

On the wire an image is ``(1, H, W, 3)``, red, green, blue, or ``(1, H, W, 4)``, **alpha**, red, green, blue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.tensors.scale import ALPHA, pixels_to_tensor, tensor_to_pixels


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
    image = tensor[0]
    if image.shape[2] == 3:
        return tensor_to_pixels(image)
    pixels = np.empty(image.shape, np.uint8)
    pixels[..., :3] = tensor_to_pixels(image[..., 1:])
    pixels[..., 3] = tensor_to_pixels(image[..., 0], ALPHA)
    return pixels


def build_tensor(pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
    """The image tensor of pixels; the inverse of ``build_pixels``."""
    if pixels.shape[2] == 3:
        return pixels_to_tensor(pixels)[np.newaxis]
    tensor = np.empty((1, *pixels.shape), np.float16)
    tensor[0, ..., 1:] = pixels_to_tensor(pixels[..., :3])
    tensor[0, ..., 0] = pixels_to_tensor(pixels[..., 3], ALPHA)
    return tensor
