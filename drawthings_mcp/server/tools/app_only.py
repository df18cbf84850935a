"""Tools that views alone call; models are not offered them."""

from __future__ import annotations

import base64
from typing import Annotated

import anyio.to_thread
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from pydantic import Field

from drawthings_mcp.params import Name, Names
from drawthings_mcp.references.parsing import decode_data_uri
from drawthings_mcp.server.session import Session, get_session, identify
from drawthings_mcp.server.strict_tool import StrictTool
from drawthings_mcp.server.tools.transform_image import show_made
from drawthings_mcp.server.views import VIEW_KEY
from drawthings_mcp.studio.results import MadePicture

_MAX_MASK = 8_000_000
"""Characters of a painted mask; one of 2048 pixels has some ten thousand."""


async def view_images(
    ctx: Context[Session, None],
    images: Annotated[Names, Field(min_length=1, max_length=25, description="Ids.")],
    max_edge: Annotated[int, Field(ge=64, le=2048, description="Longest side of each picture in pixels.")] = 1024,
) -> CallToolResult:
    session = get_session(ctx)
    found = await session.studio.gallery.find(images)
    return await session.viewer.show_to_view(identify(ctx), found.pictures, max_edge)


async def paint_mask(
    ctx: Context[Session, None],
    image: Annotated[Name, Field(min_length=1, description="The id of the picture that the mask is for.")],
    mask: Annotated[
        str,
        Field(
            max_length=_MAX_MASK,
            description="A data: URI of a picture of the same shape; white is repainted, black kept.",
        ),
    ],
) -> CallToolResult:
    session = get_session(ctx)
    kept = await session.studio.gallery.keep_mask(image, decode_data_uri(mask, _MAX_MASK))
    return await show_made(session, identify(ctx), MadePicture(kept), "mask_painted")


async def watch_job(
    ctx: Context[Session, None],
    job: Annotated[str, Field(max_length=40, description="The job's id, e.g. j1; left out: your newest.")] = "",
    prompt: Annotated[str, Field(max_length=10_000, description="Without an id: your newest with this prompt.")] = "",
) -> CallToolResult:
    from drawthings_mcp.attachments.thumbnails import MIME_TYPE, encode_glimpse

    session = get_session(ctx)
    found = await session.jobs.find(job) if job else session.jobs.find_newest(session, prompt)
    if found is None:
        return CallToolResult(content=[TextContent(text="No render goes on.")], _meta={VIEW_KEY: {}})
    data = {
        "job": found.id,
        "fraction": round(found.fraction, 4),
        "message": found.message,
        "isDone": found.is_done,
    }
    text = TextContent(text=f"{found.id}: {found.message}, {found.fraction:.0%}")
    glimpse = await anyio.to_thread.run_sync(encode_glimpse, *session.jobs.find_preview(found.id))
    image = ImageContent(data=base64.b64encode(glimpse).decode(), mime_type=MIME_TYPE)
    return CallToolResult(content=[text, image] if glimpse else [text], _meta={VIEW_KEY: data})


_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_MAKES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)

TOOLS = (
    StrictTool.from_function(
        view_images, title="View images", description="Pictures by id, for a view.", annotations=_READS
    ),
    StrictTool.from_function(
        paint_mask,
        title="Paint mask",
        description="Keeps a mask that was painted in a view; it becomes an i.",
        annotations=_MAKES,
    ),
    StrictTool.from_function(
        watch_job, title="Watch job", description="How far a render is, for a view.", annotations=_READS
    ),
)
