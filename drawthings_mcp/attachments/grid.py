"""How large pictures are shown, alone and side by side on a contact sheet. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GAP = 6
"""Pixels between the cells of a sheet, and around them."""
_LABEL_SHARE = 1 / 26
"""Height of a label as a share of the sheet: 39 pixels on a sheet of 1024, which every vision model reads."""
_MIN_LABEL = 14
_LABEL_ASPECT = 3.5
"""Width of ``p10023`` in heights of its label, with some air: in narrower cells it would have to shrink."""


def fit_size(size: tuple[int, int], max_edge: int) -> tuple[int, int]:
    """Width and height scaled down so that the longer side is at most ``max_edge``."""
    return fit_into(size, (max_edge, max_edge))


def fit_into(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """Width and height scaled down to fit into a box, at least one pixel each; nothing is enlarged."""
    scale = min(1.0, box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


@dataclass(frozen=True, slots=True)
class Grid:
    """Columns and rows of equal cells; a cell is a picture above its label. All sizes in pixels."""

    columns: int
    rows: int
    cell_width: int
    picture_height: int
    label_height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        width = self.columns * (self.cell_width + GAP) + GAP
        height = self.rows * (self.picture_height + self.label_height + GAP) + GAP
        return width, height

    @property
    def box(self) -> tuple[int, int]:
        """Width and height that a picture may take."""
        return self.cell_width, self.picture_height

    def locate(self, index: int) -> tuple[int, int]:
        """Upper left corner of a cell."""
        row, column = divmod(index, self.columns)
        x = GAP + column * (self.cell_width + GAP)
        y = GAP + row * (self.picture_height + self.label_height + GAP)
        return x, y


def choose_grid(sizes: Sequence[tuple[int, int]], max_edge: int, columns: int | None = None) -> Grid:
    """The grid on which pictures come out largest.

    Parameters
    ----------
    sizes
        Width and height of each picture, at least one.
    max_edge
        Longest side of the sheet in pixels.
    columns
        How many, when that is not to be chosen.
    """
    choices = range(1, len(sizes) + 1) if columns is None else (columns,)
    grids = [_fit_grid(choice, sizes, max_edge) for choice in choices]
    return max(grids, key=lambda grid: _measure_pictures(sizes, grid.box))


def _fit_grid(columns: int, sizes: Sequence[tuple[int, int]], max_edge: int) -> Grid:
    rows = -(-len(sizes) // columns)
    label_height = max(_MIN_LABEL, round(max_edge * _LABEL_SHARE))
    width = max(1, (max_edge - GAP) // columns - GAP)
    height = max(1, (max_edge - GAP) // rows - GAP - label_height)
    shown = [fit_into(size, (width, height)) for size in sizes]
    return Grid(
        columns=columns,
        rows=rows,
        # No cell needs to be larger than what it shows.
        cell_width=min(width, max(*(w for w, _ in shown), round(_LABEL_ASPECT * label_height))),
        picture_height=max(h for _, h in shown),
        label_height=label_height,
    )


def _measure_pictures(sizes: Sequence[tuple[int, int]], box: tuple[int, int]) -> int:
    """Pixels of all pictures when each is fitted into a box."""
    shown = (fit_into(size, box) for size in sizes)
    return sum(width * height for width, height in shown)
