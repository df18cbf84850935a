"""The upper half of a picture: sky, sun or moon with its glow, stars and clouds."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from drawthings_mcp.simulator.painting.palette import RGB, Palette

_GLOW_SIDE = 160
"""A glow is computed this small, because it is smooth."""
_STAR_COUNT = 130
_STAR_DEPTH = 0.6
"""Share of the height in which stars stand."""
_SKY_STOPS = (0.0, 0.32, 0.66)


def paint_sky(
    width: int, height: int, palette: Palette, moods: frozenset[str], rng: np.random.Generator
) -> Image.Image:
    """The sky over the whole picture; what lies below the horizon is painted over later."""
    picture = build_gradient(width, height, palette.sky, _SKY_STOPS)
    _paint_light(picture, palette, moods, rng)
    _paint_clouds(picture, palette, moods, rng)
    return picture


def build_gradient(width: int, height: int, colors: tuple[RGB, ...], stops: tuple[float, ...]) -> Image.Image:
    """Colours from top to bottom; ``stops`` are their heights, 0 to 1."""
    rows = np.linspace(0, 1, height)
    column = np.stack([np.interp(rows, stops, [color[c] for color in colors]) for c in range(3)], axis=-1)
    return Image.fromarray(np.rint(column[:, None]).astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)


def _paint_light(picture: Image.Image, palette: Palette, moods: frozenset[str], rng: np.random.Generator) -> None:
    """Sun or moon with its glow, and stars in a dark sky."""
    width, height = picture.size
    side = min(width, height)
    x, y = width * rng.choice([0.27, 0.36, 0.64, 0.73]), height * float(rng.uniform(0.2, 0.36))
    radius = side * float(rng.uniform(0.065, 0.10)) * (1.35 if moods & {"moon", "sun"} else 1.0)
    if palette.is_dark:
        _paint_stars(picture, palette, rng)
    halo = _radial_mask(picture.size, x, y, side * 0.75, 0.5 if palette.is_dark else 0.75)
    picture.paste(palette.glow, mask=halo)
    disc = _disc_mask(picture.size, x, y, radius)
    if "moon" in moods and "crescent" not in moods and palette.is_dark:
        _paint_moon(picture, disc, x, y, radius, palette)
    else:
        picture.paste(palette.glow, mask=disc)


def _radial_mask(size: tuple[int, int], x: float, y: float, reach: float, peak: float) -> Image.Image:
    """A glow that fades with the distance, computed small because it is smooth."""
    columns = np.linspace(0, size[0], _GLOW_SIDE)[None, :]
    rows = np.linspace(0, size[1], _GLOW_SIDE)[:, None]
    fade = np.clip(1 - np.hypot(columns - x, rows - y) / reach, 0, 1) ** 2.2
    return Image.fromarray(np.rint(fade * peak * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def _disc_mask(size: tuple[int, int], x: float, y: float, radius: float) -> Image.Image:
    left, top = int(x - radius) - 2, int(y - radius) - 2
    span = int(2 * radius) + 5
    patch = Image.new("L", (span * 4, span * 4))
    cx, cy = (x - left) * 4, (y - top) * 4
    ImageDraw.Draw(patch).ellipse([cx - 4 * radius, cy - 4 * radius, cx + 4 * radius, cy + 4 * radius], fill=255)
    mask = Image.new("L", size)
    mask.paste(patch.reduce(4), (left, top))
    return mask


def _paint_moon(picture: Image.Image, disc: Image.Image, x: float, y: float, radius: float, palette: Palette) -> None:
    picture.paste(palette.light, mask=disc)
    for dx, dy, share in ((-0.35, -0.2, 0.24), (0.3, 0.25, 0.3), (0.15, -0.45, 0.15), (-0.25, 0.45, 0.18)):
        crater = _disc_mask(picture.size, x + dx * radius, y + dy * radius, share * radius)
        picture.paste(palette.mist, mask=crater.point(lambda level: level // 4))


def _paint_stars(picture: Image.Image, palette: Palette, rng: np.random.Generator) -> None:
    width, height = picture.size
    mask = Image.new("L", picture.size)
    draw = ImageDraw.Draw(mask)
    xs, ys = rng.uniform(0, width, _STAR_COUNT), rng.uniform(0, height * _STAR_DEPTH, _STAR_COUNT)
    sizes = rng.exponential(0.9, _STAR_COUNT) * min(width, height) / 900 + 0.35
    for x, y, size, level in zip(xs, ys, sizes, rng.integers(90, 255, _STAR_COUNT), strict=True):
        draw.ellipse([x - size, y - size, x + size, y + size], fill=int(level))
    picture.paste(palette.light, mask=mask)


def _paint_clouds(picture: Image.Image, palette: Palette, moods: frozenset[str], rng: np.random.Generator) -> None:
    """Long flat bands, more of them in bad weather."""
    width, height = picture.size
    mask = Image.new("L", (width // 2, height // 2))
    draw = ImageDraw.Draw(mask)
    for _ in range(9 if "rain" in moods else int(rng.integers(2, 5))):
        x, y = float(rng.uniform(-0.1, 0.9)) * width / 2, float(rng.uniform(0.08, 0.5)) * height / 2
        for _ in range(4):
            span, rise = float(rng.uniform(0.10, 0.24)) * width / 2, height * 0.011
            left, up = x + float(rng.uniform(-0.08, 0.12)) * width / 2, y + float(rng.uniform(-1.2, 1.2)) * rise
            draw.rounded_rectangle([left, up, left + span, up + rise], radius=rise / 2, fill=int(rng.integers(50, 110)))
    picture.paste(palette.light, mask=mask.resize(picture.size, Image.Resampling.BICUBIC))
