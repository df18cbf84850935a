"""An MCP server with our tools, prompts and guides, put together when a client asks for them.

The SDK would build models and validators for each of them at the start, for which clients wait. Here they cost the
start nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mcp.server import MCPServer
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool, ToolManager
from mcp.types import GetPromptResult, InputRequiredResult, Prompt, Resource, ResourceTemplate
from pydantic import AnyUrl

from drawthings_mcp.server import guides, prompts
from drawthings_mcp.server.images import SCHEME, list_image_templates, read_image
from drawthings_mcp.server.session import Session


class _LateTools(ToolManager):
    """Tools that are built when they are first needed."""

    def __init__(self, build: Callable[[], Sequence[Tool]]) -> None:
        super().__init__()
        self._build = build

    def get_tool(self, name: str) -> Tool | None:
        self._fill()
        return super().get_tool(name)

    def list_tools(self) -> list[Tool]:
        self._fill()
        return super().list_tools()

    def _fill(self) -> None:
        if not self._tools:
            self._tools = {tool.name: tool for tool in self._build()}


class LateServer(MCPServer[Session]):
    """See ``MCPServer``: resources that are neither guides nor pictures are left to it; all tools and prompts are ours.

    Parameters
    ----------
    build_tools
        Makes the tools, once.
    """

    def __init__(self, *, build_tools: Callable[[], Sequence[Tool]], **options: Any) -> None:
        super().__init__(**options)
        self._tool_manager = _LateTools(build_tools)

    async def list_resources(self) -> list[Resource]:
        return [*guides.list_guides(), *await super().list_resources()]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        return [*guides.list_guide_templates(), *list_image_templates(), *await super().list_resource_templates()]

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Session, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        if str(uri).startswith(SCHEME) and context is not None:
            return [await read_image(str(uri), context.request_context.lifespan_context.studio)]
        if not str(uri).startswith(guides.SCHEME):
            return await super().read_resource(uri, context)
        return [ReadResourceContents(content=await guides.read_guide(str(uri)), mime_type=guides.MARKDOWN)]

    async def list_prompts(self) -> list[Prompt]:
        return prompts.list_prompts()

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Session, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        return await prompts.get_prompt(name, arguments or {})
