"""A picture that proves that a model sees: large random glyphs which nobody can know who has not seen them."""

from __future__ import annotations

import secrets

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from drawthings_mcp.errors import InvalidInputError

ALPHABET = "ACEFHJKMNPRTWXY3479"
"""Without what is mistaken for one another: 0 O Q D, 1 I L, 2 Z, 5 S, 8 B, 6 G, U V."""
LENGTH = 4
"""130,000 codes: enough that nobody guesses one."""

_CELL = 160
_MARGIN = 32
_GLYPH = 150
_TILT = 9.0
"""Degrees; upright enough to be read at any size."""
_SHIFT = 10
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
    random = np.random.default_rng(list(code.encode()))
    picture = Image.new("RGB", (2 * _MARGIN + _CELL * len(code), 2 * _MARGIN + _CELL), _PAPER)
    for index, glyph in enumerate(code):
        tile = _draw_glyph(glyph).rotate(random.uniform(-_TILT, _TILT), Image.Resampling.BICUBIC)
        x, y = random.integers(-_SHIFT, _SHIFT, 2, endpoint=True)
        picture.paste(_INKS[index % len(_INKS)], (_MARGIN + index * _CELL + int(x), _MARGIN + int(y)), tile)
    return picture


def check_answer(code: str, answer: str) -> bool:
    """Whether an answer repeats a code; case, spaces, dashes and other signs do not matter."""
    given = "".join(sign for sign in answer.upper() if sign.isalnum())
    return bool(code) and secrets.compare_digest(code.encode(), given.encode())


def _draw_glyph(glyph: str) -> Image.Image:
    tile = Image.new("L", (_CELL, _CELL))
    ImageDraw.Draw(tile).text((_CELL / 2, _CELL / 2), glyph, 255, ImageFont.load_default(_GLYPH), anchor="mm")
    return tile
