"""Where a picture is newly drawn and how strongly: the classes of a mask as weights (protocol §4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

_CLASS_BITS = 0x07
_VISIBLE_BITS = 0xF8
_NOISE, _KEEP = 1, 3
_MARKED = (2, 4)
_MOST_BLUR = 256.0
"""Ten times what the app offers; more changes nothing and takes ever longer."""


@dataclass(frozen=True)
class Region:
    """What a mask does to a canvas.

    ``weights``, ``(H, W)`` float32, is the share of the new picture per pixel, exactly 0 where the canvas is kept.
    """

    weights: NDArray[np.float32]

    @property
    def fresh(self) -> NDArray[np.bool_]:
        """``(H, W)``: where anything is newly drawn."""
        return self.weights > 0

    def find_bounds(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of what is newly drawn."""
        rows, columns = np.nonzero(self.fresh.any(axis=1))[0], np.nonzero(self.fresh.any(axis=0))[0]
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def list_classes(mask: NDArray[np.uint8]) -> set[int]:
    """Which classes occur, 4 as 2, and 5 to 7 as 0, as the server groups them."""
    found = {int(c) for c in np.unique(mask & _CLASS_BITS)}
    return {2 if c in _MARKED else 0 if c > _MARKED[-1] else c for c in found}


def means_whole_image(mask: NDArray[np.uint8], *, has_alpha_decoder: bool) -> bool:
    """Whether a mask marks nothing, so that the run is plain image-to-image."""
    classes = list_classes(mask)
    return (len(classes) == 1 and not classes & {1, 2}) or (has_alpha_decoder and 2 not in classes)


def means_no_canvas(mask: NDArray[np.uint8], *, has_alpha_decoder: bool) -> bool:
    """Whether a mask marks everything as empty, so that the run is plain text-to-image."""
    return list_classes(mask) == {_NOISE} and not has_alpha_decoder


def build_region(
    mask: NDArray[np.uint8], *, strength: float, blur: float, outset: int, cell: int, has_alpha_decoder: bool
) -> Region:
    """The region of a mask ``(H, W)`` of classes that marks some pixels.

    ``blur`` and ``outset`` are the configuration's (protocol §4.4). A ``cell`` of more than 1 pixel per side is kept
    only when all of its pixels are; otherwise the original is preserved pixel by pixel.
    """
    classes = mask & _CLASS_BITS
    present = list_classes(mask)
    noise = (classes == _NOISE) & (not has_alpha_decoder)
    repaint = np.isin(classes, _MARKED)
    if 2 not in present or {1, 2, 3} <= present:
        repaint |= classes == 0
    keep = ~(noise | repaint)
    if cell > 1:
        keep = _keep_whole_cells(keep, cell)
    elif blur > 0 and outset:
        keep = ~_dilate(~keep, outset) if outset > 0 else _dilate(keep, -outset)
    weights = np.where(repaint, np.float32(strength), np.float32(1))
    weights[noise] = 1 - (np.float32(1 / 255) * (mask[noise] & _VISIBLE_BITS)) ** 2
    weights *= 1 - _feather(keep, blur)
    weights[keep] = 0
    return Region(weights)


def _keep_whole_cells(keep: NDArray[np.bool_], cell: int) -> NDArray[np.bool_]:
    """A latent cell is kept only when all of its pixels are."""
    height, width = keep.shape
    cells = keep.reshape(height // cell, cell, width // cell, cell).all(axis=(1, 3))
    return cells.repeat(cell, axis=0).repeat(cell, axis=1)


def _dilate(area: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Everything within ``reach`` pixels of an area, in a square neighbourhood."""
    reach = min(reach, max(area.shape))
    for axis in (0, 1):
        padding = [(reach + 1, reach) if a == axis else (0, 0) for a in (0, 1)]
        counts = np.cumsum(np.pad(area, padding), axis=axis, dtype=np.int32)
        span = area.shape[axis]
        window = counts.take(range(2 * reach + 1, 2 * reach + 1 + span), axis=axis) - counts.take(
            range(span), axis=axis
        )
        area = window > 0
    return area


def _feather(keep: NDArray[np.bool_], sigma: float) -> NDArray[np.float32]:
    """How much of the canvas shows through in the repainted part: 1 at the edge, 0 far from it."""
    if sigma <= 0:
        return np.zeros(keep.shape, np.float32)
    soft = Image.fromarray(keep.astype(np.uint8) * np.uint8(255)).filter(
        ImageFilter.GaussianBlur(min(sigma, _MOST_BLUR))
    )
    shares: NDArray[np.float32] = np.clip(np.asarray(soft, np.float32) * np.float32(2 / 255), 0, 1)
    return shares
