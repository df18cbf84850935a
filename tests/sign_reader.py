"""Reads the picture of a vision check as somebody does who knows letters, and knows nothing of where they are put."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drawthings_mcp.attachments.vision_check import ALPHABET, _draw_glyph


def read_signs(picture: Image.Image) -> str:
    """The signs from left to right: each run of dark columns is one, and is the letter that covers it best."""
    dark = np.asarray(picture.convert("L")) < 150
    edges = np.flatnonzero(np.diff(dark.any(axis=0), prepend=False, append=False))
    signs = [_normalise(dark[:, left:right]) for left, right in list(pairwise(edges))[::2]]
    return "".join(max(ALPHABET, key=lambda letter: (sign == _list_turns(letter)).mean((1, 2)).max()) for sign in signs)


@cache
def _list_turns(letter: str) -> NDArray[np.bool_]:
    """A letter, tilted by up to nine degrees: ``(turns, 48, 48)``."""
    return np.stack([_normalise(np.asarray(_draw_glyph(letter, angle)) > 128) for angle in range(-9, 10, 3)])


def _normalise(ink: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The ink of one sign, cut out and brought to 48×48."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    cut = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return np.asarray(cut.convert("L").resize((48, 48))) > 128
