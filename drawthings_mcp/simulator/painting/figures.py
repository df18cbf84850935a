"""The subjects of a picture: where they stand, how large, in which colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from drawthings_mcp.simulator.painting.oklab import Floats, mix, oklch, parse_hex, srgb_to_oklab, to_oklch
from drawthings_mcp.simulator.painting.palette import RGB, Palette
from drawthings_mcp.simulator.painting.scenery import Stage
from drawthings_mcp.simulator.painting.silhouettes import Silhouette, draw_silhouette, list_silhouettes, margin_of

_PLACES = {1: (0.5,), 2: (0.32, 0.70), 3: (0.20, 0.51, 0.80)}
_HEIGHTS = {"ground": 0.44, "water": 0.30, "sky": 0.25}
_MAX_WIDTH = {1: 0.58, 2: 0.40, 3: 0.29}
_LEAST_CONTRAST = 0.16


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
    """The colour that was asked for, moved in lightness until it stands out from what is behind."""
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
    """A figure cut to the layer, since compositing refuses negative places."""
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
