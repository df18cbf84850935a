"""``drawthings-mcp serve``, which is also what ``drawthings-mcp`` alone does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from drawthings_mcp.cli.options import read_settings, reported_errors, server_options


@click.command()
@server_options
def serve(**options: Any) -> None:
    """Serve MCP over stdin and stdout until stdin closes."""
    run_server(options)


def run_server(options: Mapping[str, Any]) -> None:
    """Serves with the settings that the options and the environment give."""
    settings = read_settings(click.get_current_context(), options)

    import anyio

    from drawthings_mcp.server.stdio import serve_stdio

    with reported_errors():
        anyio.run(serve_stdio, settings)
