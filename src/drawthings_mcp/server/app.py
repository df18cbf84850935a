"""Puts the MCP server together. Importing this module opens nothing and loads no picture library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from mcp.server import MCPServer

from drawthings_mcp.server.tools import list_tools
from drawthings_mcp.settings import APP_NAME, Settings
from drawthings_mcp.studio import HEARTBEAT_SECONDS, Studio, open_studio

INSTRUCTIONS = """\
Makes pictures on the user's own machine with Draw Things.
Call generate_image once per message, look at what came back, say honestly what is right and what is not, then go on.
A prompt names the subject, its surroundings, composition, light, materials, colours and any text to be written.
Leave out what you do not need: the settings that suit the model are chosen for you. Every result names its id, file
and seed; the same seed and prompt give the same picture, so change one thing at a time.
list_models shows what the server can use. If a call fails, the text says what to do next."""


def build_server(settings: Settings, *, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> MCPServer[Studio]:
    """The server with all its tools; its lifespan owns the studio.

    Parameters
    ----------
    heartbeat_seconds
        Silence of the Draw Things server after which a waiting client is told that the work goes on.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[Studio]) -> AsyncIterator[Studio]:
        async with open_studio(settings, heartbeat_seconds) as studio:
            yield studio

    return MCPServer(
        name=APP_NAME,
        title="Draw Things",
        description="Pictures made on your own machine with Draw Things",
        instructions=INSTRUCTIONS,
        version=version(APP_NAME),
        tools=[*list_tools(settings.tools)],
        log_level="WARNING",
        lifespan=lifespan,
        # No tool list or picture ever changes behind a client's back yet, so there is nothing to listen to.
        subscriptions=False,
    )
