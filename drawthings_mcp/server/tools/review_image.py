"""``review_image``: pictures shown again, and the test whether they are seen."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.server.arguments import Names
from drawthings_mcp.server.content import describe_found
from drawthings_mcp.server.session import Session, get_session
from drawthings_mcp.server.strict_tool import StrictTool
from drawthings_mcp.server.viewer import Client, Viewer, identify
from drawthings_mcp.server.vision_check import SIGHT, answer_sight, show_sight

_DESCRIPTION = (
    "Shows you pictures again, whatever was shown before: any ids (a1, v3, p2, i1), latest, paths or URLs. Use it for "
    'what a result lists as not shown, or to look closer with a larger max_edge. images=["sight"] shows a test '
    'picture with four large signs; repeat them with sight="…" in your next call to prove that you see pictures.'
)
_MAX_IMAGES = 5


async def review_image(
    ctx: Context[Session, None],
    images: Annotated[
        Names, Field(max_length=_MAX_IMAGES, description="1 to 5 ids, paths or URLs; or sight alone.")
    ] = [],  # noqa: B006 - pydantic copies it
    max_edge: Annotated[int, Field(ge=256, le=1568, description="Longest side of each picture in pixels.")] = 1024,
    sight: Annotated[str, Field(max_length=100, description="The signs that you read in the test picture.")] = "",
) -> CallToolResult:
    session, client = get_session(ctx), identify(ctx)
    wanted = [name for name in images if name.strip().lower() != SIGHT]
    if not sight and len(wanted) < len(images):
        return await show_sight(session, wanted)
    verdict = await answer_sight(session, client, sight) if sight else ""
    if verdict and not wanted:
        return CallToolResult(content=[TextContent(text=verdict)])
    return await _show(session.viewer, client, wanted, max_edge, verdict)


async def _show(viewer: Viewer, client: Client, images: list[str], max_edge: int, verdict: str) -> CallToolResult:
    if not images:
        raise InvalidInputError('images: name 1 to 5 pictures, e.g. ["v3"], or ["sight"] to test whether you see.')
    found = await viewer.studio.gallery.find(images)
    describe = partial(describe_found, found, verdict)
    return await viewer.show(client, describe, outputs=found.pictures, max_outputs=_MAX_IMAGES, max_edge=max_edge)


TOOL = StrictTool.from_function(
    review_image,
    title="Review image",
    description=_DESCRIPTION,
    annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
)
