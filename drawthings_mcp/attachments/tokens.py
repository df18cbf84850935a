"""How many tokens a picture costs a vision model; the rules of vendors are data (``configs/picture_tokens.json``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from drawthings_mcp.attachments.grid import fit_size
from drawthings_mcp.packaged import read_packaged


@dataclass(frozen=True, slots=True)
class Counting:
    """One vendor's rule; lengths in pixels, 0 for what it does not have.

    Attributes
    ----------
    pixels
        So many are a token.
    side
        Of the squares that a picture is cut into; those begun count as whole ones.
    per_square
        Tokens of each square.
    base
        Tokens of every picture on top.
    max_edge, max_short
        Longest and shortest side that a picture is scaled down to first.
    max_squares, max_tokens
        What is above costs nothing.
    small_edge
        Longest side of a picture that is one square.
    share
        The side of the squares is the shorter side of the picture divided by this, at most ``side``.
    """

    pixels: int = 0
    side: int = 0
    per_square: float = 1.0
    base: int = 0
    max_edge: int = 0
    max_short: int = 0
    max_squares: int = 0
    max_tokens: int = 0
    small_edge: int = 0
    share: float = 0.0

    def count(self, size: tuple[int, int]) -> int:
        """About how many tokens a picture of a width and height costs."""
        width, height = self._scale(size)
        tokens = self.base + self.per_square * self._count_squares(width, height)
        tokens += width * height / self.pixels if self.pixels else 0
        return math.ceil(min(tokens, self.max_tokens or math.inf))

    def _scale(self, size: tuple[int, int]) -> tuple[int, int]:
        size = fit_size(size, self.max_edge or max(size))
        scale = min(1.0, self.max_short / min(size)) if self.max_short else 1.0
        return round(size[0] * scale), round(size[1] * scale)

    def _count_squares(self, width: int, height: int) -> int:
        if not self.side:
            return 0
        if max(width, height) <= self.small_edge:
            return 1
        side = max(1, min(self.side, int(min(width, height) / self.share))) if self.share else self.side
        return min(-(-width // side) * -(-height // side), self.max_squares or width * height)


DEFAULT = Counting(pixels=750)
"""For models that are not known: about what three vendors count; others differ by a factor of two either way."""


def find_counting(model: str) -> Counting:
    """The rule for a model by its name, with or without its vendor's (``openai/gpt-5``); the default if unknown."""
    name = model.strip().casefold().rpartition("/")[2]
    return next((counting for prefix, counting in _list_countings() if name.startswith(prefix)), DEFAULT)


@cache
def _list_countings() -> tuple[tuple[str, Counting], ...]:
    rows = read_packaged("picture_tokens.json")["countings"]
    return tuple((prefix, Counting(**row["counting"])) for row in rows for prefix in row["models"])
