"""The test whether a model sees what is attached: a picture with random signs, which it repeats."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio.to_thread
from mcp.types import CallToolResult, TextContent

from drawthings_mcp.errors import InvalidInputError, StorageError
from drawthings_mcp.server.session import Session
from drawthings_mcp.server.viewer import Client, build_image
from drawthings_mcp.studio import load_room

SIGHT = "sight"
"""What stands in place of a picture's id to be shown the test."""


async def show_sight(session: Session, others: Sequence[str] = ()) -> CallToolResult:
    """A fresh test picture, alone, whatever is known of the client: a test that is not sent proves nothing.

    Parameters
    ----------
    others
        Pictures that were asked for with it; they are left for another call.
    """
    room = await load_room("attachments")
    session.sight_code = room.new_code()
    preview = await anyio.to_thread.run_sync(partial(_draw, room, session.sight_code))
    text = 'A test picture with four large signs. Repeat them: review_image(sight="…"). If no picture came, say so.'
    if others:
        text += f" The test comes alone: then call review_image({json.dumps(others)})."
    return CallToolResult(content=[TextContent(text=text), build_image(preview)])


def _draw(room: Any, code: str) -> Any:
    data = io.BytesIO()
    room.draw_sight(code).save(data, "PNG")
    return room.encode_preview(data.getvalue(), max_bytes=100_000)


async def answer_sight(session: Session, client: Client, answer: str) -> str:
    """Compares what a model read with what it was shown, and keeps the outcome for this client; says which it is.

    Raises
    ------
    InvalidInputError
        Nothing was shown that could be read.
    """
    if not session.sight_code:
        raise InvalidInputError('sight: no test picture was shown yet; call review_image(images=["sight"]) first.')
    room = await load_room("attachments")
    seen: bool = room.check_sight(session.sight_code, answer)
    session.sight_code = ""
    problem = await _record(session, client, seen)
    if seen:
        return f"sight proven: {client.label} passes pictures on to you{problem}"
    return (
        f"sight unproven: {answer!r} is not what the picture showed. Do not speak of what pictures show, or try again "
        f'with review_image(images=["sight"]){problem}'
    )


async def _record(session: Session, client: Client, seen: bool) -> str:
    """Why the outcome will not be remembered; empty when it will."""
    try:
        await session.studio.gallery.record_sight(client.label, seen)
    except StorageError as error:
        return f"; not remembered: {error}"
    return ""
