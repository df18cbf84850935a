"""The pictures of one run: scenes, combined with canvas, mask, moodboard, controls and LoRAs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from PIL import Image

from drawthings_mcp.simulator.painting.lettering import stamp
from drawthings_mcp.simulator.painting.oklab import Pixels
from drawthings_mcp.simulator.painting.poster import Painting, Scene, lay_over, paint
from drawthings_mcp.simulator.painting.region import Region
from drawthings_mcp.simulator.painting.traces import (
    ControlMark,
    LoRAMark,
    draw_marks,
    hang_print,
    lay_tiles,
    overlay_hints,
    print_box,
    set_figures,
    tile_boxes,
)

_SMALLEST_SCENE = 64
_MASKED_EDIT_SHARE = 0.65
"""How much of the painting an edit model puts into a mask; the rest is the canvas below it."""
_NIGHT_CHROMA = 0.55
_NIGHT_LIGHT = (0.20, 0.26, 0.42)
"""What the night leaves of colours, and of red, green and blue light."""
_REACH = 0.16
"""How much of the picture the camera has left behind at the end."""
_DEPARTURE = 0.6
"""How far the last frame has moved from the canvas towards the new painting."""


class Form(Enum):
    """What a run returns."""

    PICTURES = "pictures"
    FRAMES = "frames"
    LAYERS = "layers"
    CUTOUT = "cutout"
    OPAQUE = "opaque"


@dataclass(frozen=True)
class Drawing:
    """Everything that determines a run's pictures. All pictures are ``(H, W, 3)`` uint8.

    There is a scene for each picture of the batch, of the output's size before upscaling, and so is the ``canvas``.
    ``form`` is what is returned; ``count`` is the number of frames or layers, 1 otherwise. A ``strength`` of 0 returns
    the canvas, 1 leaves nothing of it, except to an edit, whose model sees canvas and references as pictures.
    ``region`` is what a mask leaves to be drawn, or None for everything. ``references`` are the moodboard, each of any
    size; ``loras``, ``controls`` and ``notices`` leave a mark. ``upscale`` is the factor of the upscaler, 1 for none.
    """

    scenes: tuple[Scene, ...]
    form: Form = Form.PICTURES
    count: int = 1
    canvas: Pixels | None = None
    strength: float = 1.0
    region: Region | None = None
    is_edit: bool = False
    references: tuple[Pixels, ...] = ()
    loras: tuple[LoRAMark, ...] = ()
    controls: tuple[ControlMark, ...] = ()
    notices: tuple[str, ...] = ()
    upscale: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height before upscaling."""
        return self.scenes[0].width, self.scenes[0].height


def draw(drawing: Drawing) -> list[Pixels]:
    """The pictures, frames or layers of a run, ``(H, W, 3)``, or ``(H, W, 4)`` with alpha last."""
    return [_upscale(pixels, drawing.upscale) for pixels in _FORMS[drawing.form](drawing)]


def _draw_pictures(drawing: Drawing) -> Iterator[Pixels]:
    for scene in drawing.scenes:
        yield _draw_picture(drawing, scene)


def _draw_picture(drawing: Drawing, scene: Scene) -> Pixels:
    canvas, region = drawing.canvas, drawing.region
    if canvas is not None and region is not None:
        return _draw_region(drawing, scene, canvas, region)
    if canvas is not None and drawing.strength <= 0:
        return canvas
    painting = paint(scene)
    fresh = _finish(drawing, painting)
    return stamp(fresh if canvas is None else _mix_pixels(_light(canvas, drawing, painting), fresh, drawing.strength))


def _draw_region(drawing: Drawing, scene: Scene, canvas: Pixels, region: Region) -> Pixels:
    """The scene painted into the bounds of the region, so that all of it can be seen there."""
    if drawing.strength <= 0 or not region.fresh.any():
        return canvas
    left, top, right, bottom = region.find_bounds()
    below = canvas[top:bottom, left:right]
    painting = _paint_patch(scene, right - left, bottom - top)
    fresh = _fit_patch(painting, right - left, bottom - top)
    if drawing.is_edit:
        fresh = _mix_pixels(_light(below, drawing, painting), fresh, _MASKED_EDIT_SHARE)
    whole = canvas.copy()
    whole[top:bottom, left:right] = fresh
    whole = lay_over(overlay_hints(whole, drawing.controls), _marks(drawing))
    weights = region.weights[..., None]
    mixed = np.rint(canvas + (whole - canvas.astype(np.float32)) * weights).astype(np.uint8)
    return stamp(np.where(weights > 0, mixed, canvas), region.fresh)


def _paint_patch(scene: Scene, width: int, height: int) -> Painting:
    return paint(replace(scene, width=max(width, _SMALLEST_SCENE), height=max(height, _SMALLEST_SCENE)))


def _fit_patch(painting: Painting, width: int, height: int) -> Pixels:
    pixels = painting.flatten()
    is_fit = pixels.shape[:2] == (height, width)
    return pixels if is_fit else np.asarray(Image.fromarray(pixels).resize((width, height)))


def _light(canvas: Pixels, drawing: Drawing, painting: Painting) -> Pixels:
    """The canvas in the light that the prompt asks for: at night dark and blue, as far as the strength goes."""
    if not painting.is_night:
        return canvas
    grey = canvas.mean(axis=2, keepdims=True)
    dark = (grey + (canvas - grey) * _NIGHT_CHROMA) * np.array(_NIGHT_LIGHT)
    return _mix_pixels(canvas, np.rint(dark).astype(np.uint8), drawing.strength)


def _finish(drawing: Drawing, painting: Painting) -> Pixels:
    """A painting together with everything else that the request contains."""
    picture = Image.fromarray(_arrange(drawing, painting))
    if drawing.references:
        boxes = tile_boxes(
            drawing.size, len(drawing.references), is_edit=drawing.is_edit, has_print=drawing.canvas is not None
        )
        lay_tiles(picture, drawing.references, boxes)
    pixels = overlay_hints(np.asarray(picture), drawing.controls)
    return lay_over(lay_over(pixels, painting.lettering), _marks(drawing))


def _arrange(drawing: Drawing, painting: Painting) -> Pixels:
    """Landscape and figures; for an edit with the canvas as a print in front of the landscape."""
    if not drawing.is_edit or drawing.canvas is None:
        return lay_over(painting.landscape, painting.figures)
    picture = Image.fromarray(painting.landscape)
    box = print_box(drawing.size, drawing.canvas.shape[1::-1], has_tiles=bool(drawing.references))
    hang_print(picture, _light(drawing.canvas, drawing, painting), box)
    room = (box[2] - box[0]) * 2 // 5, (box[3] - box[1]) * 2 // 5
    set_figures(picture, painting.figures, box[2] - room[0] // 12, box[3] - room[1] // 20, room)
    return np.asarray(picture)


def _marks(drawing: Drawing) -> Pixels:
    return draw_marks(drawing.size, drawing.loras, drawing.controls, drawing.notices)


def _draw_frames(drawing: Drawing) -> Iterator[Pixels]:
    painting = paint(drawing.scenes[0])
    if drawing.canvas is not None:
        fresh = lay_over(_finish(replace(drawing, is_edit=False), painting), painting.lettering)
        for index, frame in enumerate(_leave_canvas(drawing.canvas, fresh, drawing.count, drawing.strength)):
            yield stamp(frame) if index and drawing.strength > 0 else frame
        return
    bare = replace(drawing, canvas=None)
    blank = replace(painting, lettering=np.zeros_like(painting.lettering))
    for frame in _move_camera(_finish(replace(bare, loras=(), controls=(), notices=()), blank), drawing.count):
        yield stamp(lay_over(lay_over(overlay_hints(frame, drawing.controls), painting.lettering), _marks(drawing)))


def _move_camera(picture: Pixels, count: int) -> Iterator[Pixels]:
    """``count`` pictures of the same size, each a little closer than the one before; the first is the picture."""
    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    for index in range(count):
        share = _REACH * index / max(1, count - 1)
        left, top = width * share * 0.6, height * share
        box = (left, top, left + width * (1 - share), top + height * (1 - share))
        yield np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box)) if index else picture


def _leave_canvas(canvas: Pixels, painting: Pixels, count: int, strength: float) -> Iterator[Pixels]:
    """Frames that begin with the canvas itself and drift into the painting, the further the higher the strength."""
    moves = zip(_move_camera(canvas, count), _move_camera(painting, count), strict=True)
    for index, (old, new) in enumerate(moves):
        share = _DEPARTURE * strength * index / max(1, count - 1)
        yield _mix_pixels(old, new, share)


def _mix_pixels(old: Pixels, new: Pixels, share: float) -> Pixels:
    """``share`` of the new pixels, the rest of the old; exact at 0 and 1."""
    if share <= 0:
        return old
    if share >= 1:
        return new
    mixed = old.astype(np.float32)
    mixed += (new - mixed) * np.float32(share)
    return np.rint(mixed).astype(np.uint8)


def _draw_layers(drawing: Drawing) -> Iterator[Pixels]:
    """Layers from back to front: landscape or canvas, figures, lettering, marks, and clear ones."""
    painting = paint(drawing.scenes[0])
    behind = painting.landscape
    if drawing.canvas is not None:
        behind = _mix_pixels(drawing.canvas, _arrange(replace(drawing, is_edit=True), painting), drawing.strength)
    layers = [_opaque(behind), painting.figures, painting.lettering, _marks(drawing)]
    clear = np.zeros_like(painting.lettering)
    if drawing.count < len(layers):
        layers[drawing.count - 1 :] = [_merge(layers[drawing.count - 1 :])]
    for index in range(drawing.count):
        yield stamp(layers[index] if index < len(layers) else clear)


def _draw_opaque(drawing: Drawing) -> Iterator[Pixels]:
    """Pictures of a model whose decoder makes an alpha channel that nobody asked for."""
    return map(_opaque, _draw_pictures(drawing))


def _draw_cutout(drawing: Drawing) -> Iterator[Pixels]:
    """Figures and lettering on nothing, as a decoder for transparent pictures gives them; over a canvas, opaque."""
    for scene in drawing.scenes:
        if drawing.canvas is not None:
            yield _opaque(_draw_picture(replace(drawing, region=None), scene))
            continue
        painting = paint(scene)
        yield stamp(_merge([painting.figures, painting.lettering, _marks(drawing)]))


def _opaque(pixels: Pixels) -> Pixels:
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def _merge(layers: list[Pixels]) -> Pixels:
    merged = Image.fromarray(layers[0]).copy()
    for layer in layers[1:]:
        merged.alpha_composite(Image.fromarray(layer))
    return np.asarray(merged)


def _upscale(pixels: Pixels, factor: int) -> Pixels:
    if factor == 1:
        return pixels
    size = (pixels.shape[1] * factor, pixels.shape[0] * factor)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


_FORMS: Mapping[Form, Callable[[Drawing], Iterator[Pixels]]] = {
    Form.PICTURES: _draw_pictures,
    Form.FRAMES: _draw_frames,
    Form.LAYERS: _draw_layers,
    Form.CUTOUT: _draw_cutout,
    Form.OPAQUE: _draw_opaque,
}
