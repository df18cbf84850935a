"""Puts the MCP server together. Importing this module opens nothing and loads no picture library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.types import INVALID_PARAMS, GetPromptResult, InputRequiredResult

from drawthings_mcp.server.completion import add_completion
from drawthings_mcp.server.guides import add_guide_templates, list_guides
from drawthings_mcp.server.prompts import list_prompts
from drawthings_mcp.server.tools import list_tools
from drawthings_mcp.settings import APP_NAME, Settings
from drawthings_mcp.studio import HEARTBEAT_SECONDS, Studio, open_studio
from drawthings_mcp.validation import shorten, suggest

INSTRUCTIONS = """\
Makes pictures on the user's own machine with Draw Things.
Show before you ask: call generate_image at once with sensible guesses, once per message. Then say honestly what is
right and what is wrong, name the next change, stop and wait for the user. Never speak of a picture you were not shown.
Words alone make a picture: describe subject, place, composition, light, materials, colours, text in quotes, medium.
With canvas (an id such as a1 or v3, latest, or a path) it is changed: say only what changes, then what stays.
Leave everything else out: the settings that suit are chosen. Results name id, file and seed.
list_models shows what the server can use. If a call fails, the text says what to do next.
More, when you need it: guide://modes (which mode and model), guide://prompting/{mode}, guide://families/{family}.
Prompts for the user to pick: creative_director (draft by draft), describe_then_edit (one careful change)."""


class _StudioServer(MCPServer[Studio]):
    """A server that says which prompts there are; the SDK's own leaves newer clients with an internal error."""

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Studio, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        """See ``MCPServer.get_prompt``.

        Raises
        ------
        MCPError
            There is no such prompt; the text names those that there are.
        """
        known = [prompt.name for prompt in await self.list_prompts()]
        if name not in known:
            raise MCPError(code=INVALID_PARAMS, message=f"There is no prompt {shorten(name)}.{suggest(name, known)}")
        return await super().get_prompt(name, arguments, context)


def build_server(settings: Settings, *, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> MCPServer[Studio]:
    """The server with all its tools, guides and prompts; its lifespan owns the studio.

    Parameters
    ----------
    heartbeat_seconds
        Silence of the Draw Things server after which a waiting client is told that the work goes on.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[Studio]) -> AsyncIterator[Studio]:
        async with open_studio(settings, heartbeat_seconds) as studio:
            yield studio

    server = _StudioServer(
        name=APP_NAME,
        title="Draw Things",
        description="Pictures made on your own machine with Draw Things",
        instructions=INSTRUCTIONS,
        version=version(APP_NAME),
        tools=[*list_tools()],
        resources=list_guides(),
        log_level="WARNING",
        lifespan=lifespan,
        # No tool list or picture ever changes behind a client's back yet, so there is nothing to listen to.
        subscriptions=False,
    )
    add_guide_templates(server)
    for prompt in list_prompts():
        server.add_prompt(prompt)
    add_completion(server)
    return server
