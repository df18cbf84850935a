"""Vector silhouettes of common subjects, from ``silhouettes.json``.

Each is a list of shapes in a box of 100 x 100 whose bottom is the ground; a shape names a tone, not a colour.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from drawthings_mcp.simulator.painting.oklab import Floats, mix, oklch, parse_hex, to_oklch, to_rgb
from drawthings_mcp.simulator.painting.palette import RGB

_MARGIN = 12
"""Units around the box, for shapes that reach beyond it."""
_SUPERSAMPLING = 3
_SPLINE_STEPS = 10
_GLOW = parse_hex("#ffd98a")
_LEAF = parse_hex("#3f7a4c")
_SKIN = parse_hex("#d9a583")
_SIGNAL = parse_hex("#c8402f")
"""The accent beside colours that have no hue of their own."""
_GREYISH = 0.045
_BLACK = parse_hex("#101218")
_WHITE = parse_hex("#fffaf0")


@dataclass(frozen=True)
class Silhouette:
    """One subject.

    Attributes
    ----------
    aspect
        Width over height.
    place
        Where it belongs: ``ground``, ``sky`` or ``water``.
    color
        Its colour ``#rrggbb`` when the prompt names none.
    parts
        Tone, shape and numbers, painted in order.
    """

    aspect: float
    place: str
    color: str
    parts: tuple[tuple[str, str, tuple[float, ...]], ...]


@cache
def list_silhouettes() -> Mapping[str, Silhouette]:
    """Every subject that can be drawn, by name."""
    loaded: dict[str, Any] = json.loads(resources.files(__package__).joinpath("silhouettes.json").read_text("utf-8"))
    return {
        name: Silhouette(
            entry["aspect"],
            entry["place"],
            entry["color"],
            tuple((tone, shape, tuple(numbers)) for tone, shape, numbers in entry["parts"]),
        )
        for name, entry in loaded.items()
    }


def draw_silhouette(silhouette: Silhouette, height: int, color: Floats) -> Image.Image:
    """A subject as RGBA.

    Parameters
    ----------
    height
        Height of its box in pixels; the picture is larger by a margin on every side.
    color
        OKLab colour of the body; the other tones follow from it.
    """
    scale_y = height * _SUPERSAMPLING / 100
    scale_x = scale_y * silhouette.aspect
    size = (round(scale_x * (100 + 2 * _MARGIN)), round(scale_y * (100 + 2 * _MARGIN)))
    tones = _list_tones(color)
    # Transparent pixels already have the body's colour, so that reducing does not darken the rim.
    picture = Image.new("RGBA", size, (*tones["body"], 0))
    draw = ImageDraw.Draw(picture)
    for tone, shape, numbers in silhouette.parts:
        _SHAPES[shape](draw, numbers, np.array([scale_x, scale_y]), (*tones[tone], 255))
    return picture.reduce(_SUPERSAMPLING)


def margin_of(height: int, aspect: float) -> tuple[int, int]:
    """How far the picture of :func:`draw_silhouette` reaches beyond the box, in pixels."""
    return round(_MARGIN * height * aspect / 100), round(_MARGIN * height / 100)


def _list_tones(color: Floats) -> dict[str, RGB]:
    lightness, chroma, hue = to_oklch(color)
    accent = oklch(0.36 if lightness > 0.55 else 0.7, chroma, hue - 38) if chroma > _GREYISH else _SIGNAL
    tones = {
        "body": color,
        "dark": mix(color, _BLACK, 0.68),
        "light": mix(color, _WHITE, 0.72) if lightness < 0.9 else mix(color, _BLACK, 0.16),
        "accent": accent,
        "soft": mix(color, _WHITE, 0.2),
        "leaf": _LEAF,
        "skin": _SKIN,
        "glow": _GLOW,
    }
    return {name: to_rgb(tone) for name, tone in tones.items()}


Color = tuple[int, int, int, int]
Numbers = tuple[float, ...]


def _points(numbers: Numbers, scale: Floats) -> Floats:
    scaled: Floats = (np.array(numbers, float).reshape(-1, 2) + _MARGIN) * scale
    return scaled


def _box(numbers: Numbers, scale: Floats) -> list[float]:
    flat: list[float] = _points(numbers, scale).ravel().tolist()
    return flat


def _polygon(draw: ImageDraw.ImageDraw, numbers: Numbers, scale: Floats, color: Color) -> None:
    draw.polygon(_points(numbers, scale).ravel().tolist(), fill=color)


def _blob(draw: ImageDraw.ImageDraw, numbers: Numbers, scale: Floats, color: Color) -> None:
    draw.polygon(_smooth(_points(numbers, scale)).ravel().tolist(), fill=color)


def _ellipse(draw: ImageDraw.ImageDraw, numbers: Numbers, scale: Floats, color: Color) -> None:
    draw.ellipse(_box(numbers, scale), fill=color)


def _rectangle(draw: ImageDraw.ImageDraw, numbers: Numbers, scale: Floats, color: Color) -> None:
    draw.rectangle(_box(numbers, scale), fill=color)


def _rounded(draw: ImageDraw.ImageDraw, numbers: Numbers, scale: Floats, color: Color) -> None:
    draw.rounded_rectangle(_box(numbers[1:], scale), radius=numbers[0] * float(scale.min()), fill=color)


def _ring(draw: ImageDraw.ImageDraw, numbers: Numbers, scale: Floats, color: Color) -> None:
    draw.ellipse(_box(numbers[1:], scale), outline=color, width=max(1, round(numbers[0] * float(scale.min()))))


def _line(draw: ImageDraw.ImageDraw, numbers: Numbers, scale: Floats, color: Color) -> None:
    """A line with round ends."""
    width = max(1, round(numbers[0] * float(scale.mean())))
    points = _points(numbers[1:], scale)
    draw.line(points.ravel().tolist(), fill=color, width=width, joint="curve")
    for x, y in (points[0], points[-1]):
        draw.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=color)


def _smooth(points: Floats) -> Floats:
    """A closed Catmull-Rom curve through the points ``(N, 2)``."""
    before, after, beyond = (np.roll(points, shift, axis=0)[:, None] for shift in (1, -1, -2))
    at = points[:, None]
    t = np.linspace(0, 1, _SPLINE_STEPS, endpoint=False)[None, :, None]
    curve: Floats = 0.5 * (
        2 * at
        + (after - before) * t
        + (2 * before - 5 * at + 4 * after - beyond) * t**2
        + (3 * at - before - 3 * after + beyond) * t**3
    )
    return curve.reshape(-1, 2)


_SHAPES: Mapping[str, Callable[[ImageDraw.ImageDraw, Numbers, Floats, Color], None]] = {
    "blob": _blob,
    "ell": _ellipse,
    "line": _line,
    "poly": _polygon,
    "rect": _rectangle,
    "ring": _ring,
    "round": _rounded,
}
