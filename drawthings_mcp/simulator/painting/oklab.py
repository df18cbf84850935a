"""OKLab, a colour space in which mixing and lightening look even, and the types of colours and pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
RGB = tuple[int, int, int]

_LINEAR_TO_LMS = np.array([
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
])  # fmt: skip
_LMS_TO_LAB = np.array([
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
])  # fmt: skip
_LAB_TO_LMS = np.linalg.inv(_LMS_TO_LAB)
_LMS_TO_LINEAR = np.linalg.inv(_LINEAR_TO_LMS)


def srgb_to_oklab(colors: Floats) -> Floats:
    """Colours ``(..., 3)`` in sRGB 0 to 1 as OKLab: lightness 0 to 1, two opponent axes around 0."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((np.maximum(colors, 0) + 0.055) / 1.055) ** 2.4)
    lab: Floats = np.cbrt(linear @ _LINEAR_TO_LMS.T) @ _LMS_TO_LAB.T
    return lab


def oklab_to_srgb(lab: Floats) -> Floats:
    """The inverse of :func:`srgb_to_oklab`, clipped to 0 to 1."""
    linear = np.clip((lab @ _LAB_TO_LMS.T) ** 3 @ _LMS_TO_LINEAR.T, 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def oklch(lightness: float, chroma: float, hue: float) -> Floats:
    """One OKLab colour from lightness 0 to 1, chroma 0 to about 0.3 and hue in degrees."""
    angle = np.deg2rad(hue)
    return np.array([lightness, chroma * np.cos(angle), chroma * np.sin(angle)])


def to_oklch(lab: Floats) -> tuple[float, float, float]:
    """Lightness, chroma and hue in degrees of one OKLab colour ``(3,)``."""
    return float(lab[0]), float(np.hypot(lab[1], lab[2])), float(np.rad2deg(np.arctan2(lab[2], lab[1])) % 360)


def parse_hex(color: str) -> Floats:
    """A colour written ``#rrggbb`` as OKLab ``(3,)``."""
    return srgb_to_oklab(np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]))


def to_rgb(lab: Floats) -> RGB:
    """One OKLab colour ``(3,)`` as 8-bit sRGB."""
    red, green, blue = np.rint(oklab_to_srgb(lab) * 255).astype(int).tolist()
    return red, green, blue


def mix(first: Floats, second: Floats, share: float) -> Floats:
    """``share`` of the second colour, the rest of the first."""
    return first + (second - first) * share
