"""Pictures within the picture: the canvas of an edit as a large print, the moodboard as numbered tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from drawthings_mcp.simulator.painting.lettering import load_font

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]

_TINT = 0.14
"""How much of the painting behind shows through the print of a canvas."""
_PAPER = (252, 250, 245)
_STRIP = (0.05, 0.07, 0.95, 0.21)
_UNDER_PRINT = (0.05, 0.58, 0.95, 0.75)
_MIDDLE = (0.05, 0.09, 0.95, 0.74)
_PRINT = (0.05, 0.045, 0.95, 0.75)
_PRINT_ABOVE_TILES = (0.05, 0.045, 0.95, 0.555)
_ROW_LENGTH = 4


def print_box(size: tuple[int, int], canvas: tuple[int, int], *, has_tiles: bool) -> Box:
    """Where the print of a canvas lies; both sizes are width, height. The canvas keeps its aspect."""
    left, top, right, bottom = _scale(_PRINT_ABOVE_TILES if has_tiles else _PRINT, size)
    factor = min((right - left) / canvas[0], (bottom - top) / canvas[1])
    across, down = max(1, round(canvas[0] * factor)), max(1, round(canvas[1] * factor))
    x, y = (left + right - across) // 2, (top + bottom - down) // 2
    return x, y, x + across, y + down


def tile_boxes(size: tuple[int, int], count: int, *, is_edit: bool, has_print: bool) -> list[Box]:
    """Where the tiles of a moodboard lie, in its order: squares in rows of at most four.

    They fill the picture when they are all there is to an edit, form a strip under the print of a canvas, and a
    small strip along the upper edge for models that only take them as an inspiration.
    """
    area = _scale((_UNDER_PRINT if has_print else _MIDDLE) if is_edit else _STRIP, size)
    rows = max(1, -(-count // _ROW_LENGTH))
    columns = min(count, _ROW_LENGTH)
    gap = max(2, round(min(size) * 0.018))
    side = min((area[2] - area[0] + gap) // max(1, columns) - gap, (area[3] - area[1] + gap) // rows - gap)
    left = area[0] if not is_edit else (area[0] + area[2] - columns * (side + gap) + gap) // 2
    return [
        _square(left + i % _ROW_LENGTH * (side + gap), area[1] + i // _ROW_LENGTH * (side + gap), side)
        for i in range(count)
    ]


def hang_print(picture: Image.Image, canvas: Pixels, box: Box) -> None:
    """The canvas as a print with a paper border, tinted by the painting it hangs on."""
    size = (box[2] - box[0], box[3] - box[1])
    _mount(picture, box)
    behind = picture.crop(box).filter(ImageFilter.GaussianBlur(max(2, size[0] // 30)))
    scaled = Image.fromarray(canvas).resize(size, Image.Resampling.LANCZOS)
    paper = _border(size)
    picture.paste(_PAPER, (box[0] - paper, box[1] - paper, box[2] + paper, box[3] + paper))
    picture.paste(Image.blend(scaled, behind, _TINT), box[:2])


def lay_tiles(picture: Image.Image, references: tuple[Pixels, ...], boxes: list[Box]) -> None:
    """The references as numbered tiles."""
    draw = ImageDraw.Draw(picture)
    for number, (reference, box) in enumerate(zip(references, boxes, strict=True), start=1):
        size = (box[2] - box[0], box[3] - box[1])
        _mount(picture, box)
        paper = _border(size)
        picture.paste(_PAPER, (box[0] - paper, box[1] - paper, box[2] + paper, box[3] + paper))
        picture.paste(ImageOps.fit(Image.fromarray(reference), size, Image.Resampling.LANCZOS), box[:2])
        _number(draw, number, box)


def set_figures(picture: Image.Image, figures: Pixels, right: int, foot: int, room: tuple[int, int]) -> None:
    """The subjects of an edit as a cut-out at the lower right of the print, at most ``room`` wide and high."""
    cutout = Image.fromarray(figures)
    bounds = cutout.getchannel("A").getbbox()
    if bounds is None:
        return
    cutout = ImageOps.contain(cutout.crop(bounds), room)
    picture.paste(cutout.convert("RGB"), (right - cutout.width, foot - cutout.height), cutout.getchannel("A"))


def _number(draw: ImageDraw.ImageDraw, number: int, box: Box) -> None:
    size = max(9, (box[3] - box[1]) // 9)
    x, y = box[0] + size, box[1] + size
    draw.ellipse([x - size * 0.75, y - size * 0.75, x + size * 0.75, y + size * 0.75], fill=(24, 26, 32))
    draw.text((x, y), str(number), font=load_font(size), fill=(255, 255, 255), anchor="mm")


def _mount(picture: Image.Image, box: Box) -> None:
    """A soft shadow below a print."""
    size = (box[2] - box[0], box[3] - box[1])
    blur = max(3, max(size) // 60)
    shadow = Image.new("L", (size[0] + 6 * blur, size[1] + 6 * blur))
    shadow.paste(120, (3 * blur, 3 * blur, 3 * blur + size[0], 3 * blur + size[1]))
    shadow = shadow.filter(ImageFilter.BoxBlur(blur)).filter(ImageFilter.BoxBlur(blur))
    picture.paste((10, 12, 16), (box[0] - 3 * blur, box[1] - 2 * blur), shadow)


def _border(size: tuple[int, int]) -> int:
    return max(1, round(min(size) * 0.012))


def _scale(area: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    left, top, right, bottom = (round(share * size[i % 2]) for i, share in enumerate(area))
    return left, top, right, bottom


def _square(left: int, top: int, side: int) -> Box:
    return left, top, left + side, top + side
