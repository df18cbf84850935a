"""Several pictures → one labelled contact sheet; ``grid`` says where things go."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from drawthings_mcp.attachments.grid import Area, Captions, Grid, choose_grid, fit_into
from drawthings_mcp.attachments.preview import open_small
from drawthings_mcp.tensors.pixels import ImageLike, measure

_BACKGROUND = (32, 32, 32)
_INK = (255, 255, 255)
_MIN_FONT = 8
_LINE_SHARE = 0.8
"""Size of the font as a share of the height of a line."""
_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "segoeui.ttf"),
    *("Arial Unicode.ttf", "NotoSansCJK-Regular.ttc", "Hiragino Sans GB.ttc", "msyh.ttc", "YuGothM.ttc", "malgun.ttf"),
)
"""What systems have, in the order in which it is tried for letters that Pillow's own font lacks."""
_MAX_TEXT = 200
"""Characters of a label that are looked at."""
_MISSING = "\U0010ffff"
"""A character that no font has: it is drawn as what stands for all that are missing."""

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def compose_sheet(
    pictures: Sequence[tuple[str, ImageLike]],
    max_edge: int = 1024,
    *,
    columns: int | None = None,
    captions: Captions | None = None,
) -> Image.Image:
    """A sheet of labelled pictures, in reading order, with captions on its columns and rows if these mean something.

    A grid of values: ``compose_sheet(pictures, captions=Captions(("guidance 1", "guidance 4"), ("seed 1", "seed 2")))``
    with the pictures row by row.

    Parameters
    ----------
    pictures
        Label and picture, at least one; an empty label is left out, and its room when all are empty.
    max_edge
        Longest side of the sheet in pixels. Pictures are never enlarged.
    columns
        How many pictures stand side by side; by default as many as captions of columns, or as let all come out largest.

    Returns
    -------
    Image.Image
        RGB. Transparent pictures are shown on the sheet's background.

    Raises
    ------
    InvalidImageError
        A picture cannot be read.
    """
    captions = captions or Captions()
    sizes = [measure(picture) for _, picture in pictures]
    is_labelled = any(label for label, _ in pictures)
    grid = choose_grid(sizes, max_edge, columns, is_labelled=is_labelled, captions=captions)
    sheet = Image.new("RGB", grid.size, _BACKGROUND)
    for index, (label, picture) in enumerate(pictures):
        # One at a time, so that only one is in memory in its full size.
        _place(sheet, grid, index, open_small(picture, max(fit_into(sizes[index], grid.box))))
        _write(sheet, grid.locate_label(index), label, grid.line_height)
    for index, caption in enumerate(captions.columns[: grid.columns]):
        _write(sheet, grid.locate_column(index), caption, grid.line_height)
    for index, caption in enumerate(captions.rows[: grid.rows]):
        _write(sheet, grid.locate_row(index), caption, grid.line_height)
    return sheet


def _place(sheet: Image.Image, grid: Grid, index: int, image: Image.Image) -> None:
    small = image.resize(fit_into(image.size, grid.box), Image.Resampling.LANCZOS, reducing_gap=3.0)
    x, y = grid.locate(index)
    corner = x + (grid.cell_width - small.width) // 2, y + (grid.picture_height - small.height) // 2
    sheet.paste(small, corner, small if small.mode == "RGBA" else None)


def _write(sheet: Image.Image, area: Area, text: str, line_height: int) -> None:
    """Text in the middle of an area, in lines of a height as far as they fit."""
    if not text:
        return
    left, top, width, height = area
    size = _LINE_SHARE * min(line_height, height / (text.count("\n") + 1))
    text, font = _fit_text(text, size, width)
    middle = left + width / 2, top + height / 2
    ImageDraw.Draw(sheet).multiline_text(middle, text, _INK, font, anchor="mm", align="center")


def _fit_text(text: str, size: float, width: int) -> tuple[str, _Font]:
    """Text with the largest font in which it fits; what does not even fit into the smallest is cut."""
    plain = "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text[:_MAX_TEXT])
    spelled, font = _choose_font(plain, size)
    longest = max(_measure_lines(spelled, font), 1)
    if longest > width:
        spelled, font = _choose_font(plain, max(_MIN_FONT, size * width / longest))
    while _measure_lines(spelled, font) > width and len(spelled) > 1:
        spelled = f"{spelled.removesuffix('…')[:-1]}…"
    return spelled, font


def _measure_lines(text: str, font: _Font) -> float:
    return max(font.getlength(line) for line in text.split("\n"))


def _choose_font(text: str, size: float) -> tuple[str, _Font]:
    """The first font with every letter of a text; when there is none, the text in the letters that there are."""
    letters = "".join(sorted(set(text) - set("\n ")))
    name = next((name for name in ("", *_FONTS) if _has_letters(name, letters)), None)
    if name is not None:
        return text, _open_font(name, size) or ImageFont.load_default(size)
    parts = unicodedata.normalize("NFKD", text)
    plain = "".join(part for part in parts if not unicodedata.combining(part)).encode("ascii", "replace").decode()
    return plain, ImageFont.load_default(size)


@lru_cache(maxsize=64)
def _open_font(name: str, size: float) -> _Font | None:
    if not name:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@lru_cache(maxsize=1024)
def _has_letters(name: str, letters: str) -> bool:
    font = _open_font(name, 20)
    if font is None:
        return False
    missing = bytes(font.getmask(_MISSING))
    return all(bytes(font.getmask(letter)) != missing for letter in letters)
