"""Visible traces of a request besides its prompt: canvas, moodboard, LoRAs, controls, silent replacements."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from drawthings_mcp.simulator.painting.lettering import break_lines, fit_size, keep_drawable, load_font, measure
from drawthings_mcp.simulator.painting.oklab import RGB, Pixels, oklch, to_rgb

Box = tuple[int, int, int, int]
"""Left, top, right and bottom."""

_TINT = 0.14
"""How much of the painting behind it shows through the print of a canvas."""
_PAPER = (252, 250, 245)
_STRIP = (0.05, 0.07, 0.95, 0.21)
_UNDER_PRINT = (0.05, 0.58, 0.95, 0.75)
_MIDDLE = (0.05, 0.09, 0.95, 0.74)
_PRINT = (0.05, 0.045, 0.95, 0.75)
_PRINT_ABOVE_TILES = (0.05, 0.045, 0.95, 0.555)
_ROW_LENGTH = 4
_RIBBON_LIMIT = 4
_BADGE_LIMIT = 3
_WHITE = (255, 255, 255)
_ALARM = (176, 38, 32)
_OVERLAY_STRENGTH = 0.5
_BRIGHT = 140
"""Mean level above which a hint counts as dark on light, so that it darkens instead of lightening."""


@dataclass(frozen=True)
class LoRAMark:
    """A LoRA that was applied."""

    file: str
    name: str
    weight: float


@dataclass(frozen=True)
class ControlMark:
    """A control that was applied, with its hint as pixels ``(h, w, 3)``."""

    kind: str
    weight: float
    hint: Pixels


def overlay_hints(pixels: Pixels, controls: tuple[ControlMark, ...]) -> Pixels:
    """Let the hints show through the picture ``(H, W, 3)``, each as strongly as its control weighs."""
    for control in controls:
        hint = np.asarray(Image.fromarray(control.hint).resize(pixels.shape[1::-1], Image.Resampling.BILINEAR))
        share = np.float32(_OVERLAY_STRENGTH * min(1.0, control.weight) / 255)
        picture = pixels.astype(np.float32)
        if hint.mean() > _BRIGHT:
            picture *= 1 - share * (255 - hint)
        else:
            picture += (255 - picture) * (share * hint)
        pixels = np.clip(picture, 0, 255).astype(np.uint8)
    return pixels


def draw_marks(
    size: tuple[int, int], loras: tuple[LoRAMark, ...], controls: tuple[ControlMark, ...], notices: tuple[str, ...]
) -> Pixels:
    """All marks as one transparent layer ``(H, W, 4)`` for a picture of ``size`` (width, height)."""
    layer = Image.new("RGBA", size, (0, 0, 0, 0))
    for row, lora in enumerate(loras[:_RIBBON_LIMIT]):
        _draw_ribbon(layer, row, lora)
    for row, control in enumerate(controls[:_BADGE_LIMIT]):
        _draw_badge(layer, row, control)
    _draw_notices(layer, notices)
    return np.asarray(layer)


def ribbon_box(size: tuple[int, int], row: int) -> Box:
    """Where a LoRA's ribbon lies, without its notched end."""
    width, height = size
    tall = max(12, round(min(size) * 0.042))
    top = round(height * 0.235 + row * tall * 1.35)
    return 0, top, round(width * 0.36), top + tall


def ribbon_color(file: str) -> RGB:
    """The colour of a LoRA's ribbon, always the same for the same file."""
    return to_rgb(oklch(0.56, 0.16, zlib.crc32(file.encode()) % 360))


def badge_box(size: tuple[int, int], row: int) -> Box:
    """Where a control's thumbnail lies."""
    width, height = size
    side = max(24, round(min(size) * 0.14))
    bottom = round(height * 0.76) - round(row * side * 1.35)
    right = width - round(min(size) * 0.03)
    return right - side, bottom - side, right, bottom


def _draw_ribbon(layer: Image.Image, row: int, lora: LoRAMark) -> None:
    draw = ImageDraw.Draw(layer)
    left, top, right, bottom = ribbon_box(layer.size, row)
    notch = (bottom - top) // 2
    outline = [(left, top), (right + notch, top), (right, top + notch), (right + notch, bottom), (left, bottom)]
    draw.polygon(outline, fill=(*ribbon_color(lora.file), 235))
    size = max(9, round((bottom - top) * 0.46))
    weight = f"{lora.weight:.2f}".rstrip("0").rstrip(".")
    room = right - 2.5 * size - measure(weight, size)
    text = keep_drawable(lora.name)
    name_size = fit_size(text, size, room, max(9, size * 2 // 3)) or max(9, size * 2 // 3)
    name = break_lines(text, name_size, room, 1)
    baseline = (top + bottom) / 2
    draw.text((size * 0.8, baseline), name[0] if name else "", font=load_font(name_size), fill=_WHITE, anchor="lm")
    draw.text((right - size * 0.3, baseline), weight, font=load_font(size), fill=_WHITE, anchor="rm")


def _draw_badge(layer: Image.Image, row: int, control: ControlMark) -> None:
    draw = ImageDraw.Draw(layer)
    left, top, right, bottom = badge_box(layer.size, row)
    border = max(2, (right - left) // 30)
    label = round((bottom - top) * 0.22)
    draw.rectangle([left - border, top - border, right + border - 1, bottom + label - 1], fill=(250, 248, 242, 255))
    thumbnail = ImageOps.fit(Image.fromarray(control.hint), (right - left, bottom - top))
    layer.paste(thumbnail, (left, top))
    size = max(8, round(label * 0.62))
    text = break_lines(f"{control.kind} {control.weight:g}", size, right - left, 1)[0]
    draw.text(((left + right) / 2, bottom + label / 2), text, font=load_font(size), fill=(30, 32, 40), anchor="mm")


def _draw_notices(layer: Image.Image, notices: tuple[str, ...]) -> None:
    """A red band along the upper edge, a line for each notice."""
    if not notices:
        return
    draw = ImageDraw.Draw(layer)
    side = min(layer.size)
    size = max(9, round(side * 0.022))
    pad = round(size * 0.6)
    room = layer.width * 0.74
    lines = [line for notice in notices for line in break_lines(keep_drawable(notice), size, room, 2)]
    draw.rectangle([0, 0, layer.width, 2 * pad + round(len(lines) * size * 1.35)], fill=(*_ALARM, 235))
    for row, line in enumerate(lines):
        at = (round(side * 0.055), pad + (row + 0.5) * size * 1.35)
        draw.text(at, line, font=load_font(size), fill=_WHITE, anchor="lm")


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
    corners = [(left + i % _ROW_LENGTH * (side + gap), area[1] + i // _ROW_LENGTH * (side + gap)) for i in range(count)]
    return [(x, y, x + side, y + side) for x, y in corners]


def hang_print(picture: Image.Image, canvas: Pixels, box: Box) -> None:
    """The canvas as a print with a paper border, tinted by the painting it hangs on."""
    size = (box[2] - box[0], box[3] - box[1])
    _paint_shadow(picture, box)
    behind = picture.crop(box).filter(ImageFilter.GaussianBlur(max(2, size[0] // 30)))
    scaled = Image.fromarray(canvas).resize(size, Image.Resampling.LANCZOS)
    _paste_framed(picture, Image.blend(scaled, behind, _TINT), box)


def lay_tiles(picture: Image.Image, references: tuple[Pixels, ...], boxes: list[Box]) -> None:
    """The references as numbered tiles."""
    draw = ImageDraw.Draw(picture)
    for number, (reference, box) in enumerate(zip(references, boxes, strict=True), start=1):
        size = (box[2] - box[0], box[3] - box[1])
        _paint_shadow(picture, box)
        _paste_framed(picture, ImageOps.fit(Image.fromarray(reference), size, Image.Resampling.LANCZOS), box)
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


def _paint_shadow(picture: Image.Image, box: Box) -> None:
    """A soft shadow below a print."""
    size = (box[2] - box[0], box[3] - box[1])
    blur = max(3, max(size) // 60)
    shadow = Image.new("L", (size[0] + 6 * blur, size[1] + 6 * blur))
    shadow.paste(120, (3 * blur, 3 * blur, 3 * blur + size[0], 3 * blur + size[1]))
    shadow = shadow.filter(ImageFilter.BoxBlur(blur)).filter(ImageFilter.BoxBlur(blur))
    picture.paste((10, 12, 16), (box[0] - 3 * blur, box[1] - 2 * blur), shadow)


def _paste_framed(picture: Image.Image, print_: Image.Image, box: Box) -> None:
    """A print with a paper border around its box."""
    paper = max(1, round(min(print_.size) * 0.012))
    picture.paste(_PAPER, (box[0] - paper, box[1] - paper, box[2] + paper, box[3] + paper))
    picture.paste(print_, box[:2])


def _scale(area: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    left, top, right, bottom = (round(share * size[i % 2]) for i, share in enumerate(area))
    return left, top, right, bottom
