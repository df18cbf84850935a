"""Pictures of any kind → the little square that their look is measured on.

Owns the shortest way there: a JPEG file is decoded at an eighth of its size.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from drawthings_mcp.search.visual.look import SIDE, Look, measure_look
from drawthings_mcp.tensors.picture_files import name_file, open_picture, open_regular_file
from drawthings_mcp.tensors.pixels import ImageLike, ensure_pixels

_BACKGROUND = (255, 255, 255)


def look_at(picture: ImageLike) -> Look:
    """How a picture looks.

    Raises
    ------
    InvalidImageError
        It cannot be read.
    """
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        with open_regular_file(path) as file, open_picture(file, name_file(path)) as opened:
            return _measure(opened)
    if isinstance(picture, bytes | bytearray | memoryview):
        with open_picture(io.BytesIO(picture), "The image data") as opened:
            return _measure(opened)
    return _measure(Image.fromarray(ensure_pixels(picture)))


def _measure(picture: Image.Image) -> Look:
    picture.draft("RGB", (2 * SIDE, 2 * SIDE))
    upright = ImageOps.exif_transpose(picture)
    square = _flatten(upright).resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    pixels: NDArray[np.uint8] = np.asarray(square)
    return measure_look(pixels, *upright.size)


def _flatten(picture: Image.Image) -> Image.Image:
    """On white, where it is transparent."""
    if picture.mode == "RGB":
        return picture
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    ground = Image.new("RGB", layer.size, _BACKGROUND)
    ground.paste(layer, mask=layer)
    return ground
