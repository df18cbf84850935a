"""The word that says that a picture is simulated, in a corner of what is newly drawn and nowhere else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from drawthings_mcp.simulator.painting.lettering import load_font, measure

_WORD = "simulated"
_SIZES = (0.024, 0.018, 0.013)
"""Heights of the letters to try, in shares of the shorter side."""
_SMALLEST = 9
_PAPER = (18, 20, 26, 150)
_INK = (255, 255, 255, 235)


def stamp(pixels: NDArray[np.uint8], fresh: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """A picture with the word in a corner.

    Parameters
    ----------
    pixels
        ``(H, W, 3)`` or ``(H, W, 4)``, uint8; unchanged.
    fresh
        ``(H, W)``, where the picture was newly drawn; by default everywhere. The word and its plate touch nothing
        else. Where no such place is large enough for readable letters the picture is returned as it is.
    """
    height, width = pixels.shape[:2]
    for share in _SIZES:
        plate = _draw_plate(max(_SMALLEST, round(min(width, height) * share)))
        spot = _find_corner(width, height, plate.size, fresh)
        if spot:
            picture = Image.fromarray(pixels)
            if picture.mode == "RGBA":
                picture.alpha_composite(plate, spot)
            else:
                picture.paste(plate.convert("RGB"), spot, plate.getchannel("A"))
            return np.asarray(picture)
    return pixels


def _draw_plate(size: int) -> Image.Image:
    across = round(measure(_WORD, size) + size * 1.1)
    plate = Image.new("RGBA", (across, round(size * 1.7)), (*_PAPER[:3], 0))
    draw = ImageDraw.Draw(plate)
    draw.rounded_rectangle([0, 0, plate.width - 1, plate.height - 1], radius=plate.height / 2, fill=_PAPER)
    draw.text((plate.width / 2, plate.height / 2), _WORD, font=load_font(size), fill=_INK, anchor="mm")
    return plate


def _find_corner(
    width: int, height: int, plate: tuple[int, int], fresh: NDArray[np.bool_] | None
) -> tuple[int, int] | None:
    """Left and top of the place nearest to the upper right corner that is fresh all over."""
    margin = round(min(width, height) * 0.022)
    across, down = plate
    if fresh is None:
        left = width - across - margin
        return (left, margin) if left >= 0 and margin + down <= height else None
    if across > width or down > height:
        return None
    counts = np.zeros((height + 1, width + 1), np.int32)
    np.cumsum(np.cumsum(fresh, axis=0, dtype=np.int32), axis=1, out=counts[1:, 1:])
    inside = counts[down:, across:] - counts[:-down, across:] - counts[down:, :-across] + counts[:-down, :-across]
    tops, lefts = np.nonzero(inside == across * down)
    if not len(tops):
        return None
    best = int(np.argmin(np.abs(tops - margin) + np.abs(width - across - margin - lefts)))
    return int(lefts[best]), int(tops[best])
