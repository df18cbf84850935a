"""A picture that proves that a model sees: large random glyphs which nobody can know who has not seen them."""

from __future__ import annotations

import secrets
from random import Random

from PIL import Image, ImageDraw, ImageFont

from drawthings_mcp.errors import InvalidInputError

ALPHABET = "ACEFHJKMNPRTWXY3479"
"""Without what is mistaken for one another: 0 O Q D, 1 I L, 2 Z, 5 S, 8 B, 6 G, U V."""
LENGTH = 4
"""130,000 codes: enough that nobody guesses one."""

_CELL = 160
"""The width for each glyph; the widest, W, takes 141 of it when it is tilted."""
_MARGIN = 32
_GLYPH = 150
_TILT = 9
"""Degrees; upright enough to be read at any size."""
_SHIFT = 10
"""Pixels up or down."""
_PAPER = (250, 248, 240)
_INKS = ((20, 40, 120), (130, 20, 40), (10, 90, 60), (90, 40, 110))


def new_code() -> str:
    """A code that nobody can foresee."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def draw_code(code: str) -> Image.Image:
    """The picture of a code: RGB, 704×224, the same every time.

    Raises
    ------
    InvalidInputError
        The code has other letters than those of ``ALPHABET``, or none.
    """
    if not code or set(code) - set(ALPHABET):
        raise InvalidInputError(f"A code is made of {ALPHABET}, got {code!r}.")
    picture = Image.new("RGB", _get_size(code), _PAPER)
    for index, (tile, place) in enumerate(_lay_out(code)):
        picture.paste(_INKS[index % len(_INKS)], place, tile)
    return picture


def check_answer(code: str, answer: str) -> bool:
    """Whether an answer repeats a code; case, spaces, dashes and other signs do not matter."""
    given = "".join(sign for sign in answer.upper() if sign.isalnum())
    return bool(code) and secrets.compare_digest(code.encode(), given.encode())


def _get_size(code: str) -> tuple[int, int]:
    return 2 * _MARGIN + _CELL * len(code), 2 * _MARGIN + _CELL


def _lay_out(code: str) -> list[tuple[Image.Image, tuple[int, int]]]:
    """The tilted glyphs of a code and their left upper corners; between them, and to the edges, are equal gaps."""
    dice = Random(code)
    tiles = [_draw_glyph(glyph, dice.randint(-_TILT, _TILT)) for glyph in code]
    width, height = _get_size(code)
    gap = (width - sum(tile.width for tile in tiles)) // (len(tiles) + 1)
    placed, x = [], gap
    for tile in tiles:
        placed.append((tile, (x, (height - tile.height) // 2 + dice.randint(-_SHIFT, _SHIFT))))
        x += tile.width + gap
    return placed


def _draw_glyph(glyph: str, degrees: int) -> Image.Image:
    """The ink of a tilted glyph, without paper around it; ``L``."""
    tile = Image.new("L", (_CELL, _CELL))
    ImageDraw.Draw(tile).text((_CELL / 2, _CELL / 2), glyph, 255, ImageFont.load_default(_GLYPH), anchor="mm")
    turned = tile.rotate(degrees, Image.Resampling.BICUBIC)
    return turned.crop(turned.getbbox())
