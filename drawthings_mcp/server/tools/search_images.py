"""``search_images``: pictures found again, each with an id under which it can be used."""

from __future__ import annotations

from typing import Annotated, Literal

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field

from drawthings_mcp.params import Name
from drawthings_mcp.server.face import MCP
from drawthings_mcp.server.session import Session, get_session, identify
from drawthings_mcp.server.strict_tool import StrictTool

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

    # All hits share one place: a sheet, in the order of the rows.
    return await session.viewer.show(client, describe, outputs=page.hits, max_inputs=0, max_outputs=1)


TOOL = StrictTool.from_function(
    search_images,
    title="Search images",
    description=_DESCRIPTION,
    annotations=ToolAnnotations(read_only_hint=True, open_world_hint=True),
)
SIMPLE = TOOL.trim(_SIMPLE, query=None, like=None, source=None)
