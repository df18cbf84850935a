"""``review_image``: pictures shown again, and the test whether they are seen."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.server.session import Session, get_session
from drawthings_mcp.server.sight import SIGHT, answer_sight, show_sight
from drawthings_mcp.server.strict_tool import StrictTool
from drawthings_mcp.server.viewer import Client, Viewer, identify, join_lines

_DESCRIPTION = (
    "Shows you pictures again, whatever was shown before: any ids (a1, v3, p2, i1), latest, paths or URLs. Use it for "
    'what a result lists as not shown, or to look closer with a larger max_edge. images=["sight"] shows a test '
    'picture with four large signs; repeat them with sight="…" in your next call to prove that you see pictures.'
)
_MAX_IMAGES = 5


async def review_image(
    ctx: Context[Session, None],
    images: Annotated[
        list[str], Field(max_length=_MAX_IMAGES, description="1 to 5 ids, paths or URLs; or sight alone.")
    ] = [],  # noqa: B006 - pydantic copies it
    max_edge: Annotated[int, Field(ge=256, le=1568, description="Longest side of each picture in pixels.")] = 1024,
    sight: Annotated[str, Field(max_length=100, description="The signs that you read in the test picture.")] = "",
) -> CallToolResult:
    session, client = get_session(ctx), identify(ctx)
    if sight:
        verdict = await answer_sight(session, client, sight)
        return verdict if not images else await _show(session.viewer, client, images, max_edge, verdict)
    if [name.strip().lower() for name in images] == [SIGHT]:
        return await show_sight(session)
    return await _show(session.viewer, client, images, max_edge)


async def _show(
    viewer: Viewer, client: Client, images: list[str], max_edge: int, verdict: CallToolResult | None = None
) -> CallToolResult:
    if not images:
        raise InvalidInputError('images: name 1 to 5 pictures, e.g. ["v3"], or ["sight"] to test whether you see.')
    found = await viewer.studio.gallery.find(images)
    heads = [block.text for block in (verdict.content if verdict else ()) if isinstance(block, TextContent)]
    files = [f"{picture.id}: {picture.path} {picture.size[0]}×{picture.size[1]}" for picture in found.pictures]
    notes = [f"note: {note}" for note in found.notes]
    policy = viewer.choose_policy(client, "always").replace(max_outputs=_MAX_IMAGES, max_edge=max_edge)
    return await viewer.show(
        client, policy, lambda budget: join_lines([*heads, *files, budget, *notes]), outputs=found.pictures
    )


TOOL = StrictTool.from_function(
    review_image,
    title="Review image",
    description=_DESCRIPTION,
    annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
)
