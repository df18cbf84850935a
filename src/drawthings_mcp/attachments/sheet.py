"""Several pictures → one labelled contact sheet.

Owns the layout. Knows no ids: labels are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from drawthings_mcp.attachments.preview import fit_size
from drawthings_mcp.tensors import ImageLike, ensure_pixels

_BACKGROUND = (32, 32, 32)
_INK = (255, 255, 255)
_GAP = 6
_LABEL_SHARE = 1 / 26
"""Height of a label as a share of the sheet: 39 pixels on a sheet of 1024, which every vision model reads."""
_MIN_LABEL = 14
_MIN_FONT = 8
_MIN_CELL = 48
"""Width that a label such as ``v123`` needs in the smallest font."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """Columns and rows of equal cells; a cell is a picture above its label. All sizes in pixels."""

    columns: int
    rows: int
    cell_width: int
    picture_height: int
    label_height: int

    @property
    def size(self) -> tuple[int, int]:
        width = self.columns * (self.cell_width + _GAP) + _GAP
        height = self.rows * (self.picture_height + self.label_height + _GAP) + _GAP
        return width, height

    def locate(self, index: int) -> tuple[int, int]:
        """Upper left corner of a cell."""
        row, column = divmod(index, self.columns)
        x = _GAP + column * (self.cell_width + _GAP)
        y = _GAP + row * (self.picture_height + self.label_height + _GAP)
        return x, y


def compose_sheet(pictures: Sequence[tuple[str, ImageLike]], max_edge: int = 1024) -> Image.Image:
    """A sheet of labelled pictures, in reading order.

    Parameters
    ----------
    pictures
        Label and picture, at least one.
    max_edge
        Longest side of the sheet in pixels.

    Returns
    -------
    Image.Image
        RGB. Transparent pictures are shown on the sheet's background.
    """
    images = [(label, Image.fromarray(ensure_pixels(picture))) for label, picture in pictures]
    grid = _choose_grid([image.size for _, image in images], max_edge)
    sheet = Image.new("RGB", grid.size, _BACKGROUND)
    for index, (label, image) in enumerate(images):
        _place(sheet, grid, index, image)
        _write_label(sheet, grid, index, label)
    return sheet


def _choose_grid(sizes: Sequence[tuple[int, int]], max_edge: int) -> _Grid:
    """The grid whose pictures come out largest."""
    count = len(sizes)
    aspect = sum(width for width, _ in sizes) / sum(height for _, height in sizes)
    # No cell needs to be larger than the largest picture: none is enlarged.
    largest = max(max(size) for size in sizes)
    grids = [_fit_grid(columns, -(-count // columns), aspect, max_edge, largest) for columns in range(1, count + 1)]
    return max(grids, key=lambda grid: grid.cell_width * grid.picture_height)


def _fit_grid(columns: int, rows: int, aspect: float, max_edge: int, largest: int) -> _Grid:
    label_height = max(_MIN_LABEL, round(max_edge * _LABEL_SHARE))
    width = (max_edge - _GAP) // columns - _GAP
    height = (max_edge - _GAP) // rows - _GAP - label_height
    return _Grid(
        columns=columns,
        rows=rows,
        cell_width=max(_MIN_CELL, min(width, round(height * aspect), largest)),
        picture_height=max(1, min(height, round(width / aspect), largest)),
        label_height=label_height,
    )


def _place(sheet: Image.Image, grid: _Grid, index: int, image: Image.Image) -> None:
    scale = min(grid.cell_width / image.width, grid.picture_height / image.height, 1.0)
    size = fit_size(image.size, max(1, round(max(image.size) * scale)))
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    x, y = grid.locate(index)
    corner = x + (grid.cell_width - size[0]) // 2, y + (grid.picture_height - size[1]) // 2
    sheet.paste(small, corner, small if small.mode == "RGBA" else None)


def _write_label(sheet: Image.Image, grid: _Grid, index: int, label: str) -> None:
    x, y = grid.locate(index)
    middle = x + grid.cell_width / 2, y + grid.picture_height + grid.label_height / 2
    ImageDraw.Draw(sheet).text(middle, label, _INK, _choose_font(label, grid), anchor="mm")


def _choose_font(label: str, grid: _Grid) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest font in which the label fits below its picture."""
    size = grid.label_height * 0.8
    width = ImageFont.load_default(size).getlength(label)
    return ImageFont.load_default(max(_MIN_FONT, size * min(1.0, grid.cell_width / max(width, 1))))
