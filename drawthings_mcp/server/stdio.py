"""Serves MCP over stdin and stdout until stdin closes or a signal arrives."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types import PARSE_ERROR, ErrorData, JSONRPCError

from drawthings_mcp.server.app import build_server
from drawthings_mcp.server.stdin import StdinLines
from drawthings_mcp.settings import Settings

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def serve_stdio(settings: Settings) -> None:
    """Serves one client; returns when it closes stdin, and on SIGTERM or SIGINT, which end it in the same way."""
    server = build_server(settings)

    async def refuse(request_id: str | int | None, problem: str) -> None:
        error = ErrorData(code=PARSE_ERROR, message=f"This line was not understood: {problem}")
        await write_stream.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=request_id, error=error)))

    async def stop_on_signal() -> None:
        with anyio.open_signal_receiver(*_SIGNALS) as received:
            async for _ in received:
                lines.close()

    with _private_stdin() as descriptor:
        lines = StdinLines(descriptor, refuse)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_on_signal)
            async with stdio_server(stdin=cast(Any, lines)) as (read_stream, write_stream):
                lowlevel = server._lowlevel_server  # MCPServer offers no way to run on streams of one's own
                await lowlevel.run(read_stream, write_stream, lowlevel.create_initialization_options())
            tasks.cancel_scope.cancel()


@contextmanager
def _private_stdin() -> Iterator[int]:
    """The client's end of stdin for us alone; children and stray reads get an empty one."""
    private = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        yield private
    finally:
        os.dup2(private, 0)
        os.close(private)
