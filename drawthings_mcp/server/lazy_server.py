"""An MCP server whose tools, prompts and guides are put together when a client asks for them.

The SDK would build models and validators for each of them at the start, for which clients wait. What the first
pictures need is imported once a client has connected and nobody waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import anyio
import anyio.to_thread
from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool, ToolManager
from mcp.types import (
    INVALID_PARAMS,
    CallToolResult,
    GetPromptResult,
    InputRequiredResult,
    Prompt,
    Resource,
    ResourceTemplate,
)
from pydantic import AnyUrl

from drawthings_mcp.server import prompts, resources
from drawthings_mcp.server.face import MCP
from drawthings_mcp.server.session import Session
from drawthings_mcp.server.views import add_views, read_view, takes_views
from drawthings_mcp.validation import shorten, suggest

_QUIET_SECONDS = 0.15
"""After the handshake: clients ask for the tools at once."""


class _LazyTools(ToolManager):
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


class _Preloading:
    """Imports in a thread, begun after the handshake and given up at the first call of a tool, which imports by itself.

    Two threads that import the same modules may see them half made, so that a call waits for the import under way.
    """

    def __init__(self, loads: Sequence[Callable[[], object]]) -> None:
        self._loads = loads
        self._has_begun = False
        self._scope: anyio.CancelScope | None = None
        self._turn = anyio.Lock()

    async def __call__(self, ctx: ServerRequestContext[Session, Any], call_next: CallNext) -> HandlerResult:
        """Sees every message, as the SDK's middleware does."""
        if ctx.method == "tools/call":
            self._has_begun = True
            if self._scope is not None:
                self._scope.cancel()
            async with self._turn:
                pass
        result = await call_next(ctx)
        if not self._has_begun and ctx.method != "initialize":
            self._has_begun = True
            ctx.lifespan_context.tasks.start_soon(self._load)
        return result

    async def _load(self) -> None:
        with anyio.CancelScope() as self._scope:
            await anyio.sleep(_QUIET_SECONDS)
            for load in self._loads:
                async with self._turn:
                    # Not abandoned at the end: the interpreter would wait for the thread all the same.
                    await anyio.to_thread.run_sync(load)


async def _refuse_cursors(ctx: ServerRequestContext[Session, Any], call_next: CallNext) -> HandlerResult:
    """Every list here is one page, so that no cursor was ever handed out."""
    cursor = (ctx.params or {}).get("cursor") if ctx.method.endswith("/list") else None
    if cursor is not None:
        raise MCPError(code=INVALID_PARAMS, message=f"cursor: {shorten(cursor)} is not known; the list has one page")
    return await call_next(ctx)


class _OfferViews:
    """Adds views, and the tools that they alone call, to what clients hear that take them."""

    def __init__(self, tools: ToolManager) -> None:
        self._tools = tools

    async def __call__(self, ctx: ServerRequestContext[Session, Any], call_next: CallNext) -> HandlerResult:
        """Sees every message, as the SDK's middleware does."""
        answer = await call_next(ctx)
        if isinstance(answer, dict) and takes_views(ctx):
            add_views(ctx.method, answer, self._tools.list_tools() if ctx.method == "tools/list" else ())
        return answer


class LazyServer(MCPServer[Session]):
    """See ``MCPServer``: what is added to it is offered after our own tools, prompts, guides and pictures.

    Parameters
    ----------
    build_tools
        Makes the tools, once.
    build_view_tools
        Makes those that only views call.
    loads
        What imports the modules that a first call needs; run one by one in a thread after the handshake.
    """

    def __init__(
        self,
        *,
        build_tools: Callable[[], Sequence[Tool]],
        build_view_tools: Callable[[], Sequence[Tool]],
        loads: Sequence[Callable[[], object]],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._tool_manager = _LazyTools(build_tools)
        self._view_tools = _LazyTools(build_view_tools)
        self._lowlevel_server.middleware += [
            _Preloading([self._tool_manager.list_tools, *loads]),
            _refuse_cursors,
            _OfferViews(self._view_tools),
        ]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Session, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        if context is not None and takes_views(context) and self._view_tools.get_tool(name) is not None:
            result: CallToolResult = await self._view_tools.call_tool(name, arguments, context, convert_result=True)
            return result
        if self._tool_manager.get_tool(name) is None:
            hint = MCP.word(suggest(name, [tool.name for tool in self._tool_manager.list_tools()]))
            raise MCPError(code=INVALID_PARAMS, message=f"There is no tool {shorten(name)}.{hint}")
        return await super().call_tool(name, arguments, context)

    async def list_resources(self) -> list[Resource]:
        return [*resources.list_guides(), *await super().list_resources()]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        return [*resources.list_templates(), *await super().list_resource_templates()]

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Session, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        if context is None:
            return await super().read_resource(uri, context)
        if takes_views(context) and (view := read_view(str(uri))) is not None:
            return [view]
        found = await resources.read_resource(str(uri), context.request_context.lifespan_context.studio)
        return [found] if found is not None else await super().read_resource(uri, context)

    async def list_prompts(self) -> list[Prompt]:
        return [*prompts.list_prompts(), *await super().list_prompts()]

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Session, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        assert context is not None
        if any(prompt.name == name for prompt in await super().list_prompts()):
            return await super().get_prompt(name, arguments, context)
        return await prompts.get_prompt(name, arguments or {}, context.request_context.lifespan_context.studio)
