"""The subjects of a picture: vector silhouettes from ``silhouettes.json``, placed in the landscape.

A silhouette is a list of shapes in a box of 100 x 100 whose bottom is the ground; a shape names a tone, not a colour.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from drawthings_mcp.simulator.painting.oklab import (
    RGB,
    Floats,
    mix,
    oklch,
    parse_hex,
    srgb_to_oklab,
    to_oklch,
    to_rgb,
)
from drawthings_mcp.simulator.painting.palette import Palette
from drawthings_mcp.simulator.painting.scenery import Stage

_PLACES = {1: (0.5,), 2: (0.32, 0.70), 3: (0.20, 0.51, 0.80)}
_HEIGHTS = {"ground": 0.44, "water": 0.30, "sky": 0.25}
_MAX_WIDTH = {1: 0.58, 2: 0.40, 3: 0.29}
_LEAST_CONTRAST = 0.16

_MARGIN = 12
"""Units around the box, for shapes that reach beyond it."""
_SUPERSAMPLING = 3
_SPLINE_STEPS = 10
_SHAPES_WITH_EXTENT = frozenset({"line", "ring", "round"})
_GLOW = parse_hex("#ffd98a")
_LEAF = parse_hex("#3f7a4c")
_SKIN = parse_hex("#d9a583")
_SIGNAL = parse_hex("#c8402f")
"""The accent for colours that have no hue of their own."""
_GREYISH = 0.045
_BLACK = parse_hex("#101218")
_WHITE = parse_hex("#fffaf0")


@dataclass(frozen=True)
class _Spot:
    """Where a figure goes: middle of its foot, and its height, in pixels."""

    x: float
    foot: float
    height: int


def paint_figures(
    stage: Stage, subjects: tuple[tuple[str, str | None], ...], palette: Palette, rng: np.random.Generator
) -> Image.Image:
    """The subjects as a transparent layer of the size of the stage."""
    layer = Image.new("RGBA", stage.picture.size)
    drift = float(rng.uniform(-0.06, 0.06))
    for (name, color), x in zip(subjects, _PLACES.get(len(subjects), ()), strict=True):
        silhouette = list_silhouettes()[name]
        place = silhouette.place if silhouette.place != "water" or stage.waterline else "ground"
        spot = _find_spot(stage, silhouette, place, x + drift, len(subjects), rng)
        figure = draw_silhouette(silhouette, spot.height, _choose_color(color, silhouette, palette))
        _place(layer, figure, spot, silhouette.aspect, place)
    return layer


def _find_spot(
    stage: Stage, silhouette: Silhouette, place: str, x: float, count: int, rng: np.random.Generator
) -> _Spot:
    width, height = stage.picture.size
    tall = int(min(_HEIGHTS[place] * height, _MAX_WIDTH[count] * width / silhouette.aspect))
    middle = x * width
    if place == "sky":
        return _Spot(middle, height * float(rng.uniform(0.40, 0.50)), tall)
    if place == "water" and stage.waterline:
        return _Spot(middle, stage.waterline + height * 0.07, tall)
    reach = int(tall * silhouette.aspect * 0.4)
    crest = stage.near[max(0, int(middle) - reach) : int(middle) + reach + 1]
    return _Spot(middle, float(crest.max()) + height * 0.012, tall)


def _choose_color(color: str | None, silhouette: Silhouette, palette: Palette) -> Floats:
    """The requested colour, with a lightness that stands out from what is behind."""
    wanted = parse_hex(color or silhouette.color)
    if palette.is_dark:
        wanted = mix(wanted, _to_lab(palette.sky[0]), 0.18)
    behind = _to_lab(palette.ridges[1])
    lightness, chroma, hue = to_oklch(wanted)
    distance = float(np.linalg.norm(wanted - behind))
    if distance < _LEAST_CONTRAST:
        lightness += -0.2 if lightness > 0.4 else 0.14
    return oklch(lightness, chroma, hue)


def _to_lab(color: RGB) -> Floats:
    return srgb_to_oklab(np.array(color) / 255)


def _place(layer: Image.Image, figure: Image.Image, spot: _Spot, aspect: float, place: str) -> None:
    margin_x, margin_y = margin_of(spot.height, aspect)
    left = round(spot.x - spot.height * aspect / 2) - margin_x
    top = round(spot.foot) - spot.height - margin_y
    if place == "ground":
        _paint_shadow(layer, spot, aspect)
    if place == "water":
        _paint_mirror(layer, figure, left, round(spot.foot) - margin_y)
    layer.alpha_composite(*_clip_to(layer, figure, left, top))


def _clip_to(layer: Image.Image, figure: Image.Image, left: int, top: int) -> tuple[Image.Image, tuple[int, int]]:
    """A figure cropped to the layer, since compositing refuses negative positions."""
    box = (max(0, -left), max(0, -top), min(figure.width, layer.width - left), min(figure.height, layer.height - top))
    return figure.crop(box), (max(0, left), max(0, top))


def _paint_shadow(layer: Image.Image, spot: _Spot, aspect: float) -> None:
    half, thick = spot.height * aspect * 0.46, spot.height * 0.035
    patch = Image.new("RGBA", (round(half * 2.6), round(thick * 6)), (0, 0, 0, 0))
    middle_x, middle_y = patch.width / 2, patch.height / 2
    ImageDraw.Draw(patch).ellipse(
        [middle_x - half, middle_y - thick, middle_x + half, middle_y + thick], fill=(0, 0, 0, 120)
    )
    patch = patch.filter(ImageFilter.GaussianBlur(thick * 0.7))
    left, top = round(spot.x - middle_x), round(spot.foot - middle_y)
    layer.alpha_composite(*_clip_to(layer, patch, left, top))


def _paint_mirror(layer: Image.Image, figure: Image.Image, left: int, top: int) -> None:
    """A faint, squashed reflection that fades with its depth."""
    flipped = figure.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    mirrored = flipped.resize((figure.width, max(1, figure.height // 2)))
    fade = np.linspace(0.5, 0.05, mirrored.height)[:, None]
    alpha = np.asarray(mirrored.getchannel("A")) * fade
    mirrored.putalpha(Image.fromarray(np.rint(alpha).astype(np.uint8)))
    layer.alpha_composite(*_clip_to(layer, mirrored, left, top))


@dataclass(frozen=True)
class Silhouette:
    """One subject: the tone, shape and numbers of its parts, painted in order.

    ``aspect`` is width over height, ``place`` where it belongs (``ground``, ``sky`` or ``water``), ``color`` its colour
    ``#rrggbb`` when the prompt names none.
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
    """A subject as RGBA; the other tones follow from ``color``, the OKLab colour of the body.

    ``height`` is that of its box in pixels; the picture is larger by a margin on every side.
    """
    scale_y = height * _SUPERSAMPLING / 100
    scale_x = scale_y * silhouette.aspect
    size = (round(scale_x * (100 + 2 * _MARGIN)), round(scale_y * (100 + 2 * _MARGIN)))
    tones = _list_tones(color)
    # Transparent pixels already have the body's colour, so that reducing does not darken the rim.
    picture = Image.new("RGBA", size, (*tones["body"], 0))
    draw = ImageDraw.Draw(picture)
    for tone, shape, numbers in silhouette.parts:
        _draw_shape(draw, shape, numbers, np.array([scale_x, scale_y]), (*tones[tone], 255))
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


def _draw_shape(
    draw: ImageDraw.ImageDraw, shape: str, numbers: tuple[float, ...], scale: Floats, color: tuple[int, int, int, int]
) -> None:
    """Draw one shape; where it needs a width or a radius, that is the first of its numbers."""
    extent = numbers[0] if shape in _SHAPES_WITH_EXTENT else 0.0
    coordinates = numbers[1:] if shape in _SHAPES_WITH_EXTENT else numbers
    points = (np.array(coordinates, float).reshape(-1, 2) + _MARGIN) * scale
    flat = points.ravel().tolist()
    match shape:
        case "poly":
            draw.polygon(flat, fill=color)
        case "blob":
            draw.polygon(_smooth(points).ravel().tolist(), fill=color)
        case "ell":
            draw.ellipse(flat, fill=color)
        case "rect":
            draw.rectangle(flat, fill=color)
        case "round":
            draw.rounded_rectangle(flat, radius=extent * float(scale.min()), fill=color)
        case "ring":
            draw.ellipse(flat, outline=color, width=max(1, round(extent * float(scale.min()))))
        case "line":
            width = max(1, round(extent * float(scale.mean())))
            draw.line(flat, fill=color, width=width, joint="curve")
            for x, y in (points[0], points[-1]):  # round ends
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
