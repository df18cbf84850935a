"""``transform_image``: cheap pixel work without a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import BeforeValidator, Field

from drawthings_mcp.limits import MAX_SIDE
from drawthings_mcp.params import Names
from drawthings_mcp.server.content import describe_made
from drawthings_mcp.server.session import Session, get_session, identify
from drawthings_mcp.server.strict_tool import StrictTool

_DESCRIPTION = (
    "Makes a picture from others at once, without a model: crop, resize, a mask for inpaint from rectangles "
    "(mask_rectangle) or from clear parts (mask_from_alpha), invert_mask, two pictures side_by_side to compare, a "
    "labelled contact_sheet. The result is kept as an i id, to be used as canvas, mask or in review_image."
)
_NUMBER = re.compile(r"-?\d*\.?\d+")
_EDGES = ("left", "top", "right", "bottom")


def _list_boxes(value: Any) -> Any:
    """One box where several are meant; boxes as texts or as objects with named edges."""
    is_one = isinstance(value, str | dict) or (
        isinstance(value, list) and len(value) == len(_EDGES) and all(isinstance(edge, int | float) for edge in value)
    )
    items = [value] if is_one else value
    return list(map(_parse_box, items)) if isinstance(items, list) else value


def _parse_box(box: Any) -> Any:
    if isinstance(box, dict) and box.keys() == set(_EDGES):
        return [box[edge] for edge in _EDGES]
    if isinstance(box, str):
        numbers = list(_find_numbers(box))
        return numbers if len(numbers) == len(_EDGES) else box
    return box


def _find_numbers(text: str) -> Iterator[float]:
    return (float(number) for number in _NUMBER.findall(text))


_Boxes = Annotated[list[list[float]], BeforeValidator(_list_boxes)]
"""Left, top, right and bottom of several rectangles."""
_Edge = Annotated[int | None, Field(ge=1, le=MAX_SIDE, description="For resize; pixels.")]


async def transform_image(
    ctx: Context[Session, None],
    operation: Annotated[
        Literal["crop", "resize", "mask_rectangle", "mask_from_alpha", "invert_mask", "side_by_side", "contact_sheet"],
        Field(description="What to do."),
    ],
    images: Annotated[Names, Field(min_length=1, max_length=25, description="Ids, latest, paths or URLs.")],
    boxes: Annotated[
        _Boxes,
        Field(
            max_length=20,
            description="[[left, top, right, bottom], …] from 0 to 1 as shares, or in pixels of the original.",
        ),
    ] = [],  # noqa: B006 - pydantic copies it
    long_edge: _Edge = None,
    width: _Edge = None,
    height: _Edge = None,
) -> CallToolResult:
    from drawthings_mcp.studio.transform import TransformParams

    session, client = get_session(ctx), identify(ctx)
    made = await session.studio.gallery.transform(
        TransformParams(operation, tuple(images), tuple(map(tuple, boxes)), long_edge, width, height)
    )
    return await session.viewer.show(
        client, lambda budget: describe_made(made, operation, budget), outputs=[made.picture]
    )


TOOL = StrictTool.from_function(
    transform_image,
    title="Transform image",
    description=_DESCRIPTION,
    annotations=ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
    ),
)
