"""Work on pictures without a server: crops, sizes, masks, comparisons, kept as ``iN``; and masks shown on pictures.

A box is left, top, right, bottom: pixels, or shares of width and height when all four are at most 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.attachments.grid import Captions, distorts
from drawthings_mcp.attachments.masks import adjust_mask
from drawthings_mcp.attachments.sheet import compose_sheet
from drawthings_mcp.errors import InvalidImageError, InvalidInputError, UnknownNameError
from drawthings_mcp.faces import Text, say
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import save_made
from drawthings_mcp.library.records import ImageRecord, Parent
from drawthings_mcp.library.recovery import MADE_FOLDER
from drawthings_mcp.limits import MAX_SIDE, Fit, Operation
from drawthings_mcp.planning.sweep import Axis
from drawthings_mcp.quoting import shorten_text
from drawthings_mcp.tensors.fitting import fit_pixels
from drawthings_mcp.tensors.picture_files import PictureFile
from drawthings_mcp.tensors.pixels import ImageLike, Pixels, ensure_pixels

Labelled: TypeAlias = tuple[str, ImageLike]

MAX_BOXES = 20
MAX_PICTURES = 25
"""On a contact sheet; more of them would be stamps."""
_COMPARED_EDGE = 2048
"""Longest side of a comparison: two pictures of the usual size side by side."""
_SHEET_EDGE = 1024
_MIN_SHEET = 256
_SEEN = 512
"""Side of each picture of a strip."""

_SMALLEST_BOX = 2
"""Right or bottom edge in pixels from which on a box with fractions is meant as one in pixels."""
_ZOOM = 16
"""Times that a part is enlarged at most: beyond that there is nothing but squares."""

_PAINTED = "mask_painted"
_MASKS = frozenset({"mask_rectangle", "mask_from_alpha", "invert_mask", "adjust_mask", _PAINTED})


@dataclass(frozen=True, slots=True)
class TransformParams:
    """One call.

    Attributes
    ----------
    images
        References; one, but two for ``side_by_side`` and several for ``contact_sheet``.
    boxes
        Left, top, right, bottom, in pixels or as shares; one for ``crop``, any number for ``mask_rectangle``.
    long_edge, width, height
        Pixels, for ``resize``; the first for sheets as well.
    fit
        How ``resize`` brings a picture to another shape.
    labels
        One for each picture of a sheet; empty for none, None for ids.
    columns
        Of a sheet.
    grow, feather
        Pixels by which a mask is made larger, or smaller, and over which its edge fades.
    """

    operation: Operation
    images: tuple[str, ...]
    boxes: tuple[tuple[float, ...], ...] = ()
    long_edge: int | None = None
    width: int | None = None
    height: int | None = None
    fit: Fit | None = None
    labels: tuple[str, ...] | None = None
    columns: int | None = None
    grow: int = 0
    feather: int = 0


def crop(picture: ImageLike, box: Sequence[float]) -> Pixels:
    """The part of a picture inside a box, which must lie inside the picture; ``(h, w, 3 or 4)``."""
    pixels = ensure_pixels(picture)
    left, top, right, bottom = _find_box(box, _measure(pixels))
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def resize(
    picture: ImageLike,
    *,
    long_edge: int | None = None,
    width: int | None = None,
    height: int | None = None,
    fit: Fit | None = None,
) -> Pixels:
    """A picture in another size; ``fit`` says what becomes of one whose ``width`` and ``height`` have another shape."""
    pixels = ensure_pixels(picture)
    size = _find_size(_measure(pixels), long_edge, width, height)
    for name, side in zip(("width", "height"), size, strict=True):
        if not 1 <= side <= MAX_SIDE:
            raise InvalidInputError(f"would be {side}, must be from 1 to {MAX_SIDE}.", parameter=name)
    if fit is None and width is not None and height is not None and distorts(_measure(pixels), size):
        raise InvalidInputError(
            Text(
                "says how: {width}×{height} pixels have another shape than the picture, {size}. crop cuts off what is "
                "too much, pad adds grey, stretch distorts; or give only {one} or {other}.",
                **{"width": width, "height": height, "size": "×".join(map(str, _measure(pixels)))},
                **{"one": say("width"), "other": say("height")},
            ),
            parameter="fit",
        )
    return fit_pixels(pixels, size, fit or "stretch")


def mask_rectangle(picture: ImageLike, boxes: Sequence[Sequence[float]]) -> Pixels:
    """A mask of the size of a picture, ``(H, W, 3)``: 255 inside the boxes, which is repainted, 0 elsewhere."""
    size = _measure(ensure_pixels(picture))
    if not 1 <= len(boxes) <= MAX_BOXES:
        raise InvalidInputError(f"from 1 to {MAX_BOXES} rectangles make a mask, got {len(boxes)}.", parameter="boxes")
    inside = np.zeros((size[1], size[0]), np.bool_)
    for box in boxes:
        left, top, right, bottom = _find_box(box, size)
        inside[top:bottom, left:right] = True
    return _draw_mask(inside)


def mask_from_alpha(picture: ImageLike) -> Pixels:
    """A mask from transparency, ``(H, W, 3)``: 255 where a picture is more clear than opaque, 0 elsewhere."""
    pixels = ensure_pixels(picture)
    clear = pixels[..., 3] < 128 if pixels.shape[2] == 4 else np.zeros(pixels.shape[:2], np.bool_)
    if not clear.any():
        raise InvalidImageError(
            "No part of the picture is transparent, so its mask would be empty; erase what is to change, or make a "
            "mask from a rectangle."
        )
    return _draw_mask(clear)


def invert_mask(mask: ImageLike) -> Pixels:
    """A mask that repaints what another one keeps; ``(H, W, 3)``, greys included."""
    pixels = ensure_pixels(mask)[..., :3]
    return np.ascontiguousarray(255 - pixels)


def side_by_side(left: Labelled, right: Labelled, *, long_edge: int = _COMPARED_EDGE) -> Pixels:
    """Two labelled pictures next to each other, for comparison; ``(h, w, 3)``, by default at most 2048 wide."""
    return np.asarray(compose_sheet([left, right], long_edge, columns=2))


def contact_sheet(pictures: Sequence[Labelled], *, columns: int | None = None, long_edge: int = _SHEET_EDGE) -> Pixels:
    """2 to 25 labelled pictures in reading order; ``(h, w, 3)``, by default at most 1024 wide and high."""
    if not 2 <= len(pictures) <= MAX_PICTURES:
        raise InvalidInputError(
            f"a contact sheet shows 2 to {MAX_PICTURES} pictures, got {len(pictures)}.", parameter="images"
        )
    return np.asarray(compose_sheet(pictures, long_edge, columns=columns))


def zoom(picture: ImageLike, box: Sequence[float], edge: int) -> tuple[Pixels, tuple[int, int, int, int]]:
    """The part of a picture inside a box, enlarged to a longer side of ``edge`` or as far as makes sense; its pixels.

    It is left as it is when it is larger.
    """
    pixels = ensure_pixels(picture)
    edges = left, top, right, bottom = _find_box(box, _measure(pixels), "box")
    part = np.ascontiguousarray(pixels[top:bottom, left:right])
    side = max(_measure(part))
    return (part if side >= edge else resize(part, long_edge=min(edge, side * _ZOOM))), edges


def _measure(pixels: Pixels) -> tuple[int, int]:
    return pixels.shape[1], pixels.shape[0]


def _find_box(box: Sequence[float], size: tuple[int, int], parameter: str = "boxes") -> tuple[int, int, int, int]:
    """Whole pixels of a box that lies inside a picture."""
    width, height = size
    if len(box) != 4 or not all(math.isfinite(edge) for edge in box):
        raise InvalidInputError(f"each is left, top, right, bottom, got {list(box)}.", parameter=parameter)
    # A share that is a little too large is no pixel.
    are_shares = max(box) <= 1 or (max(box) < _SMALLEST_BOX and any(edge % 1 for edge in box))
    scales = (width, height, width, height) if are_shares else (1, 1, 1, 1)
    edges = [edge * scale for edge, scale in zip(box, scales, strict=True)]
    left, top, right, bottom = map(round, edges)
    is_inside = min(edges) >= 0 and edges[2] <= width and edges[3] <= height
    if not (is_inside and left < right and top < bottom):
        raise InvalidInputError(
            f"[{', '.join(f'{edge:g}' for edge in box)}] has no pixel, or some outside of the picture; left and right "
            f"are from 0 to {width}, top and bottom from 0 to {height}, or all from 0 to 1 as shares.",
            parameter=parameter,
        )
    return left, top, right, bottom


def _find_size(size: tuple[int, int], long_edge: int | None, width: int | None, height: int | None) -> tuple[int, int]:
    if (long_edge is None) == (width is None and height is None):
        raise InvalidInputError(
            Text("resize takes {long_edge}, or {width}, or {height}, or {width} and {height} together.")
        )
    if width is not None and height is not None:
        return width, height
    choices = ((long_edge, max(size)), (width, size[0]), (height, size[1]))
    wanted, given = next((wanted, given) for wanted, given in choices if wanted is not None)
    if wanted < 1:
        return wanted, wanted
    return max(1, round(size[0] * wanted / given)), max(1, round(size[1] * wanted / given))


def _draw_mask(inside: NDArray[np.bool_]) -> Pixels:
    return np.repeat(np.where(inside, np.uint8(255), np.uint8(0))[..., np.newaxis], 3, axis=2)


_MAX_ANCESTORS = 25
_PRINT_EDGE = 2048
"""Longest side of a sheet for a person's screen."""

Make: TypeAlias = Callable[[TransformParams, Sequence[ImageRecord]], Pixels]


def make(
    params: TransformParams, pictures: Sequence[ImageRecord], catalog: ImageCatalog, state_dir: Path
) -> ImageRecord:
    """Makes and keeps the picture. Blocks."""
    least, most = {"side_by_side": (2, 2), "contact_sheet": (2, MAX_PICTURES)}.get(params.operation, (1, 1))
    if not least <= len(pictures) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise InvalidInputError(
            f"{params.operation} takes {wanted} different images, got {len(pictures)}.", parameter="images"
        )
    pixels = _OPERATIONS[params.operation](params, pictures)
    if params.operation in _MASKS and (params.grow or params.feather or params.operation == "adjust_mask"):
        pixels = adjust_mask(pixels, grow=params.grow, feather=params.feather)
    return _keep(pixels, params.operation, [picture.id for picture in pictures], catalog, state_dir)


def keep_painted_mask(picture: ImageRecord, painted: bytes, catalog: ImageCatalog, state_dir: Path) -> ImageRecord:
    """Keeps a mask that was painted over a picture, in the picture's size. Blocks.

    Parameters
    ----------
    painted
        A picture file of the same shape, of any size: white where the picture changes, black where it stays.
    """
    pixels = ensure_pixels(painted)
    if distorts(picture.size, _measure(pixels)):
        raise InvalidInputError(
            f"has {pixels.shape[1]}×{pixels.shape[0]} pixels, which is not the shape of {picture.id}.", parameter="mask"
        )
    level = fit_pixels(pixels[..., :3], picture.size, "stretch").mean(axis=2, keepdims=True)
    if not (level >= _HALF).any():
        raise InvalidInputError("is empty: nothing would change.", parameter="mask")
    mask = np.repeat(level.round().astype(np.uint8), 3, axis=2)
    return _keep(mask, _PAINTED, [picture.id], catalog, state_dir)


_HALF = 128
_MOST_CAPTION = 24
"""Characters of a value on a sheet; more of them would be too small to read."""


def keep_sweep(
    pictures: Sequence[ImageRecord], axes: Sequence[Axis], catalog: ImageCatalog, state_dir: Path
) -> ImageRecord:
    """A sheet of the pictures of one call, with what sets them apart; they come row by row. Blocks."""
    values = [[shorten_text(label, _MOST_CAPTION) for label in axis.labels] for axis in axes]
    labels, captions = [picture.id for picture in pictures], Captions()
    if len(axes) > 1:
        columns, rows = (
            tuple(f"{axis.name}\n{value}" for value in shown) for axis, shown in zip(axes, values, strict=True)
        )
        captions = Captions(columns, rows)
    elif axes[0].name != "prompt":
        labels = [f"{name}: {value}" for name, value in zip(labels, values[0], strict=True)]
    labelled = list(zip(labels, map(_get_file, pictures), strict=True))
    pixels = np.asarray(compose_sheet(labelled, _PRINT_EDGE, captions=captions))
    return _keep(pixels, "contact_sheet", [picture.id for picture in pictures], catalog, state_dir)


def keep_sheet(labelled: Sequence[tuple[str, ImageLike]], catalog: ImageCatalog, state_dir: Path) -> ImageRecord:
    """A labelled sheet of pictures that may have no files of their own. Blocks."""
    pixels = np.asarray(compose_sheet(labelled, _PRINT_EDGE))
    return _keep(pixels, "contact_sheet", [name for name, _ in labelled], catalog, state_dir)


def _keep(
    pixels: Pixels, operation: str, sources: Sequence[str], catalog: ImageCatalog, state_dir: Path
) -> ImageRecord:
    parents = tuple(Parent("source", name) for name in sources)
    folder = state_dir / MADE_FOLDER
    image_id = catalog.reserve("i", folder)
    extra = {"id": image_id, "operation": operation, "parents": parents}
    saved = save_made(pixels, folder, f"{image_id}_{operation}", extra=extra)
    return catalog.add(
        "i",
        saved.path,
        reserved=image_id,
        created=datetime.now().astimezone(),
        width=pixels.shape[1],
        height=pixels.shape[0],
        sha256=saved.sha256,
        size_bytes=saved.size_bytes,
        format=saved.format,
        parents=parents,
    )


def _crop_one(params: TransformParams, pictures: Sequence[ImageRecord]) -> Pixels:
    if len(params.boxes) != 1:
        raise InvalidInputError(
            f"crop takes one box, left, top, right, bottom; got {len(params.boxes)}.", parameter="boxes"
        )
    return crop(_get_file(pictures[0]), params.boxes[0])


def _choose_edge(params: TransformParams, usual: int) -> int:
    """Longest side of a sheet."""
    edge = params.long_edge or usual
    if edge < _MIN_SHEET:
        raise InvalidInputError(f"a sheet has at least {_MIN_SHEET} pixels, got {edge}.", parameter="long_edge")
    return edge


def _find_sheet_edge(count: int, columns: int | None) -> int:
    """Longest side of a sheet for which none is given: a strip is as long as its pictures need to be seen."""
    most = max(columns, math.ceil(count / columns)) if columns else 0
    return min(MAX_SIDE, max(_SHEET_EDGE, most * _SEEN))


def _adjust_one(params: TransformParams, pictures: Sequence[ImageRecord]) -> Pixels:
    if not (params.grow or params.feather):
        raise InvalidInputError(Text("adjust_mask takes {grow}, {feather}, or both, in pixels."), parameter="grow")
    return ensure_pixels(_get_file(pictures[0]))


def _label(params: TransformParams, pictures: Sequence[ImageRecord]) -> list[Labelled]:
    """Pictures with their ids, with what they are to be called, or with nothing."""
    labels = [picture.id for picture in pictures] if params.labels is None else params.labels or [""] * len(pictures)
    if len(labels) != len(pictures):
        raise InvalidInputError(
            f"one for each of the {len(pictures)} different images, or [] for none; got {len(labels)}.",
            parameter="labels",
        )
    return [(label, _get_file(picture)) for label, picture in zip(labels, pictures, strict=True)]


def _get_file(picture: ImageRecord) -> PictureFile:
    if picture.path is None:
        raise InvalidImageError(f"{picture.id} has no file of its own.")
    return picture.source


_OPERATIONS: Mapping[Operation, Make] = {
    "crop": _crop_one,
    "resize": lambda params, pictures: resize(
        _get_file(pictures[0]),
        **{name: getattr(params, name) for name in ("long_edge", "width", "height", "fit")},
    ),
    "mask_rectangle": lambda params, pictures: mask_rectangle(_get_file(pictures[0]), params.boxes),
    "mask_from_alpha": lambda _, pictures: mask_from_alpha(_get_file(pictures[0])),
    "invert_mask": lambda _, pictures: invert_mask(_get_file(pictures[0])),
    "adjust_mask": _adjust_one,
    "side_by_side": lambda params, pictures: side_by_side(
        *_label(params, pictures), long_edge=_choose_edge(params, _COMPARED_EDGE)
    ),
    "contact_sheet": lambda params, pictures: contact_sheet(
        _label(params, pictures),
        columns=params.columns,
        long_edge=_choose_edge(params, _find_sheet_edge(len(pictures), params.columns)),
    ),
}


def find_masked(mask: ImageRecord, catalog: ImageCatalog) -> ImageRecord | None:
    """The picture that a mask of ours is for, whatever was done to the mask since; None for what is no such mask."""
    record, left = mask, _MAX_ANCESTORS
    while left and _is_mask(record) and record.parents:
        try:
            record, left = catalog.get(record.parents[0].id), left - 1
        except UnknownNameError:
            return None
    return record if record is not mask and not _is_mask(record) and record.path is not None else None


def _is_mask(record: ImageRecord) -> bool:
    """By the name under which it was kept: ``i3_mask_rectangle``."""
    operation = record.path.stem.partition("_")[2].partition("-")[0] if record.path is not None else ""
    return record.kind == "i" and operation in _MASKS
