"""``transform_image``: cheap pixel work without a server, and enlarging, which is a render."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BeforeValidator, Field

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Text, say
from drawthings_mcp.jobs.job import Order
from drawthings_mcp.limits import MAX_SIDE, Fit, Operation
from drawthings_mcp.params import Boxes, Names
from drawthings_mcp.server.content import describe_exported, describe_made
from drawthings_mcp.server.face import MCP
from drawthings_mcp.server.session import Session, get_session, identify, render
from drawthings_mcp.server.strict_tool import StrictTool
from drawthings_mcp.server.viewer import ChatClient, describe_picture
from drawthings_mcp.studio.results import MadePicture

if TYPE_CHECKING:
    from drawthings_mcp.studio.export import ExportParams

_USED: Mapping[str, frozenset[str]] = {
    "crop": frozenset({"boxes"}),
    "resize": frozenset({"long_edge", "width", "height", "fit"}),
    "mask_rectangle": frozenset({"boxes", "grow", "feather"}),
    "mask_from_alpha": frozenset({"grow", "feather"}),
    "invert_mask": frozenset({"grow", "feather"}),
    "adjust_mask": frozenset({"grow", "feather"}),
    "side_by_side": frozenset({"labels", "long_edge"}),
    "contact_sheet": frozenset({"labels", "columns", "long_edge"}),
    "upscale": frozenset({"long_edge"}),
    "export": frozenset({"filename", "format", "keep_metadata"}),
}
"""What each operation reads besides its pictures."""

_DESCRIPTION = (
    "Upscale a picture for print or as the final (long_edge), crop, resize, put two side_by_side to compare, "
    "several on a labelled contact_sheet or strip, export as JPEG, WebP or PNG for the user. Masks for inpaint: "
    "from rectangles (mask_rectangle), from clear parts (mask_from_alpha), invert_mask, adjust_mask (grow, "
    "feather; shown red on the picture). Only upscale takes the model's time, and makes a v; all else is done at "
    "once and makes an i, to be used as canvas, mask or in review_image."
)
_SIMPLE = (
    "Upscale a picture for print or as the final, crop, resize, put two side_by_side to compare, several on a "
    "labelled contact_sheet, export as a file for the user. The result gets an id, to be used as canvas or in "
    "review_image."
)
_Edge = Annotated[int | None, Field(ge=1, le=MAX_SIDE, description="For resize; pixels.")]


def _split_labels(value: Any) -> Any:
    """``one, two`` as two labels, ``none`` as none."""
    if not isinstance(value, str):
        return value
    return [] if value.strip().lower() == "none" else [label.strip() for label in value.split(",")]


async def transform_image(
    ctx: Context[Session, None],
    operation: Annotated[
        Literal[Operation, "upscale", "export"],
        Field(description="What to do."),
    ],
    images: Annotated[Names, Field(min_length=1, max_length=25, description="Ids, latest, paths or URLs.")],
    boxes: Annotated[
        Boxes,
        Field(
            max_length=20,
            description="[[left, top, right, bottom], …] or {x, y, width, height}; from 0 to 1 as shares, or in pixels "
            "of the original.",
        ),
    ] = [],  # noqa: B006 - pydantic copies it
    long_edge: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_SIDE,
            description="Of resize, upscale (default: twice as large; A4 print 3508, A3 4961) or a sheet; pixels.",
        ),
    ] = None,
    width: _Edge = None,
    height: _Edge = None,
    fit: Annotated[Fit | None, Field(description="For resize to another shape.")] = None,
    labels: Annotated[
        list[str] | None,
        BeforeValidator(_split_labels),
        Field(max_length=25, description="On a sheet; [] for none. Default: ids."),
    ] = None,
    columns: Annotated[int | None, Field(ge=1, le=25, description="Of a sheet; 1 makes a strip.")] = None,
    grow: Annotated[int, Field(ge=-1024, le=1024, description="Pixels to enlarge a mask by; below 0 shrinks.")] = 0,
    feather: Annotated[int, Field(ge=0, le=512, description="Pixels over which a mask's edge fades.")] = 0,
    filename: Annotated[str, Field(max_length=1000, description="For export, e.g. poster.jpg. Default: its own.")] = "",
    format: Annotated[
        Literal["jpeg", "webp", "png"] | None, Field(description="For export. Default: by filename, else jpeg.")
    ] = None,
    keep_metadata: Annotated[bool, Field(description="For export; a position is always removed.")] = True,
) -> CallToolResult:
    from drawthings_mcp.studio.export import ExportParams
    from drawthings_mcp.studio.transform import TransformParams

    session, client = get_session(ctx), identify(ctx)
    unused = _note_unused(
        operation,
        **{"boxes": boxes, "long_edge": long_edge, "width": width, "height": height, "fit": fit, "labels": labels},
        **{"columns": columns, "grow": grow, "feather": feather},
        **{"filename": filename, "format": format, "keep_metadata": keep_metadata},
    )
    if operation == "upscale":
        if long_edge is None and (width or height):
            raise InvalidInputError(Text("upscale takes {long_edge}; the shape stays."), parameter="long_edge")
        return await _upscale(ctx, images, long_edge, unused)
    if operation == "export":
        return await _export(session, ExportParams(tuple(images), filename, format, keep_metadata), unused)
    params = TransformParams(
        operation,
        tuple(images),
        tuple(map(tuple, boxes)),
        long_edge,
        width,
        height,
        fit,
        labels=None if labels is None else tuple(labels),
        columns=columns,
        grow=grow,
        feather=feather,
    )
    made = await session.studio.gallery.transform(params)
    made = replace(made, notes=(*made.notes, *unused))
    return await show_made(session, client, made, operation)


async def show_made(session: Session, client: ChatClient, made: MadePicture, operation: str) -> CallToolResult:
    """A picture that was made of others, and if it is a mask, what it is a mask of."""
    gallery = session.studio.gallery
    shown = await gallery.draw_masks([made.picture])
    noted = made.with_notes(shown)
    facts: dict[str, Any] = {"pictures": [describe_picture(made.picture)]}
    if client.takes_views and (canvas := await gallery.find_masked(made.picture)) is not None:
        facts["canvas"] = describe_picture(canvas)
    return await session.viewer.show(
        client,
        lambda budget: describe_made(noted, operation, budget),
        outputs=shown,
        originals=[made.picture],
        facts=facts,
    )


def _note_unused(operation: str, **given: object) -> tuple[Text, ...]:
    """What was given and is not read by the operation."""
    defaults = signature(transform_image).parameters
    unused = [name for name, value in given.items() if name not in _USED[operation] and value != defaults[name].default]
    text = Text("{operation} does not use {names}", operation=say(operation), names=say(", ".join(unused)))
    return (text,) if unused else ()


async def _upscale(
    ctx: Context[Session, None], images: Sequence[str], long_edge: int | None, notes: Sequence[Text]
) -> CallToolResult:
    if len(images) != 1:
        raise InvalidInputError(f"upscale takes one picture, got {len(images)}.", parameter="images")
    arguments = {"picture": images[0], "long_edge": long_edge}
    return await render(ctx, Order("upscale", arguments, notes=tuple(map(MCP.word, notes))))


async def _export(session: Session, params: ExportParams, unused: Sequence[Text]) -> CallToolResult:
    pictures, notes = await session.studio.gallery.export(params)
    return CallToolResult(content=[TextContent(text=describe_exported(pictures, [*notes, *unused]))])


TOOL = StrictTool.from_function(
    transform_image,
    title="Transform image",
    description=_DESCRIPTION,
    annotations=ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
    ),
)
SIMPLE = TOOL.trim(
    _SIMPLE,
    operation=("crop", "resize", "upscale", "side_by_side", "contact_sheet", "export"),
    images=None,
    boxes=None,
    long_edge=None,
)
