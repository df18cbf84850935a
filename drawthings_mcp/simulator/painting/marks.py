"""Visible traces of what a request asked for besides the prompt: LoRAs, controls, and what went wrong silently."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from drawthings_mcp.simulator.painting.lettering import break_lines, fit_size, keep_drawable, load_font, measure
from drawthings_mcp.simulator.painting.oklab import oklch, to_rgb

Pixels = NDArray[np.uint8]

_RIBBON_LIMIT = 4
_BADGE_LIMIT = 3
_WHITE = (255, 255, 255)
_ALARM = (176, 38, 32)
_OVERLAY_STRENGTH = 0.5
_BRIGHT = 140
"""Mean level from which a hint counts as dark on light, so that it darkens instead of lightening."""


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
    """The hints shimmering through the picture ``(H, W, 3)``, each as strongly as its control weighs."""
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


def ribbon_box(size: tuple[int, int], row: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a LoRA's ribbon, without its notched end."""
    width, height = size
    tall = max(12, round(min(size) * 0.042))
    top = round(height * 0.235 + row * tall * 1.35)
    return 0, top, round(width * 0.36), top + tall


def ribbon_color(file: str) -> tuple[int, int, int]:
    """The colour of a LoRA's ribbon, always the same for the same file."""
    return to_rgb(oklch(0.56, 0.16, zlib.crc32(file.encode()) % 360))


def badge_box(size: tuple[int, int], row: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a control's thumbnail."""
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
