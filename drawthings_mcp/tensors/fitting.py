"""Pixels → pixels of the size that a request needs: fitted, extended, made opaque."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.limits import MAX_SIDE, UNIT, Fit
from drawthings_mcp.tensors.header import MAX_PIXELS
from drawthings_mcp.tensors.layout import check_pixels
from drawthings_mcp.tensors.mask import GENERATE, KEEP, alpha_classes

Padding: TypeAlias = Literal["grey", "edge"]
"""Middle grey, or the outermost pixels repeated."""

MIDDLE_GREY = 128
"""The level nearest to 0.0, which is what stands for "nothing there" on the wire (protocol §4.3)."""

_REACH = 16
"""Pixels that colours are continued by: more than an upscaler mixes."""

_REDUCING_GAP = 3.0
"""Strong reductions average whole blocks first, down to this many times the size; the eye sees no difference."""


def fit_pixels(
    pixels: NDArray[np.uint8], size: tuple[int, int], how: Fit, *, padding: Padding = "grey"
) -> NDArray[np.uint8]:
    """A picture in exactly the size that is asked for, centred.

    Parameters
    ----------
    pixels
        ``(H, W, 3)`` or ``(H, W, 4)``, uint8, sRGB.
    size
        Width and height.
    how
        ``crop``, ``pad`` or ``stretch``; all the same when the proportions fit.
    padding
        What ``pad`` fills up with. Grey is clear where the picture has an alpha channel.

    Returns
    -------
    NDArray[np.uint8]
        ``(height, width, 3 or 4)``; ``pixels`` itself when it has the size already.

    Raises
    ------
    InvalidImageError
        These are no pixels.
    InvalidInputError
        The size is not 1x1 to 8192x8192, or ``how`` or ``padding`` is none of the above.
    """
    check_pixels(pixels, 3, 4)
    _check_size(size)
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    if how == "crop":
        return _resize(pixels, size, _find_crop(pixels, size))
    if how == "stretch":
        return _resize(pixels, size)
    if how == "pad":
        return _pad(_resize(pixels, _find_inner_size(pixels, size)), size, padding)
    raise InvalidInputError(f"A picture is fitted by crop, pad or stretch, not {how!r}.")


def extend_canvas(
    pixels: NDArray[np.uint8], left: int = 0, top: int = 0, right: int = 0, bottom: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A larger canvas around a picture, and the mask that has a model paint what is new.

    Parameters
    ----------
    pixels
        ``(H, W, 3)``, or ``(H, W, 4)``, the clear parts of which are painted as well.
    left, top, right, bottom
        Pixels to add on each side, 0 or more.

    Returns
    -------
    tuple[NDArray[np.uint8], NDArray[np.uint8]]
        Canvas ``(h, w, 3)``, middle grey where it is new, and mask classes ``(h, w)``: ``GENERATE`` there, ``KEEP``
        elsewhere (protocol §4.2).

    Raises
    ------
    InvalidImageError
        These are no pixels.
    InvalidInputError
        Nothing is added, a number is negative, or a side of the result is not a multiple of 64 up to 8192.
    """
    check_pixels(pixels, 3, 4)
    if min(left, top, right, bottom) < 0 or not any((left, top, right, bottom)):
        raise InvalidInputError(
            f"A canvas is extended by 0 or more pixels on each side and by some on one, not by left {left}, top {top}, "
            f"right {right}, bottom {bottom}."
        )
    _check_side("width", "left or right", pixels.shape[1] + left + right)
    _check_side("height", "top or bottom", pixels.shape[0] + top + bottom)
    rgb, classes = flatten_transparent(pixels) if pixels.shape[2] == 4 else (pixels, _keep_all(pixels))
    edges = ((top, bottom), (left, right))
    canvas = np.pad(rgb, (*edges, (0, 0)), constant_values=MIDDLE_GREY)
    return canvas, np.pad(classes, edges, constant_values=GENERATE)


def flatten_transparent(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture with clear parts as requests take it: opaque, with a mask that says where it was clear.

    Parameters
    ----------
    pixels
        ``(H, W, 4)``, uint8, channels R, G, B, A, colours not multiplied by alpha.

    Returns
    -------
    tuple[NDArray[np.uint8], NDArray[np.uint8]]
        Colours ``(H, W, 3)``, middle grey where alpha is 0, and the classes ``(H, W)`` of ``alpha_classes``
        (protocol §4.3).

    Raises
    ------
    InvalidImageError
        These are no such pixels.
    """
    check_pixels(pixels, 4)
    alpha = pixels[..., 3]
    return np.where(alpha[..., np.newaxis] == 0, np.uint8(MIDDLE_GREY), pixels[..., :3]), alpha_classes(alpha)


def fill_clear_parts(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colours of a picture, continued a little into what is clear, so that no other colour gets into its edges.

    Parameters
    ----------
    pixels
        ``(H, W, 4)``, uint8, colours not multiplied by alpha.

    Returns
    -------
    NDArray[np.uint8]
        ``(H, W, 3)``, middle grey where nothing opaque is near.
    """
    check_pixels(pixels, 4)
    height, width = pixels.shape[:2]
    small = _resize(pixels, (math.ceil(width / _REACH), math.ceil(height / _REACH)))
    near = _resize(small, (width, height))
    filled = np.where(near[..., 3:] > 0, near[..., :3], np.uint8(MIDDLE_GREY))
    return np.where(pixels[..., 3:] > 0, pixels[..., :3], filled)


def put_alpha(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture ``(H, W, 3)`` with an alpha channel ``(h, w)`` that is brought to its size; ``(H, W, 4)``."""
    check_pixels(pixels, 3)
    resized = Image.fromarray(alpha).resize((pixels.shape[1], pixels.shape[0]), Image.Resampling.LANCZOS)
    return np.dstack([pixels, np.asarray(resized)])


def soften_inside(levels: NDArray[np.uint8], reach: float) -> NDArray[np.uint8]:
    """A mask whose edge fades inwards only, over about ``reach`` pixels: what is black stays black.

    Parameters
    ----------
    levels
        ``(H, W)``, uint8.
    """
    blurred = np.asarray(Image.fromarray(levels).filter(ImageFilter.GaussianBlur(reach / 2)), np.int16)
    return np.where(levels > 0, np.clip(2 * blurred - 255, 0, 255), 0).astype(np.uint8)


def paste_part(
    canvas: NDArray[np.uint8], part: NDArray[np.uint8], corner: tuple[int, int], levels: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """A copy of a picture with a part of it replaced; pixels where the mask is black are those of the picture.

    Parameters
    ----------
    canvas
        ``(H, W, 3)`` or ``(H, W, 4)``, uint8.
    part
        ``(h, w, 3)`` or ``(h, w, 4)``; where it is clear the picture shows.
    corner
        Left and top of the part.
    levels
        ``(h, w)``, uint8: 255 where the part counts, 0 where it does not.
    """
    check_pixels(canvas, 3, 4)
    check_pixels(part, 3, 4)
    left, top = corner
    height, width = part.shape[:2]
    pasted = canvas.copy()
    below = pasted[top : top + height, left : left + width]
    if part.shape[2] == 4:
        levels = (levels.astype(np.uint16) * part[..., 3] // 255).astype(np.uint8)
    opaque = np.dstack([part[..., :3], np.full_like(levels, 255)])[..., : canvas.shape[2]]
    blended = Image.composite(Image.fromarray(opaque), Image.fromarray(below), Image.fromarray(levels))
    below[:] = np.where((levels > 0)[..., np.newaxis], np.asarray(blended), below)
    return pasted


def _check_size(size: tuple[int, int]) -> None:
    if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
        raise InvalidInputError(f"A picture is 1x1 to 8192x8192 pixels, not {size[0]}x{size[1]}.")


def _check_side(name: str, edges: str, length: int) -> None:
    if length > MAX_SIDE:
        raise InvalidInputError(
            f"The extended canvas would have a {name} of {length} pixels, at most {MAX_SIDE} are possible: add "
            f"{length - MAX_SIDE} less to {edges}, or scale the picture down first."
        )
    if length % UNIT:
        raise InvalidInputError(
            f"The extended canvas would have a {name} of {length} pixels, which is no multiple of {UNIT}: add "
            f"{-length % UNIT} more to {edges}."
        )


def _resize(
    pixels: NDArray[np.uint8], size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> NDArray[np.uint8]:
    # Pillow weighs colours by their alpha, so that what is clear does not bleed.
    picture = Image.fromarray(pixels)
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS, box, reducing_gap=_REDUCING_GAP))


def _find_crop(pixels: NDArray[np.uint8], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred box with the proportions of a size: left, top, right, bottom."""
    height, width = pixels.shape[:2]
    scale = min(width / size[0], height / size[1])
    x, y = (width - size[0] * scale) / 2, (height - size[1] * scale) / 2
    return max(x, 0), max(y, 0), min(width - x, width), min(height - y, height)


def _find_inner_size(pixels: NDArray[np.uint8], size: tuple[int, int]) -> tuple[int, int]:
    """The largest size within another that has the proportions of a picture, at least one pixel wide and high."""
    height, width = pixels.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _pad(pixels: NDArray[np.uint8], size: tuple[int, int], padding: Padding) -> NDArray[np.uint8]:
    height, width, channels = pixels.shape
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    edges = ((top, size[1] - height - top), (left, size[0] - width - left))
    if padding == "edge":
        return np.pad(pixels, (*edges, (0, 0)), "edge")
    if padding != "grey":
        raise InvalidInputError(f"A picture is padded with grey or edge, not {padding!r}.")
    padded = np.empty((size[1], size[0], channels), np.uint8)
    padded[:] = (MIDDLE_GREY,) * 3 + (0,) * (channels - 3)
    padded[top : top + height, left : left + width] = pixels
    return padded


def _keep_all(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.full(pixels.shape[:2], KEEP, np.uint8)
