"""The part of a large canvas that is rendered for a mask, and how it is put back into the whole."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from drawthings_mcp.faces import Text
from drawthings_mcp.planning.sizes import fit_to_area
from drawthings_mcp.tensors.fitting import fit_pixels, paste_part, soften_inside
from drawthings_mcp.tensors.mask import REPAINT, mask_classes
from drawthings_mcp.tensors.pixels import Pixels

_CONTEXT = 0.5
"""Margin around a mask as a share of its longer side: what a model has to see to match light and perspective."""
_MIN_CONTEXT = 0.125
"""The same as a share of the model's native side, for small masks."""
_SEAM = 6
"""Pixels, as rendered, over which new and old fade into each other."""
_LUMA = np.array([299, 587, 114], np.uint32)


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a canvas; sizes in its pixels.

    Attributes
    ----------
    left, top, width, height
        Of the rectangle.
    canvas, mask
        The whole picture and its mask.
    """

    left: int
    top: int
    width: int
    height: int
    canvas: Pixels = field(repr=False, compare=False)
    mask: Pixels = field(repr=False, compare=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom."""
        return self.left, self.top, self.left + self.width, self.top + self.height

    def without_pixels(self) -> Region:
        """The same to be kept, once everything is put back: the canvas may take hundreds of megabytes."""
        nothing = np.empty((0, 0, 3), np.uint8)
        return replace(self, canvas=nothing, mask=nothing)

    def cut(self, pixels: Pixels) -> Pixels:
        """The part of the canvas, or of a picture of its size."""
        left, top, right, bottom = self.box
        return np.ascontiguousarray(pixels[top:bottom, left:right])

    def paste(self, rendered: Pixels) -> Pixels:
        """The whole canvas with what was rendered in place of what the mask marks, all else as it was.

        The seam fades within the mask: pixels where it is black are those of the canvas, bit for bit.
        """
        scale = max(1.0, self.width / rendered.shape[1])
        levels = _read_levels(self.cut(self.mask))
        # A mask with soft edges says itself how its seam is to fade.
        is_soft = bool(((levels > 0) & (levels < 255)).any())
        weights = levels if is_soft else soften_inside(levels, _SEAM * scale)
        return paste_part(self.canvas, fit_pixels(rendered, self.size, "stretch"), (self.left, self.top), weights)

    def explain(self, rendered: tuple[int, int]) -> Text:
        """What is done, for the caller."""
        return Text(
            "only {region} around the mask, from {corner}, is rendered, at {rendered}, and put back into {whole}; all "
            "else stays as it is; {width} and {height} would render the whole picture",
            region="×".join(map(str, self.size)),
            corner=f"{self.left},{self.top}",
            rendered="×".join(map(str, rendered)),
            whole=f"{self.canvas.shape[1]}×{self.canvas.shape[0]}",
        )


def find_region(canvas: Pixels, mask: Pixels, native_side: int) -> Region | None:
    """What to render of a canvas that is larger than a model draws; None when the whole of it will do.

    It has the mask with some context, and as much more as the model's native size takes without scaling.

    Parameters
    ----------
    canvas
        ``(H, W, 3)`` or ``(H, W, 4)``.
    mask
        Of the same size; one of another size is for the rendered picture, and so is the call.

    Raises
    ------
    InvalidImageError
        Nothing in the mask is white.
    """
    height, width = canvas.shape[:2]
    rendered = fit_to_area(width, height, native_side)
    if mask.shape[:2] != (height, width) or width * height <= rendered[0] * rendered[1]:
        return None
    rows, columns = (np.nonzero((mask_classes(mask) == REPAINT).any(axis=axis))[0] for axis in (1, 0))
    first, last = (int(columns[0]), int(rows[0])), (int(columns[-1]) + 1, int(rows[-1]) + 1)
    margin = round(max(_CONTEXT * max(last[0] - first[0], last[1] - first[1]), _MIN_CONTEXT * native_side))
    wanted = min(last[0] - first[0] + 2 * margin, width), min(last[1] - first[1] + 2 * margin, height)
    shape = fit_to_area(*wanted, native_side)
    scale = max(1.0, wanted[0] / shape[0], wanted[1] / shape[1])
    size = min(round(shape[0] * scale), width), min(round(shape[1] * scale), height)
    left, top = (
        min(max((begin + end - side) // 2, 0), whole - side)
        for begin, end, side, whole in zip(first, last, size, (width, height), strict=True)
    )
    return Region(left, top, *size, canvas, mask)


def _read_levels(mask: Pixels) -> Pixels:
    """Brightness of a mask, ``(h, w)``; 0 where it is clear."""
    levels = (mask[..., :3] @ _LUMA // _LUMA.sum()).astype(np.uint8)
    return np.where(mask[..., 3] > 0, levels, np.uint8(0)) if mask.shape[2] == 4 else levels
