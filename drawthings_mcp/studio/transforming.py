"""One call of ``transform_image``: which operation, on which pictures, kept as ``iN``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.attachments.sheet import compose_sheet
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import save_made
from drawthings_mcp.library.records import Parent
from drawthings_mcp.library.recovery import MADE_FOLDER
from drawthings_mcp.studio import transform
from drawthings_mcp.studio.results import Picture
from drawthings_mcp.tensors.pixels import ImageLike

Operation = Literal[
    "crop", "resize", "mask_rectangle", "mask_from_alpha", "invert_mask", "side_by_side", "contact_sheet"
]


@dataclass(frozen=True, slots=True)
class TransformArguments:
    """One call.

    Attributes
    ----------
    images
        References; one, but two for ``side_by_side`` and several for ``contact_sheet``.
    boxes
        Left, top, right, bottom, in pixels or as shares; one for ``crop``, any number for ``mask_rectangle``.
    long_edge, width, height
        Pixels, for ``resize``.
    """

    operation: Operation
    images: tuple[str, ...]
    boxes: tuple[tuple[float, ...], ...] = ()
    long_edge: int | None = None
    width: int | None = None
    height: int | None = None


_SHEET_EDGE = 2048
"""Longest side of a sheet for a person's screen."""

Make: TypeAlias = Callable[[TransformArguments, Sequence[Picture]], NDArray[np.uint8]]


def make(arguments: TransformArguments, pictures: Sequence[Picture], catalog: ImageCatalog, state_dir: Path) -> Picture:
    """Makes and keeps the picture. Blocks.

    Raises
    ------
    InvalidInputError
        The operation wants other arguments; says which.
    """
    least, most = _COUNTS.get(arguments.operation, (1, 1))
    if not least <= len(pictures) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise InvalidInputError(f"images: {arguments.operation} takes {wanted} different images, got {len(pictures)}.")
    pixels = _OPERATIONS[arguments.operation](arguments, pictures)
    return _keep(pixels, arguments.operation, [picture.id for picture in pictures], catalog, state_dir)


def keep_sheet(labelled: Sequence[tuple[str, ImageLike]], catalog: ImageCatalog, state_dir: Path) -> Picture:
    """A labelled sheet of pictures that may have no files of their own. Blocks."""
    pixels = np.asarray(compose_sheet(labelled, _SHEET_EDGE))
    return _keep(pixels, "contact_sheet", [name for name, _ in labelled], catalog, state_dir)


def _keep(
    pixels: NDArray[np.uint8], operation: str, sources: Sequence[str], catalog: ImageCatalog, state_dir: Path
) -> Picture:
    parents = tuple(Parent("source", name) for name in sources)
    folder = state_dir / MADE_FOLDER
    image_id = catalog.reserve("i", folder)
    extra = {"id": image_id, "operation": operation, "parents": parents}
    saved = save_made(pixels, folder, f"{image_id}_{operation}", extra=extra)
    catalog.add(
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
    return Picture(image_id, saved.path, (pixels.shape[1], pixels.shape[0]))


def _crop(arguments: TransformArguments, pictures: Sequence[Picture]) -> NDArray[np.uint8]:
    if len(arguments.boxes) != 1:
        raise InvalidInputError(f"boxes: crop takes one box, left, top, right, bottom; got {len(arguments.boxes)}.")
    return transform.crop(pictures[0].path, arguments.boxes[0])


def _resize(arguments: TransformArguments, pictures: Sequence[Picture]) -> NDArray[np.uint8]:
    return transform.resize(
        pictures[0].path, long_edge=arguments.long_edge, width=arguments.width, height=arguments.height
    )


def _side_by_side(_: TransformArguments, pictures: Sequence[Picture]) -> NDArray[np.uint8]:
    left, right = pictures
    return transform.side_by_side((left.id, left.path), (right.id, right.path))


_COUNTS: Mapping[Operation, tuple[int, int]] = {
    "side_by_side": (2, 2),
    "contact_sheet": (2, transform.MAX_PICTURES),
}
"""Pictures that an operation takes; one when it is not listed."""

_OPERATIONS: Mapping[Operation, Make] = {
    "crop": _crop,
    "resize": _resize,
    "mask_rectangle": lambda arguments, pictures: transform.mask_rectangle(pictures[0].path, arguments.boxes),
    "mask_from_alpha": lambda _, pictures: transform.mask_from_alpha(pictures[0].path),
    "invert_mask": lambda _, pictures: transform.invert_mask(pictures[0].path),
    "side_by_side": _side_by_side,
    "contact_sheet": lambda _, pictures: transform.contact_sheet([(image.id, image.path) for image in pictures]),
}
