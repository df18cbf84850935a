"""``search_images``: pictures found again, each with an id under which it can be used."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio.to_thread
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.params import Name
from drawthings_mcp.server.face import MCP
from drawthings_mcp.server.session import Session, get_session, identify
from drawthings_mcp.server.strict_tool import StrictTool
from drawthings_mcp.server.viewer import describe_picture

if TYPE_CHECKING:
    from drawthings_mcp.search.hits import Hit, HitPage

_DESCRIPTION = (
    "Find earlier pictures and photos on the user's machine by what is remembered: a sentence, words of the prompt, "
    "model, LoRA, size, date, tag, or like another picture, with words that must fit (like=v8, query=blue). The query "
    'may filter: -blurry "exact phrase" fox OR wolf size:>=1024 steps:<10 cfg:7 negative:text path:holiday rating:>=4 '
    "is:duplicate. source=web asks the internet. Returns rows, id • prompt • size • model • LoRAs • match • source • "
    "date, and a labelled sheet. Ids can be used at once as canvas, moodboard or in review_image."
)
_SIMPLE = (
    "Find earlier pictures and photos on the user's machine by words of their prompt, or those like another picture "
    "(like=v8, query=blue). source=web asks the internet. Returns rows with ids and one labelled sheet. Ids can be "
    "used at once as canvas, moodboard or in review_image."
)
_SMALL_EDGE, _MAX_SMALL = 224, 9_000
"""Longest side in pixels, and bytes, of a picture in a view."""
_SHARE = 3
"""All of them together take at most one of so many parts of a result."""


async def search_images(
    ctx: Context[Session, None],
    query: Annotated[str, Field(max_length=1000, description="Words; empty lists the newest.")] = "",
    source: Annotated[
        Literal["all", "generated", "folders", "projects", "web"], Field(description="Where to look.")
    ] = "all",
    like: Annotated[
        Name, Field(description="A picture (id, path) to find similar ones; query narrows them: blue.")
    ] = "",
    model: Annotated[str, Field(max_length=200, description="Part of a model's name.")] = "",
    lora: Annotated[str, Field(max_length=200, description="Part of a LoRA's name.")] = "",
    size: Annotated[str, Field(max_length=40, description="E.g. 1024x1024, >=2048, portrait.")] = "",
    since: Annotated[str, Field(max_length=40, description="E.g. 2026-11, yesterday, 7d.")] = "",
    until: Annotated[str, Field(max_length=40, description="Like since.")] = "",
    tag: Annotated[str, Field(max_length=100, description="A tag (tag_image).")] = "",
    sort: Annotated[Literal["best", "newest", "oldest", "rating", "size"], Field(description="Order.")] = "best",
    offset: Annotated[int, Field(ge=0, le=10_000, description="Rows to skip.")] = 0,
    limit: Annotated[int, Field(ge=1, le=25, description="Rows to return.")] = 12,
) -> CallToolResult:
    session, client = get_session(ctx), identify(ctx)
    page = await session.studio.finder.search(
        query=query,
        source=source,
        like=like,
        model=model,
        lora=lora,
        size=size,
        since=since,
        until=until,
        tag=tag,
        sort=sort,
        offset=offset,
        limit=limit,
    )
    rows = [hit.describe(MCP) for hit in page.hits]

    def describe(budget: str) -> str:
        return "\n".join([*rows, *([budget] if rows else []), *page.describe_rest(MCP)])

    room = session.viewer.get_policy(client).max_characters // _SHARE
    facts = await _list_facts(page, rows, room) if client.takes_views else None
    # All hits share one place: a sheet, in the order of the rows.
    return await session.viewer.show(client, describe, outputs=page.hits, facts=facts, max_inputs=0, max_outputs=1)


async def _list_facts(page: HitPage, rows: Sequence[str], room: int) -> dict[str, Any]:
    """What a view shows: each hit with a picture, all of them in ``room`` characters; the web is not asked for any."""
    from drawthings_mcp.attachments.preview import encode_preview

    max_bytes = min(room // max(len(rows), 1) * 3 // 4, _MAX_SMALL)

    def draw(hit: Hit, row: str) -> dict[str, Any]:
        described = {**describe_picture(hit), "about": row}
        try:
            preview = encode_preview(hit.source, max_bytes=max_bytes, max_edge=_SMALL_EDGE)
        except DrawThingsError:
            return described
        return {**described, "small": f"data:{preview.mime_type};base64,{base64.b64encode(preview.data).decode()}"}

    pictures = await anyio.to_thread.run_sync(lambda: list(map(draw, page.hits, rows)))
    return {"pictures": pictures, "total": page.total, "offset": page.offset}


TOOL = StrictTool.from_function(
    search_images,
    title="Search images",
    description=_DESCRIPTION,
    annotations=ToolAnnotations(read_only_hint=True, open_world_hint=True),
)
SIMPLE = TOOL.trim(_SIMPLE, query=None, like=None, source=None)
