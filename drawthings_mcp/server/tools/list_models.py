"""``list_models``: what the server can use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from drawthings_mcp.quoting import MAX_FILE, clean, label, quote
from drawthings_mcp.server.content import describe_notes
from drawthings_mcp.server.face import MCP
from drawthings_mcp.server.resources import find_guides, read_guide
from drawthings_mcp.server.session import Session, get_session
from drawthings_mcp.server.strict_tool import StrictTool

if TYPE_CHECKING:
    from drawthings_mcp.studio.listing import CatalogListing, CatalogRow

_DESCRIPTION = (
    "Which model for what: models for photos, illustration, posters, anime, video, what each is best for and how "
    "fast; those used by default first. Also LoRAs (styles) with trigger words, controls, upscalers, embeddings, "
    "and presets, the user's own and the built-in ones, with files they still lack. Names and files can be passed "
    'to generate_image, which picks a model by itself. kind="guides" with query="edit", "flux", … is help on '
    "writing prompts."
)
_SIMPLE = (
    "Which model for what: models for photos, illustration, posters, anime, and what each is best for; those used "
    "by default first. A name or file can be passed to generate_image as model; without one the best is picked. "
    'kind="guides" with query="edit", "flux", … is help on writing prompts.'
)

_ListedKind = Literal["models", "loras", "controls", "upscalers", "embeddings", "presets", "guides", "all"]


async def list_models(
    ctx: Context[Session, None],
    kind: Annotated[_ListedKind, Field(description="What to list.")] = "models",
    query: Annotated[str, Field(max_length=200, description="Words in name, file, family, purpose: posters.")] = "",
    family: Annotated[str, Field(max_length=60, description="E.g. z-image, qwen-image, flux, sdxl.")] = "",
    mode: Annotated[
        Literal["text2image", "image2image", "edit", "inpaint"] | None, Field(description="Only what serves this mode.")
    ] = None,
    offset: Annotated[int, Field(ge=0, description="Rows to skip.")] = 0,
    limit: Annotated[int, Field(ge=1, le=100, description="Rows to return.")] = 25,
) -> CallToolResult:
    if kind == "guides":
        return CallToolResult(content=[TextContent(text=await _describe_guides(query or mode or family))])
    studio = get_session(ctx).studio
    listing = await studio.list_catalog(kind, query=query, family=family, mode=mode or "", offset=offset, limit=limit)
    return CallToolResult(
        content=[TextContent(text=describe_listing(listing))],
        structured_content={
            "server": listing.server,
            "total": listing.total,
            "offset": listing.offset,
            "rows": list(map(_build_row, listing.rows)),
        },
    )


def _build_row(row: CatalogRow) -> dict[str, str]:
    """What a call can name it by; all else stands in the text."""
    file = {"file": clean(row.file, MAX_FILE)} if row.file else {}
    return {"id": clean(row.name), **file} if row.kind == "preset" or not file else file


async def _describe_guides(query: str) -> str:
    """The guide that is meant, or the guides that may be."""
    guides = find_guides(query)
    if len(guides) == 1:
        return await read_guide(guides[0].uri)
    lines = [f"{guide.name}: {guide.description}" for guide in guides]
    return "\n".join([*lines, 'Read one: call list_models(kind="guides", query="<its name>")'])


def _describe_row(row: CatalogRow) -> str:
    name, file = quote(row.name) if row.name else "", label(row.file) if row.file else ""
    return " | ".join(filter(None, (row.kind, name, file, row.family, MCP.word(row.describe()))))


def describe_listing(listing: CatalogListing) -> str:
    """A line per row, then how to get the rest."""
    lines = list(map(_describe_row, listing.rows))
    shown = listing.offset + len(listing.rows)
    if not lines and listing.total:
        lines = [f"There are {listing.total} rows; offset={listing.offset} is past the last."]
    elif not lines:
        lines = ["Nothing matches. Leave out query, family or mode to see more."]
    elif shown < listing.total:
        lines.append(f"{shown} of {listing.total}; go on with offset={shown}")
    if not listing.browsing:
        lines.append(
            "This server does not let its models be browsed, so only files of presets could be looked for. "
            "Switch on model browsing (in the app: API Server → Enable Model Browsing; stand-alone: --model-browser)."
        )
    lines += describe_notes(listing.notes)
    return "\n".join(lines)


TOOL = StrictTool.from_function(
    list_models,
    title="List models",
    description=_DESCRIPTION,
    annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
)
SIMPLE = TOOL.trim(_SIMPLE, kind=("models", "guides"), query=None)
