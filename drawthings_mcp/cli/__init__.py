"""The command line: one file per command, each loaded when it is called."""

from __future__ import annotations

import os
from typing import Any

import click

from drawthings_mcp.cli.lazy import LazyGroup
from drawthings_mcp.cli.options import server_options

_COMMANDS = ("doctor", "edit", "generate", "index", "models", "search", "serve", "simulator", "tag")
"""Each is a module of this room, with the command under the same name."""


@click.group(
    cls=LazyGroup,
    modules=_COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="drawthings-mcp")
@server_options
@click.pass_context
def main(context: click.Context, /, **options: Any) -> None:
    """Make pictures with Draw Things. Without a command: serve MCP over stdin and stdout."""
    # gRPC's core writes notes of its own to stderr, where only our messages belong; it reads this when it is loaded.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    context.obj = options
    if context.invoked_subcommand is None:
        from drawthings_mcp.cli.serve import run_server

        run_server(options)
