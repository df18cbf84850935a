"""The canvas and its mask → canvas and mask classes of exactly the size of the configuration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.faces import Text
from drawthings_mcp.limits import Fit
from drawthings_mcp.tensors.fitting import fit_pixels, flatten_transparent
from drawthings_mcp.tensors.mask import KEEP, REPAINT, mask_classes
from drawthings_mcp.tensors.pixels import ImageLike, Pixels, ensure_pixels

_EVERY = 4
_COLOURED = 48
"""Difference of channels from which on a pixel is no grey, whatever a JPEG made of it."""
_FEW = 0.05
"""Share of a mask that may have colours: a mark, a frame."""


def read_canvas(
    canvas: ImageLike | None, mask: ImageLike | None, size: tuple[int, int], fit: Fit, *, paints_clear_parts: bool
) -> tuple[Pixels | None, Pixels | None, tuple[str, ...]]:
    """Reads and fits the canvas and its mask.

    Parameters
    ----------
    mask
        White is repainted, black is kept. Either of the size of the given canvas, and fitted like it, or of ``size``.
    size
        Width and height of the configuration.
    fit
        How a picture of other proportions is brought there. What ``pad`` adds is grey and kept, but painted next to a
        picture that is clear in places.
    paints_clear_parts
        Whether clear parts of the canvas are to be painted (protocol §4.3); they are grey otherwise.

    Returns
    -------
    tuple
        Canvas ``(H, W, 3)`` uint8, mask classes ``(H, W)`` uint8 (protocol §4.2), and warnings about the pictures.

    Raises
    ------
    InvalidImageError
        One of them is no picture, the canvas is clear all over, or the mask has another size, no white or nothing to
        mask.
    """
    if canvas is None:
        if mask is not None:
            raise InvalidImageError(
                Text("masks a canvas, of which there is none. Give {canvas} as well."), parameter="mask"
            )
        return None, None, ()
    original = ensure_pixels(canvas)
    pixels, alpha = _flatten(fit_pixels(original, size, fit))
    drawn = None if mask is None else ensure_pixels(mask)
    marked = None if drawn is None else _read_mask(drawn, original.shape[:2], size, fit)
    noted = _note_colours(drawn)
    if alpha is None:
        return pixels, marked, noted
    if not paints_clear_parts:
        return pixels, marked, (*noted, Text("Parts of {canvas} are clear; they become grey. Fill them beforehand."))
    if marked is not None:
        return pixels, _merge(marked, alpha), noted
    warning = "Parts of {canvas} are clear: they are painted, all else is kept. Fill them to change the whole picture."
    return pixels, alpha, (Text(warning),)


def _flatten(pixels: Pixels) -> tuple[Pixels, Pixels | None]:
    """Three channels, and the classes of what is clear; None when nothing is."""
    if pixels.shape[2] == 3:
        return pixels, None
    if not pixels[..., 3].any():
        raise InvalidImageError("is clear all over. Give a picture with content, or none.", parameter="canvas")
    flat, classes = flatten_transparent(pixels)
    return flat, None if (classes == KEEP).all() else classes


def _note_colours(mask: Pixels | None) -> tuple[Text, ...]:
    """That a mask is a picture: what is light in it says little about what is to change."""
    if mask is None:
        return ()
    sample = mask[::_EVERY, ::_EVERY, :3]
    if float((np.ptp(sample, axis=2) > _COLOURED).mean()) < _FEW:
        return ()
    return (Text("{mask} is a picture in colours, of which what is light was repainted; a mask is white and black"),)


def _read_mask(pixels: Pixels, original: tuple[int, ...], size: tuple[int, int], fit: Fit) -> Pixels:
    classes = mask_classes(pixels)
    if pixels.shape[:2] == original:
        return _fit_mask(classes == REPAINT, size, fit)
    height, width = pixels.shape[:2]
    if (width, height) != size:
        rendered = ", or the size that is rendered, {rendered}" if original != (size[1], size[0]) else ""
        raise InvalidImageError(
            Text(
                f"is {{given}}; it must have the size of {{canvas}}, {{original}}{rendered}. "
                "Make it again from that picture, or resize it.",
                given=f"{width}x{height}",
                original=f"{original[1]}x{original[0]}",
                rendered=f"{size[0]}x{size[1]}",
            ),
            parameter="mask",
        )
    return classes


def _fit_mask(is_white: NDArray[np.bool_], size: tuple[int, int], fit: Fit) -> Pixels:
    """A mask fitted like its picture, black and white again; what padding adds is kept."""
    levels = is_white * np.uint8(255)
    # With an opaque alpha channel padding is clear, which counts as kept.
    fitted = fit_pixels(np.dstack([levels, levels, levels, np.full_like(levels, 255)]), size, fit)
    try:
        return mask_classes(fitted)
    except InvalidImageError as exc:
        raise InvalidImageError(
            Text(
                "nothing white is left of it once the picture is fitted by {how!r}. Choose another {fit}, or a size "
                "with the proportions of the picture.",
                how=fit,
            ),
            parameter="mask",
        ) from exc


def _merge(marked: Pixels, alpha: Pixels) -> Pixels:
    """Clear parts are painted from nothing, white ones repainted, all others kept.

    Kept pixels get the class that says so: what class 0 means depends on the other classes (protocol §4.2).
    """
    return np.where(alpha != KEEP, alpha, np.where(marked == REPAINT, np.uint8(REPAINT), np.uint8(KEEP)))
