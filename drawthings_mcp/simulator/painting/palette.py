"""The colours of one picture, from the colour words of its prompt or from a scheme that the seed picks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drawthings_mcp.simulator.painting.oklab import RGB, Floats, mix, oklch, parse_hex, to_oklch, to_rgb
from drawthings_mcp.simulator.painting.words import Wanted, vocabulary

_DARK_MOODS = frozenset({"night", "stars"})
_PAPER = parse_hex("#fbf6ea")
_INK = parse_hex("#14161c")


@dataclass(frozen=True)
class Palette:
    """Colours of one picture as 8-bit sRGB; ``ridges`` run from the farthest to the nearest."""

    sky: tuple[RGB, RGB, RGB]
    glow: RGB
    mist: RGB
    ridges: tuple[RGB, ...]
    subject: RGB
    light: RGB
    ink: RGB
    is_dark: bool


def choose_palette(wanted: Wanted, rng: np.random.Generator, *, guidance: float, ridge_count: int = 5) -> Palette:
    """Colours for a picture.

    Colour words come first, then what the moods suggest, then a scheme drawn from ``rng``. A higher guidance
    makes the colours a little stronger, as with a real model.
    """
    schemes: list[list[str]] = vocabulary()["schemes"]
    scheme = schemes[int(rng.integers(len(schemes)))]
    names = wanted.colors or wanted.tints[:2] or tuple(scheme)
    strength = 0.88 + 0.03 * min(max(guidance, 0.0), 8.0)
    first, second = (_strengthen(parse_hex(name), strength) for name in (names[0], names[min(1, len(names) - 1)]))
    near = _strengthen(parse_hex(names[min(2, len(names) - 1)]), strength)
    if len(names) == 1:
        second = _turn(first, float(rng.uniform(-18, 18)))
    return _compose(first, second, near, is_dark=bool(wanted.moods & _DARK_MOODS), ridge_count=ridge_count)


def _compose(first: Floats, second: Floats, near: Floats, *, is_dark: bool, ridge_count: int) -> Palette:
    key = float(np.clip((min(first[0], second[0]) - 0.12) / 0.5, 0.0, 1.0)) * (0.12 if is_dark else 1.0)
    horizon = _at(second, _lerp(0.46 if is_dark else 0.34, 0.91, key) + 0.05 * _paleness(second), 0.55)
    top = _at(first, 0.17 + 0.52 * key + 0.24 * _paleness(first), 0.95)
    ground = _at(near, _lerp(0.09, 0.3, key) + 0.42 * _paleness(near), 0.85)
    far = mix(horizon, _at(second, 0.30 + 0.34 * key + 0.16 * _paleness(second), 0.95), 0.55)
    ridges = tuple(to_rgb(mix(far, ground, i / (ridge_count - 1))) for i in range(ridge_count))
    light = _at(second, 0.97, 0.18)
    return Palette(
        sky=(to_rgb(top), to_rgb(mix(top, horizon, 0.55)), to_rgb(horizon)),
        glow=to_rgb(_at(second, 0.965, 0.3)),
        mist=to_rgb(mix(horizon, light, 0.35)),
        ridges=ridges,
        subject=to_rgb(_turn(_at(first, 0.62 if is_dark else 0.42, 1.1), 10)),
        light=to_rgb(light),
        ink=to_rgb(_PAPER if ground[0] < 0.6 else _INK),
        is_dark=is_dark,
    )


def _lerp(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def _strengthen(color: Floats, factor: float) -> Floats:
    stronger: Floats = color * np.array([1.0, factor, factor])
    return stronger


def _at(color: Floats, lightness: float, chroma_factor: float) -> Floats:
    """The same hue at another lightness; chroma shrinks near white and black, where screens have none."""
    _, chroma, hue = to_oklch(color)
    room = 1.0 - abs(2.0 * lightness - 1.0) ** 3
    return oklch(lightness, min(chroma * chroma_factor, 0.04 + 0.22 * room), hue)


def _turn(color: Floats, degrees: float) -> Floats:
    lightness, chroma, hue = to_oklch(color)
    return oklch(lightness, chroma, hue + degrees)


def _paleness(color: Floats) -> float:
    """1 for white and near-white greys, 0 for anything coloured or darker."""
    lightness, chroma, _ = to_oklch(color)
    return float(np.clip((lightness - 0.8) / 0.15, 0, 1) * np.clip(1 - chroma / 0.06, 0, 1))
