"""Outlines of land: where something begins per column, ``(W,)`` in pixels from the top."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Profile = NDArray[np.float32]


def roll_hills(
    width: int, height: int, crest: float, swing: float, roughness: float, rng: np.random.Generator
) -> Profile:
    """A sum of waves, each finer one weaker by ``roughness``."""
    x = np.linspace(0, 2 * np.pi * width / max(width, height), width)
    profile = np.zeros(width)
    for octave in range(6):
        frequency = (0.7 + float(rng.uniform(0, 0.5))) * 1.9**octave
        profile += roughness**octave * np.sin(frequency * x + float(rng.uniform(0, 2 * np.pi)))
    return ((crest + swing * profile / 1.6) * height).astype(np.float32)


def raise_peaks(width: int, height: int, crest: float, swing: float, rng: np.random.Generator) -> Profile:
    """Peaks: straight slopes between random points, with smaller ones on top."""
    x = np.linspace(0, 1, width)
    profile = np.zeros(width)
    for points, share in ((7, 1.0), (17, 0.34), (41, 0.13), (97, 0.05)):
        knots = np.sort(rng.uniform(0, 1, points))
        profile += share * np.interp(x, np.linspace(0, 1, points) + (knots - 0.5) * 0.05, rng.uniform(0, 1, points))
    return ((crest + 0.03 - swing * profile / 1.1) * height).astype(np.float32)


def build_skyline(width: int, height: int, crest: float, rng: np.random.Generator) -> Profile:
    """Roofs of houses of random widths and heights."""
    count = max(6, round(28 * width / max(width, height)))
    edges = np.sort(rng.uniform(0, width, count))
    heights = rng.uniform(0.03, 0.26, count + 1) * rng.choice([0.55, 1.0], count + 1)
    roofs: Profile = ((crest - heights[np.searchsorted(edges, np.arange(width))]) * height).astype(np.float32)
    return roofs
