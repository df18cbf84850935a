"""An MCP server with our prompts, and with our guides beside the resources that are registered with it.

The SDK would build models and validators for each of them at the start, for which clients wait. Here they are put
together when a client asks; they cost the start nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mcp.server import MCPServer
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.types import GetPromptResult, InputRequiredResult, Prompt, Resource, ResourceTemplate
from pydantic import AnyUrl

from drawthings_mcp.server import guides, prompts
from drawthings_mcp.studio import Studio


class GuidedServer(MCPServer[Studio]):
    """See ``MCPServer``: what is no guide is left to it; all prompts are ours."""

    async def list_resources(self) -> list[Resource]:
        return [*guides.list_guides(), *await super().list_resources()]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        return [*guides.list_guide_templates(), *await super().list_resource_templates()]

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Studio, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        if not str(uri).startswith(guides.SCHEME):
            return await super().read_resource(uri, context)
        return [ReadResourceContents(content=await guides.read_guide(str(uri)), mime_type=guides.MARKDOWN)]

    async def list_prompts(self) -> list[Prompt]:
        return prompts.list_prompts()

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Studio, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        return await prompts.get_prompt(name, arguments or {})
