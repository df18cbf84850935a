"""``review_image``: pictures shown again, and the vision check: random signs, which the model repeats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import anyio.to_thread
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from drawthings_mcp.errors import InvalidInputError, StorageError
from drawthings_mcp.faces import Step, Text
from drawthings_mcp.params import Box, Names
from drawthings_mcp.quoting import quote
from drawthings_mcp.server.content import describe_found
from drawthings_mcp.server.face import MCP
from drawthings_mcp.server.session import Session, get_session, identify
from drawthings_mcp.server.strict_tool import StrictTool
from drawthings_mcp.server.viewer import ChatClient, Viewer, build_image

if TYPE_CHECKING:
    from drawthings_mcp.attachments.preview import Preview

_DESCRIPTION = (
    "Look at pictures again, zoom in, compare, or read how they were made: any ids (a1, v3, p2, i1), latest, "
    "paths or URLs. For what a result lists as not shown, or for details: a larger max_edge, or a box. "
    'settings=true says prompt, model, seed and every setting; of two pictures, what differs. images=["sight"] '
    'shows a test picture with four large signs; repeat them with sight="…" in your next call to prove that you '
    "see pictures."
)
_SIMPLE = (
    "Look at pictures again or read how they were made: any ids (a1, v3, p2, i1), latest, paths or URLs. "
    'settings=true says prompt, model, seed and settings; of two pictures, what differs. images=["sight"] shows a '
    'test picture with four large signs; repeat them with sight="…" in your next call to prove that you see '
    "pictures."
)
_MAX_IMAGES = 5
_SIGHT = "sight"
"""What stands in place of a picture's id to be shown the vision check."""


async def review_image(
    ctx: Context[Session, None],
    images: Annotated[
        Names, Field(max_length=_MAX_IMAGES, description="1 to 5 ids, paths or URLs; or sight alone.")
    ] = [],  # noqa: B006 - pydantic copies it
    max_edge: Annotated[int, Field(ge=256, le=1568, description="Longest side of each picture in pixels.")] = 1024,
    box: Annotated[
        Box,
        Field(max_length=4, description="A part, enlarged: [left, top, right, bottom], 0 to 1 as shares, or pixels."),
    ] = [],  # noqa: B006 - pydantic copies it
    settings: Annotated[
        bool, Field(description="Also the recipe: prompt, model, every setting; of two pictures, what differs.")
    ] = False,
    sight: Annotated[str, Field(max_length=100, description="The signs that you read in the test picture.")] = "",
) -> CallToolResult:
    session, client = get_session(ctx), identify(ctx)
    wanted = [name for name in images if name.strip().lower() != _SIGHT]
    if not sight and len(wanted) < len(images):
        return await _show_check(session, wanted)
    verdict = await _check_answer(session, client, sight) if sight else ""
    if verdict and not wanted:
        return CallToolResult(content=[TextContent(text=verdict)])
    return await _show(session.viewer, client, wanted, max_edge, box, verdict, settings=settings)


async def _show(
    viewer: Viewer,
    client: ChatClient,
    images: list[str],
    max_edge: int,
    box: list[float],
    verdict: str,
    *,
    settings: bool,
) -> CallToolResult:
    if not images:
        raise InvalidInputError(
            'name 1 to 5 pictures, e.g. ["v3"], or ["sight"] to test whether you see.', parameter="images"
        )
    gallery = viewer.studio.gallery
    found = await gallery.find(images)
    shown = await (gallery.cut_parts(found.pictures, box, max_edge) if box else gallery.draw_masks(found.pictures))
    recipes = await gallery.describe_recipes(found.pictures, MCP) if settings else ()
    describe = partial(describe_found, found.with_notes(shown), verdict, recipes=recipes)
    more = "\n".join(recipes)
    facts = {"isPart": True} if box else None
    return await viewer.show(
        client, describe, outputs=shown, more_text=more, facts=facts, max_outputs=_MAX_IMAGES, max_edge=max_edge
    )


async def _show_check(session: Session, others: Sequence[str] = ()) -> CallToolResult:
    """A fresh test picture, alone, whatever is known of the client: a test that is not sent proves nothing.

    Parameters
    ----------
    others
        Pictures that were asked for with it; they are left for another call.
    """
    from drawthings_mcp.attachments.vision_check import new_code

    session.vision_code = new_code()
    preview = await anyio.to_thread.run_sync(_draw, session.vision_code)
    text = 'A test picture with four large signs. Repeat them: review_image(sight="…"). If no picture came, say so.'
    if others:
        text += f" The test comes alone: then call review_image({json.dumps(others)})."
    return CallToolResult(content=[TextContent(text=text), build_image(preview)])


def _draw(code: str) -> Preview:
    from drawthings_mcp.attachments.preview import encode_preview
    from drawthings_mcp.attachments.vision_check import draw_code

    return encode_preview(draw_code(code), max_bytes=100_000)


async def _check_answer(session: Session, client: ChatClient, answer: str) -> str:
    """Compares what a model read with what it was shown, and keeps the outcome for this client; says which it is.

    Raises
    ------
    InvalidInputError
        Nothing was shown that could be read.
    """
    from drawthings_mcp.attachments.vision_check import check_answer

    if not session.vision_code:
        text = Text("no test picture was shown yet; {show_it} first.", show_it=Step("review", images=[_SIGHT]))
        raise InvalidInputError(text, parameter="sight")
    seen = check_answer(session.vision_code, answer)
    session.vision_code = ""
    problem = await _record(session, client, seen)
    if seen:
        return f"sight proven: {quote(client.label)} passes pictures on to you{problem}"
    return (
        f"sight unproven: {quote(answer)} is not what the picture showed. Do not speak of what pictures show, or try "
        f'again with review_image(images=["sight"]){problem}'
    )


async def _record(session: Session, client: ChatClient, seen: bool) -> str:
    """Why the outcome will not be remembered; empty when it will."""
    try:
        await session.viewer.record_sight(client, seen)
    except StorageError as error:
        return f"; not remembered: {MCP.word(error)}"
    return ""


TOOL = StrictTool.from_function(
    review_image,
    title="Review image",
    description=_DESCRIPTION,
    annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
)
SIMPLE = TOOL.trim(_SIMPLE, images=None, settings=None, sight=None)
