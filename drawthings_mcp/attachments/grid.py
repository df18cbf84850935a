"""How large pictures are shown, alone and side by side on a contact sheet. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

GAP = 6
"""Pixels between the cells of a sheet, and around them."""
_LABEL_SHARE = 1 / 26
"""Height of a label as a share of the sheet: 39 pixels on a sheet of 1024, which every vision model reads."""
_MIN_LABEL = 14
_USUAL_LABEL = 39
_LABELS_PER_CELL = 12
"""Heights of a label in a cell of a very large sheet, whose labels need no more of it."""
_CAPTION_SHARE = 1 / 7
"""Width of the captions of rows as a share of the sheet, at most."""
_LETTER_ASPECT = 0.6
"""Width of a letter in heights of its line, with some air; wider ones shrink."""
_LABEL_ASPECT = 3.5
"""Width of ``p10023`` in heights of its label, with some air: in narrower cells it would have to shrink."""


def fit_size(size: tuple[int, int], max_edge: int) -> tuple[int, int]:
    """Width and height scaled down so that the longer side is at most ``max_edge``."""
    return fit_into(size, (max_edge, max_edge))


def fit_into(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """Width and height scaled down to fit into a box, at least one pixel each; nothing is enlarged."""
    scale = min(1.0, box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def distorts(size: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Whether a size has another shape, by more than the rounding of a side."""
    return abs(wanted[1] - size[1] * wanted[0] / size[0]) > 1 and abs(wanted[0] - size[0] * wanted[1] / size[1]) > 1


@dataclass(frozen=True, slots=True)
class Captions:
    """What stands above the columns of a sheet and left of its rows, for pictures that vary along two axes.

    Attributes
    ----------
    columns, rows
        One text for each, top to bottom and left to right, which may have several lines; empty for no captions.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


Area: TypeAlias = tuple[int, int, int, int]
"""Left, top, width and height."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Columns and rows of equal cells; a cell is a picture above its label. All sizes in pixels.

    Attributes
    ----------
    line_height
        Of a line of text.
    label_height
        0 when there are no labels.
    left, top
        Width of the captions of rows and height of those of columns; 0 when there are none.
    """

    columns: int
    rows: int
    cell_width: int
    picture_height: int
    line_height: int
    label_height: int
    left: int = 0
    top: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        width = self.left + self.columns * (self.cell_width + GAP) + GAP
        height = self.top + self.rows * (self.picture_height + self.label_height + GAP) + GAP
        return width, height

    @property
    def box(self) -> tuple[int, int]:
        """Width and height that a picture may take."""
        return self.cell_width, self.picture_height

    def locate(self, index: int) -> tuple[int, int]:
        """Upper left corner of a cell."""
        row, column = divmod(index, self.columns)
        x = self.left + GAP + column * (self.cell_width + GAP)
        y = self.top + GAP + row * (self.picture_height + self.label_height + GAP)
        return x, y

    def locate_label(self, index: int) -> Area:
        """Where the label of a cell goes."""
        x, y = self.locate(index)
        return x, y + self.picture_height, self.cell_width, self.label_height

    def locate_column(self, column: int) -> Area:
        """Where the caption of a column goes."""
        return self.locate(column)[0], GAP, self.cell_width, self.top

    def locate_row(self, row: int) -> Area:
        """Where the caption of a row goes: beside its pictures."""
        return GAP, self.locate(row * self.columns)[1], self.left - GAP, self.picture_height


def choose_grid(
    sizes: Sequence[tuple[int, int]],
    max_edge: int,
    columns: int | None = None,
    *,
    is_labelled: bool = True,
    captions: Captions | None = None,
) -> Grid:
    """The grid on which pictures come out largest.

    Parameters
    ----------
    sizes
        Width and height of each picture, at least one.
    max_edge
        Longest side of the sheet in pixels.
    columns
        How many, when that is not to be chosen; captions of columns choose it too.
    """
    captions = captions or Captions()
    wanted = columns or len(captions.columns)
    choices = (min(wanted, len(sizes)),) if wanted else range(1, len(sizes) + 1)
    grids = [_fit_grid(choice, sizes, max_edge, captions, is_labelled=is_labelled) for choice in choices]
    # Where they come out alike, on the one that has to be made smallest to be seen as a whole.
    return max(grids, key=lambda grid: (_measure_pictures(sizes, grid.box), -max(grid.size), grid.columns))


def _fit_grid(
    columns: int, sizes: Sequence[tuple[int, int]], max_edge: int, captions: Captions, *, is_labelled: bool
) -> Grid:
    rows = -(-len(sizes) // columns)
    cell_edge = min(max_edge // max(columns, rows), max(map(max, sizes)))
    needed = max(_USUAL_LABEL, cell_edge // _LABELS_PER_CELL)
    line_height = max(_MIN_LABEL, min(round(max_edge * _LABEL_SHARE), needed))
    label_height = line_height if is_labelled else 0
    letters = max((len(line) for text in captions.rows for line in text.split("\n")), default=0)
    left = min(round(max_edge * _CAPTION_SHARE), round(letters * line_height * _LETTER_ASPECT) + GAP if letters else 0)
    top = line_height * max((text.count("\n") + 1 for text in captions.columns), default=0)
    width = max(1, (max_edge - left - GAP) // columns - GAP)
    height = max(1, (max_edge - top - GAP) // rows - GAP - label_height)
    shown = [fit_into(size, (width, height)) for size in sizes]
    return Grid(
        columns=columns,
        rows=rows,
        # No cell needs to be larger than what it shows.
        cell_width=min(width, max(*(w for w, _ in shown), round(_LABEL_ASPECT * label_height))),
        picture_height=max(h for _, h in shown),
        line_height=line_height,
        label_height=label_height,
        left=left,
        top=top,
    )


def _measure_pictures(sizes: Sequence[tuple[int, int]], box: tuple[int, int]) -> int:
    """Pixels of all pictures when each is fitted into a box."""
    shown = (fit_into(size, box) for size in sizes)
    return sum(width * height for width, height in shown)
