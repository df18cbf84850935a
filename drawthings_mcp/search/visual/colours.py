"""Pixels → how much there is of each colour that people have a word for. Pure.

Owns the colours, their borders and their words.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

COLOURS = ("black", "grey", "white", "red", "orange", "brown", "yellow", "green", "cyan", "blue", "purple", "pink")

_WORDS: Mapping[str, str] = {
    "black": "black schwarz noir negro nero чёрный 黒 黑",
    "grey": "grey gray grau gris grigio серый 灰 灰色",
    "white": "white weiß weiss blanc blanco bianco белый 白 白色",
    "red": "red rot rouge rojo rosso красный 赤 红 紅 红色 reddish crimson scarlet",
    "orange": "orange naranja arancione оранжевый 橙 橙色",
    "brown": "brown braun brun marron marrón marrone коричневый 茶色 棕 beige",
    "yellow": "yellow gelb jaune amarillo giallo жёлтый 黄 黃 黄色 golden gold",
    "green": "green grün gruen vert verde зелёный 緑 绿 绿色 greenish",
    "cyan": "cyan turquoise türkis teal celeste turchese бирюзовый 青緑",
    "blue": "blue blau bleu azul blu синий голубой 青 蓝 藍 蓝色 bluish navy",
    "purple": "purple violet lila violett morado viola фиолетовый 紫 紫色",
    "pink": "pink rosa rose розовый 粉 粉色",
}
"""Colour → its words in the languages in which pictures are asked for."""

_HUES = ((15.0, "red"), (45.0, "orange"), (70.0, "yellow"), (165.0, "green"), (195.0, "cyan"), (260.0, "blue"))
"""Upper borders in degrees; purple, pink and red again follow."""
_LATE_HUES = ((295.0, "purple"), (345.0, "pink"), (361.0, "red"))
_DARK, _LIGHT, _PALE = 0.16, 0.85, 0.14
"""Values below which all is black, above which what is pale is white, and saturation below which all is pale."""
_BROWN_VALUE = 0.65
"""Value below which orange is brown."""


def colour_words() -> Mapping[str, str]:
    """Every word for a colour, as typed, → the colour."""
    return {word: colour for colour, words in _WORDS.items() for word in words.split()}


def measure_colours(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The share of each colour.

    Parameters
    ----------
    pixels
        ``(H, W, 3)`` uint8, sRGB.

    Returns
    -------
    NDArray[np.uint8]
        One number for each of ``COLOURS``; 255 stands for the whole picture.
    """
    names = _name_pixels(pixels.reshape(-1, 3).astype(np.float32) / np.float32(255))
    shares = np.bincount(names, minlength=len(COLOURS)) / names.size
    return np.rint(shares * 255).astype(np.uint8)


def _name_pixels(rgb: NDArray[np.float32]) -> NDArray[np.intp]:
    """The number of each pixel's colour."""
    value, low = rgb.max(axis=1), rgb.min(axis=1)
    spread = value - low
    saturation = spread / np.maximum(value, 1e-6)
    hue = _measure_hue(rgb, value, np.maximum(spread, 1e-6))
    borders = np.array([border for border, _ in (*_HUES, *_LATE_HUES)])
    numbers = np.array([COLOURS.index(name) for _, name in (*_HUES, *_LATE_HUES)])
    names: NDArray[np.intp] = numbers[np.searchsorted(borders, hue, side="right").clip(max=len(numbers) - 1)]
    names[(names == COLOURS.index("orange")) & (value < _BROWN_VALUE)] = COLOURS.index("brown")
    pale = saturation < _PALE
    names[pale] = COLOURS.index("grey")
    names[pale & (value > _LIGHT)] = COLOURS.index("white")
    names[value < _DARK] = COLOURS.index("black")
    return names


def _measure_hue(
    rgb: NDArray[np.float32], value: NDArray[np.float32], spread: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Degrees, 0 to 360: red, yellow, green, cyan, blue, magenta."""
    red, green, blue = rgb[:, 0], rgb[:, 1], rgb[:, 2]
    sector = np.where(
        value == red,
        (green - blue) / spread % 6,
        np.where(value == green, (blue - red) / spread + 2, (red - green) / spread + 4),
    )
    degrees: NDArray[np.float32] = (sector * 60).astype(np.float32)
    return degrees
