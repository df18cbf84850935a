"""Masks that one can judge: their edges changed by pixels, and drawn on the picture that they are for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from drawthings_mcp.attachments.grid import distorts, fit_size
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.tensors.fitting import fit_pixels, flatten_transparent
from drawthings_mcp.tensors.pixels import ImageLike, Pixels, ensure_pixels, measure

_RED = (255, 0, 0)
_OPACITY = 0.55
"""Of the red of a mask: what is below stays recognisable."""
_RGBA = 4
_WHITE = 128
"""Level from which on a mask is white, as where it is sent (``tensors.mask``)."""
_FADES = 3
"""Standard deviations of blur over which an edge is seen to fade."""


def adjust_mask(mask: ImageLike, *, grow: int = 0, feather: int = 0) -> Pixels:
    """A mask with more or less of white around its edge, and a softer edge; ``(H, W, 3)``.

    Parameters
    ----------
    grow
        Pixels by which white parts become larger on each side; below 0 smaller.
    feather
        About so many pixels the edge fades over. A request has white and black only; greys soften the seam where what
        was repainted is put back into a larger picture.

    Raises
    ------
    InvalidInputError
        Nothing white is left.
    """
    levels = Image.fromarray(ensure_pixels(mask)[..., :3]).convert("L")
    if grow:
        white = np.asarray(levels) >= _WHITE
        white = _spread(white, grow) if grow > 0 else ~_spread(~white, -grow)
        levels = Image.fromarray(np.where(white, np.uint8(255), np.uint8(0)))
    if grow < 0 and not (np.asarray(levels) >= _WHITE).any():
        raise InvalidInputError(f"nothing white is left of the mask at {grow}; shrink it by less.", parameter="grow")
    if feather:
        levels = levels.filter(ImageFilter.GaussianBlur(feather / _FADES))
    return np.repeat(np.asarray(levels)[..., np.newaxis], 3, axis=2)


def _spread(marked: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """What is marked, and all that is not farther from it than ``reach`` in both directions."""
    for axis in (0, 1):
        length = marked.shape[axis]
        # How many are marked up to each place: a window has one where the count rises within it.
        counts = np.cumsum(np.insert(marked.astype(np.int32), 0, 0, axis=axis), axis=axis, dtype=np.int32)
        places = np.arange(length)
        first, last = np.maximum(places - reach, 0), np.minimum(places + reach + 1, length)
        marked = np.take(counts, last, axis=axis) > np.take(counts, first, axis=axis)
    return marked


def draw_mask_on(picture: ImageLike, mask: ImageLike, edge: int) -> Pixels | None:
    """A picture with a mask on it in red, outlined in white; ``(h, w, 3)``, at most ``edge`` wide and high.

    None when the two differ in shape, so that the mask is not one of this picture.
    """
    if distorts(measure(picture), measure(mask)):
        return None
    pixels = ensure_pixels(picture, enough=edge)
    size = fit_size((pixels.shape[1], pixels.shape[0]), edge)
    flat = flatten_transparent(pixels)[0] if pixels.shape[2] == _RGBA else pixels
    base = fit_pixels(flat, size, "stretch")
    marks = ensure_pixels(mask, enough=edge)
    levels = Image.fromarray(marks[..., :3]).convert("L").resize(size, Image.Resampling.BILINEAR)
    white = levels.point(lambda level: 255 * (level >= _WHITE))
    outline = ImageChops.subtract(white, white.filter(ImageFilter.MinFilter(3)))
    drawn = Image.fromarray(base)
    drawn.paste(_RED, mask=levels.point(lambda level: round(level * _OPACITY)))
    drawn.paste((255, 255, 255), mask=outline)
    return np.asarray(drawn)
