"""``tag_image``: words and ratings that the user gives to pictures, to find them by."""

from __future__ import annotations

import re
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BeforeValidator, Field

from drawthings_mcp.params import Names
from drawthings_mcp.quoting import clean
from drawthings_mcp.server.session import Session, get_session
from drawthings_mcp.server.strict_tool import StrictTool

_DESCRIPTION = (
    "Mark favourite pictures: rate them 1 to 5, give tags, take them off, or list all tags. search_images finds them "
    "with tag=… or rating:>=4 in its query. They belong to the picture, wherever its file is moved or copied."
)
_SIMPLE = "Mark favourite pictures: rate them 1 to 5 or give tags; without images it lists all tags."


def _split_tags(value: Any) -> Any:
    """``best, blue`` as two tags."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        return items
    return [part for item in items for part in (_split_text(item) if isinstance(item, str) else [item])]


def _split_text(text: str) -> list[str]:
    return [part for piece in re.split("[,;\n]", text) if (part := piece.strip().lstrip("#"))]


_TagNames = Annotated[
    list[str], BeforeValidator(_split_tags), Field(max_length=20, description="Tags of a few words each.")
]


async def tag_image(
    ctx: Context[Session, None],
    images: Annotated[Names, Field(max_length=25, description="Ids, paths; none lists all tags.")] = [],  # noqa: B006
    add: _TagNames = [],  # noqa: B006 - pydantic copies it
    remove: _TagNames = [],  # noqa: B006 - pydantic copies it
    rating: Annotated[int | None, Field(ge=0, le=5, description="Stars, 1 to 5; 0 removes them.")] = None,
) -> CallToolResult:
    finder = get_session(ctx).studio.finder
    if not images:
        counts = await finder.list_tags()
        lines = [f"{clean(tag)}: {count}" for tag, count in counts.items()] or ["There are no tags yet."]
        return CallToolResult(content=[TextContent(text="\n".join(lines))])
    tags = await finder.change_tags(images, add, remove, rating)
    lines = [f"{name}: {', '.join(map(clean, of_one)) or 'no tags'}" for name, of_one in tags.items()]
    return CallToolResult(content=[TextContent(text="\n".join(lines))])


TOOL = StrictTool.from_function(
    tag_image,
    title="Tag image",
    description=_DESCRIPTION,
    annotations=ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    ),
)
SIMPLE = TOOL.trim(_SIMPLE, images=None, add=None, rating=None)
