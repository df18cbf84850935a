"""Moodboard pictures → the tensors of one ``shuffle`` hint (protocol §5.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.generation import Hint, HintTensor, HintType
from drawthings_mcp.tensors.fitting import fit_pixels, flatten_transparent
from drawthings_mcp.tensors.layout import pixels_to_tensor
from drawthings_mcp.tensors.pixels import ImageLike, ensure_pixels


def read_references(moodboard: Sequence[ImageLike], size: tuple[int, int]) -> tuple[Hint, ...]:
    """The hint with all moodboard pictures in order; none without pictures.

    A server scales them to what the model wants and keeps their proportions, so they are left as they are, but for
    those with more pixels than the canvas: a server would throw away what is beyond. Clear parts become grey.

    Parameters
    ----------
    size
        Width and height of the canvas.

    Raises
    ------
    InvalidImageError
        One of them is no picture.
    """
    tensors = tuple(HintTensor(pixels_to_tensor(_read_reference(image, size))) for image in moodboard)
    return (Hint(HintType.Shuffle, tensors),) if tensors else ()


def _read_reference(image: ImageLike, size: tuple[int, int]) -> NDArray[np.uint8]:
    pixels = ensure_pixels(image)
    height, width = pixels.shape[:2]
    scale = (size[0] * size[1] / (width * height)) ** 0.5
    if scale < 1:
        smaller = max(1, int(width * scale)), max(1, int(height * scale))
        pixels = fit_pixels(pixels, smaller, "stretch")
    return flatten_transparent(pixels)[0] if pixels.shape[2] == 4 else pixels
