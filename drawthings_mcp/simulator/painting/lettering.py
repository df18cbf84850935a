"""Type: sizes, line breaking, letter-spaced titles. Pillow's built-in face is the only one used."""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageDraw, ImageFont

from drawthings_mcp.simulator.painting.palette import RGB

_LAST_DRAWABLE = 0x24F
"""The built-in face ends with Latin Extended-B; what lies beyond would come out as boxes."""
_EXTRA_DRAWABLE = frozenset("–—‘’“”•…·×→")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=64)
def load_font(size: int) -> Font:
    """The built-in face at ``size`` pixels."""
    return ImageFont.load_default(size)


def keep_drawable(text: str) -> str:
    """The part of a text that the built-in face has letters for, on one line."""
    kept = (c if c in _EXTRA_DRAWABLE or (c >= " " and ord(c) <= _LAST_DRAWABLE and c != "\x7f") else " " for c in text)
    return " ".join("".join(kept).split())


def measure(text: str, size: int, spacing: float = 0.0) -> float:
    """Width of a text in pixels; ``spacing`` is added after each letter, in shares of the size."""
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
