"""A picture → the few bytes by which it is compared with others. Needs no model.

The features are a perceptual hash, shares of colours, brightness, aspect and a tiny picture.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from drawthings_mcp.tensors.picture_files import name_file, open_file, open_picture
from drawthings_mcp.tensors.pixels import ImageLike, ensure_pixels

SIDE = 64
"""Pixels of the square that all is measured on."""
GRID = 4
"""Cells of the tiny picture along each side."""
_HASHED = 32
"""Pixels of the square whose frequencies are hashed."""
_FREQUENCIES = 8
"""Lowest frequencies along each side that make the 64 bits."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_ASPECT_UNIT = 32
"""Steps of the aspect per doubling of width over height."""
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
FEATURES_SIZE = 8 + len(COLOURS) + 2 + GRID * GRID * 3
_BACKGROUND = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class VisualFeatures:
    """How a picture looks.

    Pictures that differ in few of the 64 bits of ``hash`` show the same. ``colours`` has the share of each of
    ``COLOURS``, 0 to 255; ``brightness`` is the mean, 0 to 255; ``aspect`` 128 for a square, more for a landscape;
    ``grid`` the picture at the size of 4 x 4, ``(4, 4, 3)`` uint8.
    """

    hash: int
    colours: NDArray[np.uint8]
    brightness: int
    aspect: int
    grid: NDArray[np.uint8]

    def encode(self) -> bytes:
        """As it is kept: ``FEATURES_SIZE`` bytes."""
        head = self.hash.to_bytes(8, "little") + self.colours.tobytes() + bytes([self.brightness, self.aspect])
        return head + self.grid.tobytes()


def measure_features(square: NDArray[np.uint8], width: int, height: int) -> VisualFeatures:
    """How a picture of some width and height looks.

    ``square``, ``(64, 64, 3)`` uint8, sRGB, is the picture scaled without regard to its aspect.
    """
    light = square.astype(np.float32) @ _LUMA
    cell = SIDE // GRID
    grid = square.reshape(GRID, cell, GRID, cell, 3).mean(axis=(1, 3))
    aspect = 128 + _ASPECT_UNIT * np.log2(max(width, 1) / max(height, 1))
    return VisualFeatures(
        hash=_hash(light),
        colours=measure_colours(square),
        brightness=int(light.mean().clip(0, 255)),
        aspect=int(np.clip(aspect, 0, 255)),
        grid=np.rint(grid).astype(np.uint8),
    )


def decode_grid(data: bytes) -> NDArray[np.int16]:
    """The tiny picture of a kept look: ``(48,)``, 0 to 255."""
    return np.frombuffer(data, np.uint8)[-GRID * GRID * 3 :].astype(np.int16)


def _hash(light: NDArray[np.float32]) -> int:
    """Which of the lowest frequencies are stronger than their median (a perceptual hash by cosine transform)."""
    factor = SIDE // _HASHED
    small = light.reshape(_HASHED, factor, _HASHED, factor).mean(axis=(1, 3))
    waves = _make_waves()
    strengths = (waves @ small @ waves.T).ravel()
    # The first is the mean brightness, which says nothing of what is shown.
    bits = strengths > np.median(strengths[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@cache
def _make_waves() -> NDArray[np.float32]:
    """``(8, 32)``: the lowest rows of the cosine transform."""
    numbers, places = np.arange(_FREQUENCIES)[:, None], np.arange(_HASHED)[None, :]
    waves: NDArray[np.float32] = np.cos(np.pi * numbers * (2 * places + 1) / (2 * _HASHED)).astype(np.float32)
    return waves


def colour_words() -> Mapping[str, str]:
    """Every word for a colour, as typed, → the colour."""
    return {word: colour for colour, words in _WORDS.items() for word in words.split()}


def measure_colours(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The share of each of ``COLOURS`` in pixels ``(H, W, 3)`` uint8, sRGB; 255 stands for the whole picture."""
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


def measure_picture(picture: ImageLike) -> VisualFeatures:
    """How a picture looks; raises ``InvalidImageError`` when it cannot be read."""
    if isinstance(picture, str | os.PathLike):
        with open_file(picture) as file, open_picture(file, name_file(Path(picture))) as opened:
            return _measure(opened)
    if isinstance(picture, bytes | bytearray | memoryview):
        with open_picture(io.BytesIO(picture), "The image data") as opened:
            return _measure(opened)
    return _measure(Image.fromarray(ensure_pixels(picture)))


def _measure(picture: Image.Image) -> VisualFeatures:
    picture.draft("RGB", (2 * SIDE, 2 * SIDE))
    upright = ImageOps.exif_transpose(picture)
    square = _flatten(upright).resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    pixels: NDArray[np.uint8] = np.asarray(square)
    return measure_features(pixels, *upright.size)


def _flatten(picture: Image.Image) -> Image.Image:
    """On white, where it is transparent."""
    if picture.mode == "RGB":
        return picture
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    ground = Image.new("RGB", layer.size, _BACKGROUND)
    ground.paste(layer, mask=layer)
    return ground
