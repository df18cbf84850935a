"""``drawthings-mcp serve``, which is also what ``drawthings-mcp`` alone does."""

from __future__ import annotations

import atexit
import os
import sys

import click

from drawthings_mcp.cli.options import with_settings
from drawthings_mcp.settings import Settings


@click.command()
@with_settings
def serve(settings: Settings) -> None:
    """Serve MCP over stdin and stdout until stdin closes."""
    import anyio

    from drawthings_mcp.server.stdio import serve_stdio

    anyio.run(serve_stdio, settings)
    # All is saved and closed. Some clients kill a process that takes longer than the interpreter needs to end itself.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(0)
