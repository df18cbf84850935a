"""Pictures that a caller gives → the arrays of a request, of exactly its size. Blocking."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.generation import ImageGenerationConfig
from drawthings_mcp.tensors import ImageLike, ensure_pixels, mask_classes


def read_canvas(image: ImageLike | None, configuration: ImageGenerationConfig) -> NDArray[np.uint8] | None:
    """The canvas of a picture, ``(H, W, 3)`` uint8, sRGB; None for none.

    Raises
    ------
    InvalidImageError
        It is no picture, has transparent parts or another size than the configuration.
    """
    if image is None:
        return None
    pixels = ensure_pixels(image)
    _check_size("input_image", pixels, configuration)
    if pixels.shape[2] != 3:
        raise InvalidImageError(
            "input_image: has transparent parts, which a server does not see. Flatten it onto a background, and mark "
            "what is to be painted there with mask_image."
        )
    return pixels


def read_mask(image: ImageLike | None, configuration: ImageGenerationConfig) -> NDArray[np.uint8] | None:
    """The mask classes of a picture, ``(H, W)`` uint8: white is repainted, black is kept; None for none.

    Raises
    ------
    InvalidImageError
        It is no picture, has no white or another size than the configuration.
    """
    if image is None:
        return None
    pixels = ensure_pixels(image)
    _check_size("mask_image", pixels, configuration)
    return mask_classes(pixels)


def _check_size(argument: str, pixels: NDArray[np.uint8], configuration: ImageGenerationConfig) -> None:
    height, width = pixels.shape[:2]
    if (width, height) != (configuration.width, configuration.height):
        raise InvalidImageError(
            f"{argument}: is {width}x{height}, the configuration {configuration.width}x{configuration.height}. Resize "
            "the picture, or set width and height to its size when both are multiples of 64."
        )
