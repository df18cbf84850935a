"""Any picture → pixels, once, at the entrance: files, bytes, Pillow images and arrays, checked and upright."""

from __future__ import annotations

import io
import logging
import math
import os
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.tensors.picture_files import (
    check_size,
    describe_picture,
    get_orientation,
    name_file,
    open_file,
    open_picture,
    translate_errors,
)

_logger = logging.getLogger(__name__)

ImageLike: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[Any]
"""A path, the bytes of a file, a Pillow image, or ``(H, W)`` or ``(H, W, 1 to 4)`` of uint8 or bool."""

Pixels: TypeAlias = NDArray[np.uint8]
"""``(H, W, C)`` of uint8, 0 to 255, sRGB."""

_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_PROFILED_MODES = ("RGB", "RGBA", "L", "CMYK", "LAB")
"""Modes whose channels are those that a colour profile speaks of."""
_AVERAGED_MODES = ("RGB", "RGBA", "L", "CMYK")


_ROWS_AT_ONCE = 256
"""Rows that are converted together, where all at once would take many times the bytes of the result."""


def ensure_pixels(image: ImageLike, *, enough: int | None = None, pixel_count: int | None = None) -> NDArray[np.uint8]:
    """Pixels of any picture: uint8, sRGB, upright, C-contiguous.

    Parameters
    ----------
    image
        A path, the bytes of a file, a Pillow image, or an array ``(H, W)`` or ``(H, W, C)`` of uint8 or bool with
        1 (grey), 2 (grey, alpha), 3 or 4 (R, G, B, A) channels.
    enough
        Longest side that will do. A file's larger picture then comes in about twice that size, in a fraction of the
        time and memory.
    pixel_count
        How many pixels will do, instead.

    Returns
    -------
    NDArray[np.uint8]
        ``(H, W, 3)``, or ``(H, W, 4)`` with alpha last when some pixel is not opaque. May share memory with an array
        that was given.

    Raises
    ------
    InvalidImageError
        It is no picture, is damaged, or has more than ``MAX_PIXELS`` pixels.

    Notes
    -----
    A file's orientation mark is followed and its colour profile converted. Of animations the first frame counts.
    16-bit levels are scaled to 8, floating-point ones are refused, since their range is anybody's guess.
    """
    if isinstance(image, np.ndarray):
        pixels = _convert_array(image)
    elif isinstance(image, Image.Image):
        with translate_errors("The image"):
            check_size(image.width, image.height)
            pixels = _convert_picture(image)
    elif isinstance(image, bytes | bytearray | memoryview):
        return read_pixels(io.BytesIO(image), "The image data", enough=enough, pixel_count=pixel_count)
    elif isinstance(image, str | os.PathLike):
        with open_file(image) as file:
            return read_pixels(file, name_file(Path(image)), enough=enough, pixel_count=pixel_count)
    else:
        raise InvalidImageError(
            f"A picture is a path, the bytes of a file, a Pillow image or an array, not {type(image).__name__}."
        )
    return np.ascontiguousarray(_drop_opaque_alpha(pixels))


def measure(image: ImageLike) -> tuple[int, int]:
    """Width and height of any picture, upright; of a file only the header is read.

    Raises
    ------
    InvalidImageError
        It is no picture.
    """
    if isinstance(image, np.ndarray):
        return image.shape[1], image.shape[0]
    if isinstance(image, Image.Image):
        return image.size
    if isinstance(image, bytes | bytearray | memoryview):
        return _measure_file(io.BytesIO(image), "The image data")
    with open_file(image) as file:
        return _measure_file(file, name_file(Path(image)))


def _measure_file(file: BinaryIO, name: str) -> tuple[int, int]:
    with open_picture(file, name) as picture:
        info = describe_picture(picture)
    return info.width, info.height


def read_pixels(
    file: BinaryIO, name: str, *, enough: int | None = None, pixel_count: int | None = None
) -> NDArray[np.uint8]:
    """Pixels of the picture in a stream that can be sought in, as by ``ensure_pixels``; errors call it ``name``."""
    with open_picture(file, name) as picture:
        if pixel_count is not None:
            enough = math.ceil(max(picture.size) * math.sqrt(pixel_count / (picture.width * picture.height)))
        pixels = _convert_picture(picture if enough is None else _load_reduced(picture, 2 * enough))
    return np.ascontiguousarray(_drop_opaque_alpha(pixels))


def _load_reduced(picture: Image.Image, edge: int) -> Image.Image:
    """A picture, loaded and by a whole factor smaller, at least ``edge`` on its longer side as far as it was."""
    picture.draft(None, (edge, edge))  # JPEG only: decoded at a half, a quarter or an eighth of its size
    picture.load()
    factor = max(picture.size) // edge
    # Colours that stand for clear, and numbers of a palette, cannot be averaged.
    if factor < 2 or picture.mode not in _AVERAGED_MODES or "transparency" in picture.info:
        return picture
    reduced = picture.reduce((min(factor, picture.width), min(factor, picture.height)))
    reduced.info = picture.info
    if get_orientation(picture) != 1:  # some formats keep it elsewhere
        reduced.getexif()[ExifTags.Base.Orientation] = get_orientation(picture)
    return reduced


def _convert_picture(picture: Image.Image) -> NDArray[np.uint8]:
    picture.load()
    picture = _turn_upright(picture)
    if picture.mode in _SIXTEEN_BIT_MODES:
        return _convert_array(_reduce_levels(np.asarray(picture)))
    if picture.mode == "F":
        raise InvalidImageError("Floating-point pictures have no agreed range; convert it to 8 or 16 bits per channel.")
    if picture.mode == "La":
        picture = picture.convert("LA")  # Pillow knows no straight way
    return _copy_pixels(_convert_colours(picture, "RGBA" if picture.has_transparency_data else "RGB"))


def _copy_pixels(picture: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an RGB or RGBA picture; by blocks, since Pillow needs three times their bytes to give them all."""
    pixels = np.empty((picture.height, picture.width, len(picture.getbands())), np.uint8)
    for top in range(0, picture.height, _ROWS_AT_ONCE):
        bottom = min(top + _ROWS_AT_ONCE, picture.height)
        pixels[top:bottom] = np.asarray(picture.crop((0, top, picture.width, bottom)))
    return pixels


def _convert_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    channels = array.shape[2] if array.ndim == 3 else 1 if array.ndim == 2 else 0
    if channels not in (1, 2, 3, 4) or array.dtype not in (np.uint8, np.bool_):
        raise InvalidImageError(
            f"An array is a picture when it is (H, W) or (H, W, 1 to 4) of uint8 or bool, not {array.shape} of "
            f"{array.dtype}; bring floats from 0 to 1 there by (a * 255).round().astype('uint8')."
        )
    check_size(array.shape[1], array.shape[0])
    pixels = array.reshape(*array.shape[:2], channels)
    if pixels.dtype == np.bool_:
        pixels = pixels * np.uint8(255)
    if channels <= 2:
        pixels = np.concatenate([pixels[..., :1]] * 3 + [pixels[..., 1:]], axis=2)
    return pixels


def _turn_upright(picture: Image.Image) -> Image.Image:
    if get_orientation(picture) == 1:
        return picture
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # what Pillow raises on broken metadata is not documented; the picture itself is sound
        _logger.info("The picture's EXIF data is broken; it is taken as it is stored.", exc_info=True)
        return picture


def _reduce_levels(levels: NDArray[Any]) -> NDArray[np.uint8]:
    """16-bit levels as 8-bit ones, rounded."""
    if levels.min() < 0 or levels.max() > 0xFFFF:
        raise InvalidImageError("The picture has levels beyond 16 bits; convert it to 8 or 16 bits per channel.")
    reduced = np.empty(levels.shape, np.uint8)
    for top in range(0, len(levels), _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        reduced[rows] = (levels[rows].astype(np.uint32) + 128) // 257
    return reduced


def _convert_colours(picture: Image.Image, mode: str) -> Image.Image:
    """The picture in sRGB: by its colour profile if it has one, else by Pillow's own rules."""
    profile = picture.info.get("icc_profile")
    if picture.mode not in _PROFILED_MODES:
        picture = picture.convert(mode)
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(picture, source, _make_srgb(), outputMode=mode)
            return converted or picture
        except (ImageCms.PyCMSError, OSError, ValueError):
            _logger.info("The picture's colour profile does not fit it; it is taken as sRGB.", exc_info=True)
    return picture if picture.mode == mode else picture.convert(mode)


@cache
def _make_srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _drop_opaque_alpha(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if pixels.shape[2] == 4 and (pixels[..., 3] == 255).all():
        return pixels[..., :3]
    return pixels
