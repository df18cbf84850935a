"""Type: sizes, line breaking, letter-spaced titles, and the stamp. Pillow's built-in font is the only one used."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from drawthings_mcp.simulator.painting.oklab import RGB

_LAST_DRAWABLE = 0x24F
"""The built-in font ends with Latin Extended-B; other characters would come out as boxes."""
_EXTRA_DRAWABLE = frozenset("–—‘’“”•…·×→")

_WORD = "simulated"
_SIZES = (0.024, 0.018, 0.013)
"""Heights of the letters to try, as fractions of the shorter side."""
_SMALLEST = 9
_PAPER = (18, 20, 26, 150)
_INK = (255, 255, 255, 235)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=64)
def load_font(size: int) -> Font:
    """The built-in font at ``size`` pixels."""
    return ImageFont.load_default(size)


def keep_drawable(text: str) -> str:
    """The part of a text that the built-in font has letters for, on one line."""
    kept = (c if c in _EXTRA_DRAWABLE or (c >= " " and ord(c) <= _LAST_DRAWABLE and c != "\x7f") else " " for c in text)
    return " ".join("".join(kept).split())


def measure(text: str, size: int, spacing: float = 0.0) -> float:
    """Width of a text in pixels; ``spacing`` is added after each letter, as a fraction of the size."""
    return load_font(size).getlength(text) + spacing * size * max(0, len(text) - 1)


def fit_size(text: str, size: int, room: float, smallest: int, spacing: float = 0.0) -> int | None:
    """The largest size up to ``size`` at which a text fits into ``room`` pixels, or None."""
    while size >= smallest:
        if measure(text, size, spacing) <= room:
            return size
        size -= max(1, size // 20)
    return None


def break_lines(text: str, size: int, room: float, limit: int) -> list[str]:
    """A text as at most ``limit`` lines of ``room`` pixels; the last ends in an ellipsis when there is more."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < limit:
        count = _count_fitting(words, size, room)
        lines.append(_shorten(" ".join(words[:count]), size, room))
        words = words[count:]
    if words:
        lines[-1] = _shorten(f"{lines[-1]} {words[0]}…", size, room)
    return lines


def _count_fitting(words: list[str], size: int, room: float) -> int:
    count = 1
    while count < len(words) and measure(" ".join(words[: count + 1]), size) <= room:
        count += 1
    return count


def _shorten(text: str, size: int, room: float) -> str:
    while len(text) > 1 and measure(text, size) > room:
        text = text[:-2].rstrip() + "…"
    return text


def draw_spaced(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, color: RGB, *, spacing: float
) -> None:
    """A letter-spaced line; ``at`` is the left end of its baseline."""
    x, y = at
    font = load_font(size)
    for letter in text:
        draw.text((x, y), letter, font=font, fill=color, anchor="ls")
        x += font.getlength(letter) + spacing * size


def stamp(pixels: NDArray[np.uint8], fresh: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """A picture ``(H, W, 3)`` or ``(H, W, 4)`` with the word "simulated" in a corner; ``pixels`` stays unchanged.

    ``fresh``, ``(H, W)``, says where the picture was newly drawn, by default everywhere. The word and its plate touch
    nothing else. When no such place is large enough for readable letters the picture is returned as it is.
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
    """Left and top of the place nearest to the upper right corner that is entirely fresh."""
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
