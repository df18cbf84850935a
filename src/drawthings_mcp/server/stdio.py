"""Serves MCP over stdin and stdout until stdin closes or a signal arrives."""

from __future__ import annotations

import os
import signal
import sys

import anyio
from mcp.server.stdio import stdio_server

from drawthings_mcp.server.app import build_server
from drawthings_mcp.settings import Settings

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def serve_stdio(settings: Settings) -> None:
    """Serves one client; returns when it closes stdin, and ends the process on SIGTERM or SIGINT."""
    server = build_server(settings)
    async with stdio_server() as (read_stream, write_stream):
        stopped_by_signal = False

        async def stop_on_signal() -> None:
            nonlocal stopped_by_signal
            with anyio.open_signal_receiver(*_SIGNALS) as received:
                async for _ in received:
                    stopped_by_signal = True
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_on_signal)
            lowlevel = server._lowlevel_server  # MCPServer offers no way to run on streams of one's own
            await lowlevel.run(read_stream, write_stream, lowlevel.create_initialization_options())
            tasks.cancel_scope.cancel()
        if stopped_by_signal:
            # Everything of ours is closed by now. What is left is the SDK's thread in a read of stdin, which
            # nothing can interrupt and which the interpreter would wait for.
            sys.stderr.flush()
            os._exit(0)
