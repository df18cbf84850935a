"""One painting: landscape, subjects and the words below them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from drawthings_mcp.simulator.painting.lettering import break_lines, draw_spaced, fit_size, keep_drawable, load_font
from drawthings_mcp.simulator.painting.oklab import Pixels
from drawthings_mcp.simulator.painting.palette import Palette, Wanted, choose_palette, read_prompt
from drawthings_mcp.simulator.painting.scenery import add_grain, paint_landscape
from drawthings_mcp.simulator.painting.subjects import paint_figures

_MAX_AREA = 1_600_000
"""In pixels; larger pictures are painted at this area and enlarged, to stay quick."""
_TITLE_SPACING = 0.16
_READABLE = 9
"""Smallest size in pixels at which type can be read; what does not fit at this size is left out."""
_CAPTION_CHARACTERS = 300
_SMALLEST_WITH_FOOTER = 384
_SMALLEST_WITH_CAPTION = 192
"""The shorter side in pixels that a picture needs to show its settings, and its prompt."""


@dataclass(frozen=True)
class Scene:
    """What to paint: the words, the randomness, and the size in pixels.

    ``variation`` tells pictures of a batch apart that share a seed; ``footer`` is the small line with the settings.
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
    """A painting in layers of one size: ``(H, W, 3)`` landscape, ``(H, W, 4)`` figures and lettering.

    ``is_night`` says that the prompt asks for night, in which a canvas has to be dark as well.
    """

    landscape: Pixels
    figures: Pixels
    lettering: Pixels
    is_night: bool = False

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
    figures = paint_figures(stage, wanted.subjects, palette, rng)
    size = (scene.width, scene.height)
    landscape = _enlarge(stage.picture, size)
    return Painting(
        landscape=add_grain(landscape, 1.2 + 3.6 / np.sqrt(max(1, scene.steps)), rng),
        figures=_enlarge(figures, size),
        lettering=np.asarray(_letter(scene, wanted, palette)),
        is_night="night" in wanted.moods,
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
    footer, caption = keep_drawable(scene.footer), keep_drawable(scene.prompt[:_CAPTION_CHARACTERS])
    if footer and side >= _SMALLEST_WITH_FOOTER:
        size = max(_READABLE, round(side * 0.0165))
        line = break_lines(footer, size, room, 1)[0]
        draw.text((margin, bottom), line, font=load_font(size), fill=(*palette.ink, 190), anchor="ls")
        bottom -= size * 1.9
    if caption and side >= _SMALLEST_WITH_CAPTION:
        size = max(_READABLE, round(side * 0.0265))
        for line in reversed(break_lines(caption, size, room, 2)):
            draw.text((margin, bottom), line, font=load_font(size), fill=(*palette.ink, 235), anchor="ls")
            bottom -= size * 1.35
        bottom -= size * 0.45
    title = " · ".join(wanted.title).upper()
    title_size = fit_size(title, max(_READABLE, round(side * 0.058)), room, _READABLE, _TITLE_SPACING)
    if title and title_size:
        draw_spaced(draw, (margin, bottom), title, title_size, palette.ink, spacing=_TITLE_SPACING)
    return layer
