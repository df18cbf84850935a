"""The landscape behind the subjects: sky with sun, moon, stars and clouds; ridges, water and weather.

A profile is the outline of land: where it begins per column, ``(W,)`` in pixels from the top. Everything is drawn with
masks over the whole width at once; nothing loops over pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from drawthings_mcp.simulator.painting.oklab import RGB
from drawthings_mcp.simulator.painting.palette import Palette

Profile = NDArray[np.float32]

_HORIZON = 0.60
"""Where the farthest land begins, as a fraction of the height."""
_NEAR_CREST = 0.79
"""Where the nearest ridge begins; the lettering stands below it."""
_CITY_RIDGES = (1, 2)
_WINDOW: RGB = (255, 222, 150)
_GLOW_SIDE = 160
"""Side in pixels at which a glow is computed: it is smooth, so it can be enlarged."""
_STAR_COUNT = 130
_STAR_DEPTH = 0.6
"""Fraction of the height in which stars stand."""
_SKY_STOPS = (0.0, 0.32, 0.66)


@dataclass(frozen=True)
class Stage:
    """A landscape, and where subjects can stand in it.

    ``near`` is the profile of the nearest ridge, ``waterline`` where water begins in pixels from the top, or None.
    """

    picture: Image.Image
    near: Profile
    waterline: int | None


def paint_landscape(
    width: int, height: int, palette: Palette, moods: frozenset[str], rng: np.random.Generator
) -> Stage:
    """Paint sky, ridges, water and weather, from the farthest to the nearest."""
    picture = _paint_sky(width, height, palette, moods, rng)
    crests = np.linspace(_HORIZON, _NEAR_CREST, len(palette.ridges))
    waterline = round(height * (_HORIZON + 0.06)) if "sea" in moods else None
    for index, color in enumerate(palette.ridges[:-1]):
        if waterline and crests[index] * height > waterline:
            break
        ridge = _shape_ridge(width, height, crests[index], index, moods, rng)
        _paint_ridge(picture, ridge, color, palette.mist)
        if "city" in moods and index in _CITY_RIDGES:
            _paint_windows(picture, ridge, crests[index], rng)
        if "forest" in moods and index == 1:
            line = np.full(width, (crests[index] + 0.09) * height, np.float32)
            _paint_pines(picture, line, _blend(color, (0, 0, 0), 0.12), rng, count=44, share=0.1)
    if waterline:
        picture = _reflect(picture, waterline, palette, rng)
    near = _roll_hills(width, height, _NEAR_CREST, 0.022, 0.25, rng)
    if "forest" in moods:
        _paint_pines(picture, near, palette.ridges[-2], rng, count=26, share=0.13)
    _paint_ridge(picture, near, palette.ridges[-1], palette.ridges[-1])
    if "snow" in moods or "rain" in moods:
        _paint_weather(picture, palette, moods, rng)
    return Stage(picture, near, waterline)


def add_grain(pixels: NDArray[np.uint8], amount: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add film grain of standard deviation ``amount`` to ``(H, W, 3)`` pixels; also hides banding in the sky."""
    height, width = pixels.shape[:2]
    tile = np.rint(rng.normal(0, amount, (256, 256, 1))).astype(np.int16)
    noise = np.tile(tile, (height // 256 + 1, width // 256 + 1, 1))[:height, :width]
    grainy: NDArray[np.uint8] = np.clip(pixels.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    return grainy


def _shape_ridge(
    width: int, height: int, crest: float, index: int, moods: frozenset[str], rng: np.random.Generator
) -> Profile:
    """The profile of a ridge; what it is made of depends on the moods."""
    if "city" in moods and index in _CITY_RIDGES:
        return _build_skyline(width, height, crest, rng)
    if "mountain" in moods and index < 3:
        return _raise_peaks(width, height, crest, 0.20 - 0.05 * index, rng)
    roughness = 0.2 if "desert" in moods or "meadow" in moods else 0.62
    return _roll_hills(width, height, crest, 0.055, roughness, rng)


def _paint_ridge(picture: Image.Image, profile: Profile, color: RGB, mist: RGB) -> None:
    """A ridge that dissolves into mist towards its foot."""
    width, height = picture.size
    top = float(profile.min()) / height
    fill = _build_gradient(width, height, (color, color, _blend(color, mist, 0.45)), (0.0, top, min(1.0, top + 0.3)))
    rows = np.arange(height, dtype=np.float32)[:, None]
    # Everything under the profile, with a smooth edge.
    below = (np.clip(rows - profile[None] + 0.5, 0, 1) * 255).astype(np.uint8)
    picture.paste(fill, mask=Image.fromarray(below))


def _blend(first: RGB, second: RGB, share: float) -> RGB:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _paint_windows(picture: Image.Image, skyline: Profile, crest: float, rng: np.random.Generator) -> None:
    """Lit windows on a grid, only where a building stands."""
    width, height = picture.size
    pitch = max(4, round(min(width, height) * 0.0125))
    mask = Image.new("L", picture.size)
    draw = ImageDraw.Draw(mask)
    columns, rows = np.arange(pitch, width - pitch, pitch), np.arange(0, int(crest * height), round(pitch * 1.4))
    lit = rng.random((len(rows), len(columns))) < 0.3
    inside = rows[:, None] > np.maximum(skyline[columns - pitch // 2], skyline[columns + pitch // 2]) + pitch * 0.7
    for row, column in zip(*np.nonzero(lit & inside), strict=True):
        x, y = int(columns[column]), int(rows[row])
        draw.rectangle([x, y, x + pitch // 3, y + pitch // 2], fill=170)
    picture.paste(_WINDOW, mask=mask)


def _paint_pines(
    picture: Image.Image, line: Profile, color: RGB, rng: np.random.Generator, *, count: int, share: float
) -> None:
    width, height = picture.size
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    for x in rng.uniform(0, width, count):
        foot = float(line[min(width - 1, int(x))]) + height * 0.015
        tall = height * share * float(rng.uniform(0.55, 1.15))
        for level in range(3):
            top, base = foot - tall * (1 - 0.22 * level), foot - tall * (0.52 - 0.26 * level)
            half = tall * (0.13 + 0.06 * level)
            draw.polygon([x, top, x + half, base, x - half, base], fill=255)
        draw.rectangle([x - tall * 0.02, foot - tall * 0.1, x + tall * 0.02, foot + tall * 0.05], fill=255)
    picture.paste(color, mask=mask)


def _reflect(picture: Image.Image, waterline: int, palette: Palette, rng: np.random.Generator) -> Image.Image:
    """Water that mirrors what is above it, stretched, rippled and tinted."""
    pixels = np.asarray(picture).copy()
    height, width = pixels.shape[:2]
    depth = np.arange(height - waterline)
    source = np.clip(waterline - 1 - (depth * 1.25).astype(int), 0, waterline - 1)
    ripple = np.sin(depth**0.8 * 0.55 + float(rng.uniform(0, 6))) * (1 + depth * 0.035)
    columns = np.clip(np.arange(width)[None] + np.rint(ripple)[:, None].astype(int), 0, width - 1)
    mirrored = pixels[source[:, None], columns].astype(np.float32)
    share = (0.30 + 0.35 * depth / max(1, len(depth)))[:, None, None]
    tint = np.array(_blend(palette.sky[0], palette.ridges[2], 0.5), np.float32)
    pixels[waterline:] = (mirrored + (tint - mirrored) * share).astype(np.uint8)
    water = Image.fromarray(pixels)
    _paint_glints(water, waterline, palette, rng)
    return water


def _paint_glints(picture: Image.Image, waterline: int, palette: Palette, rng: np.random.Generator) -> None:
    width, height = picture.size
    mask = Image.new("L", picture.size)
    draw = ImageDraw.Draw(mask)
    for share in rng.uniform(0, 1, 46) ** 1.6:
        y = waterline + 2 + share * (height - waterline)
        span = width * (0.01 + 0.07 * share) * float(rng.uniform(0.4, 1.2))
        x = float(rng.uniform(0, width))
        draw.line([x, y, x + span, y], fill=int(rng.integers(40, 120)), width=max(1, round(height * 0.0022)))
    picture.paste(palette.light, mask=mask)


def _paint_weather(picture: Image.Image, palette: Palette, moods: frozenset[str], rng: np.random.Generator) -> None:
    """Snowflakes or slanted rain, above the ground that carries the lettering."""
    width, height = picture.size
    mask = Image.new("L", picture.size)
    draw = ImageDraw.Draw(mask)
    unit = min(width, height) / 1000
    count = 260
    for x, y, size in zip(
        rng.uniform(0, width, count),
        rng.uniform(0, height * _NEAR_CREST, count),
        rng.exponential(1.6, count) + 0.8,
        strict=True,
    ):
        if "snow" in moods:
            radius = size * unit * 1.5
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=int(rng.integers(110, 230)))
        else:
            long = size * unit * 14
            draw.line(
                [x, y, x - long * 0.3, y + long], fill=int(rng.integers(40, 120)), width=max(1, round(unit * 1.6))
            )
    picture.paste(palette.light, mask=mask.filter(ImageFilter.GaussianBlur(0.6)))


def _roll_hills(
    width: int, height: int, crest: float, swing: float, roughness: float, rng: np.random.Generator
) -> Profile:
    """A sum of waves, each finer one weaker by ``roughness``."""
    x = np.linspace(0, 2 * np.pi * width / max(width, height), width)
    profile = np.zeros(width)
    for octave in range(6):
        frequency = (0.7 + float(rng.uniform(0, 0.5))) * 1.9**octave
        profile += roughness**octave * np.sin(frequency * x + float(rng.uniform(0, 2 * np.pi)))
    return ((crest + swing * profile / 1.6) * height).astype(np.float32)


def _raise_peaks(width: int, height: int, crest: float, swing: float, rng: np.random.Generator) -> Profile:
    """Peaks: straight slopes between random points, with smaller ones on top."""
    x = np.linspace(0, 1, width)
    profile = np.zeros(width)
    for points, share in ((7, 1.0), (17, 0.34), (41, 0.13), (97, 0.05)):
        knots = np.sort(rng.uniform(0, 1, points))
        profile += share * np.interp(x, np.linspace(0, 1, points) + (knots - 0.5) * 0.05, rng.uniform(0, 1, points))
    return ((crest + 0.03 - swing * profile / 1.1) * height).astype(np.float32)


def _build_skyline(width: int, height: int, crest: float, rng: np.random.Generator) -> Profile:
    """Roofs of houses of random widths and heights."""
    count = max(6, round(28 * width / max(width, height)))
    edges = np.sort(rng.uniform(0, width, count))
    heights = rng.uniform(0.03, 0.26, count + 1) * rng.choice([0.55, 1.0], count + 1)
    roofs: Profile = ((crest - heights[np.searchsorted(edges, np.arange(width))]) * height).astype(np.float32)
    return roofs


def _paint_sky(
    width: int, height: int, palette: Palette, moods: frozenset[str], rng: np.random.Generator
) -> Image.Image:
    """The sky over the whole picture; what lies below the horizon is painted over later."""
    picture = _build_gradient(width, height, palette.sky, _SKY_STOPS)
    _paint_light(picture, palette, moods, rng)
    _paint_clouds(picture, palette, moods, rng)
    return picture


def _build_gradient(width: int, height: int, colors: tuple[RGB, ...], stops: tuple[float, ...]) -> Image.Image:
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
    """A glow that fades with the distance."""
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
