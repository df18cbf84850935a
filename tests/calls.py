"""Calls of tools, each bounded, and the text of their results."""

from __future__ import annotations

from typing import Any

import anyio
from mcp import Client
from mcp.types import CallToolResult, TextContent


def text_of(result: CallToolResult) -> str:
    """The first block of a result, which is its text."""
    first = result.content[0]
    assert isinstance(first, TextContent)
    return first.text


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    """A result, whether it is an error or not."""
    with anyio.fail_after(60):
        return await client.call_tool(tool, arguments)
