"""One painting: landscape, subjects and the words below them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from drawthings_mcp.simulator.painting.lettering import break_lines, draw_spaced, fit_size, keep_drawable, load_font
from drawthings_mcp.simulator.painting.oklab import RGB
from drawthings_mcp.simulator.painting.palette import Palette, choose_palette
from drawthings_mcp.simulator.painting.scenery import add_grain, paint_ground, paint_landscape
from drawthings_mcp.simulator.painting.subjects import paint_figures
from drawthings_mcp.simulator.painting.words import Wanted, read_prompt

Pixels = NDArray[np.uint8]

_MAX_AREA = 1_600_000
"""Pixels that are painted one by one; larger pictures are painted smaller and enlarged, to stay quick."""
_TITLE_SPACING = 0.16
_READABLE = 9
"""Below this size in pixels type is left out rather than smudged."""
_CAPTION_CHARACTERS = 300


@dataclass(frozen=True)
class Scene:
    """What to paint: the words, the dice, and the size in pixels.

    ``variation`` tells the pictures of a batch apart that share one seed; ``footer`` is the small line at the
    bottom that names the settings.
    """

    prompt: str
    negative_prompt: str
    seed: int
    variation: int
    width: int
    height: int
    guidance: float
    steps: int
    footer: str


@dataclass(frozen=True)
class Painting:
    """A painting in layers of one size: ``(H, W, 3)`` landscape, ``(H, W, 4)`` figures and lettering."""

    landscape: Pixels
    figures: Pixels
    lettering: Pixels

    def flatten(self) -> Pixels:
        """All layers as one picture ``(H, W, 3)``."""
        return lay_over(lay_over(self.landscape, self.figures), self.lettering)


def lay_over(below: Pixels, above: Pixels) -> Pixels:
    """A transparent layer ``(H, W, 4)`` over an opaque picture ``(H, W, 3)``."""
    picture = Image.fromarray(below)
    layer = Image.fromarray(above)
    picture.paste(layer.convert("RGB"), mask=layer.getchannel("A"))
    return np.asarray(picture)


def paint(scene: Scene) -> Painting:
    """Paint a scene; the same scene always gives the same pixels."""
    wanted = read_prompt(scene.prompt, scene.negative_prompt)
    rng = np.random.default_rng([scene.seed, scene.variation, zlib.crc32(scene.prompt.encode())])
    palette = choose_palette(wanted, rng, guidance=scene.guidance)
    width, height = _limit_size(scene.width, scene.height)
    stage = paint_landscape(width, height, palette, wanted.moods, rng)
    paint_ground(stage, palette, wanted.moods, rng)
    figures = paint_figures(stage, wanted.subjects, palette, rng)
    size = (scene.width, scene.height)
    landscape = _enlarge(stage.picture, size)
    return Painting(
        landscape=add_grain(landscape, 1.2 + 3.6 / np.sqrt(max(1, scene.steps)), rng),
        figures=_enlarge(figures, size),
        lettering=np.asarray(_letter(scene, wanted, palette)),
    )


def _limit_size(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, (_MAX_AREA / (width * height)) ** 0.5)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _enlarge(picture: Image.Image, size: tuple[int, int]) -> Pixels:
    return np.asarray(picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC))


def _letter(scene: Scene, wanted: Wanted, palette: Palette) -> Image.Image:
    """Title, prompt and settings at the lower left, on the nearest ridge."""
    layer = Image.new("RGBA", (scene.width, scene.height), (*palette.ink, 0))
    draw = ImageDraw.Draw(layer)
    side = min(scene.width, scene.height)
    margin = side * 0.055
    room = scene.width - 2 * margin
    bottom = scene.height - margin * 0.8
    bottom = _draw_footer(draw, keep_drawable(scene.footer), margin, bottom, room, side, palette.ink)
    caption = keep_drawable(scene.prompt[:_CAPTION_CHARACTERS])
    bottom = _draw_caption(draw, caption, margin, bottom, room, side, palette.ink)
    _draw_title(draw, " · ".join(wanted.title).upper(), margin, bottom, room, side, palette.ink)
    return layer


def _draw_footer(
    draw: ImageDraw.ImageDraw, text: str, left: float, bottom: float, room: float, side: int, ink: RGB
) -> float:
    size = max(_READABLE, round(side * 0.0165))
    if not text or side < 384:
        return bottom
    line = break_lines(text, size, room, 1)[0]
    draw.text((left, bottom), line, font=load_font(size), fill=(*ink, 190), anchor="ls")
    return bottom - size * 1.9


def _draw_caption(
    draw: ImageDraw.ImageDraw, text: str, left: float, bottom: float, room: float, side: int, ink: RGB
) -> float:
    size = max(_READABLE, round(side * 0.0265))
    if not text or side < 192:
        return bottom
    lines = break_lines(text, size, room, 2)
    for line in reversed(lines):
        draw.text((left, bottom), line, font=load_font(size), fill=(*ink, 235), anchor="ls")
        bottom -= size * 1.35
    return bottom - size * 0.45


def _draw_title(
    draw: ImageDraw.ImageDraw, text: str, left: float, bottom: float, room: float, side: int, ink: RGB
) -> None:
    size = fit_size(text, max(_READABLE, round(side * 0.058)), room, _READABLE, _TITLE_SPACING) if text else None
    if size:
        draw_spaced(draw, (left, bottom), text, size, ink, spacing=_TITLE_SPACING)
