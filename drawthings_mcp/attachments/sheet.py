"""Several pictures → one labelled contact sheet; ``grid`` says where things go."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from drawthings_mcp.attachments.grid import Grid, choose_grid, fit_into
from drawthings_mcp.attachments.preview import open_small
from drawthings_mcp.tensors.pixels import ImageLike

_BACKGROUND = (32, 32, 32)
_INK = (255, 255, 255)
_MIN_FONT = 8


def compose_sheet(
    pictures: Sequence[tuple[str, ImageLike]], max_edge: int = 1024, *, columns: int | None = None
) -> Image.Image:
    """A sheet of labelled pictures, in reading order.

    Parameters
    ----------
    pictures
        Label and picture, at least one.
    max_edge
        Longest side of the sheet in pixels.
    columns
        How many pictures stand side by side; by default as many as let all come out largest.

    Returns
    -------
    Image.Image
        RGB. Transparent pictures are shown on the sheet's background.

    Raises
    ------
    InvalidImageError
        A picture cannot be read.
    """
    # One at a time, so that only one is in memory in its full size.
    images = [(label, open_small(picture, max_edge)) for label, picture in pictures]
    grid = choose_grid([image.size for _, image in images], max_edge, columns)
    sheet = Image.new("RGB", grid.size, _BACKGROUND)
    for index, (label, image) in enumerate(images):
        _place(sheet, grid, index, image)
        _write_label(sheet, grid, index, label)
    return sheet


def _place(sheet: Image.Image, grid: Grid, index: int, image: Image.Image) -> None:
    size = fit_into(image.size, grid.box)
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    x, y = grid.locate(index)
    corner = x + (grid.cell_width - size[0]) // 2, y + (grid.picture_height - size[1]) // 2
    sheet.paste(small, corner, small if small.mode == "RGBA" else None)


def _write_label(sheet: Image.Image, grid: Grid, index: int, label: str) -> None:
    x, y = grid.locate(index)
    middle = x + grid.cell_width / 2, y + grid.picture_height + grid.label_height / 2
    ImageDraw.Draw(sheet).text(middle, label, _INK, _choose_font(label, grid), anchor="mm")


def _choose_font(label: str, grid: Grid) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest font in which the label fits below its picture."""
    size = grid.label_height * 0.8
    width = ImageFont.load_default(size).getlength(label)
    return ImageFont.load_default(max(_MIN_FONT, size * min(1.0, grid.cell_width / max(width, 1))))
