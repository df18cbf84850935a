"""The command line: one file per command, each loading what it needs when it runs."""

from __future__ import annotations

from typing import Any

import click

from drawthings_mcp.cli.options import server_options
from drawthings_mcp.cli.serve import run_server, serve
from drawthings_mcp.cli.simulator import simulator


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="drawthings-mcp")
@server_options
@click.pass_context
def main(context: click.Context, /, **options: Any) -> None:
    """Make pictures with Draw Things. Without a command: serve MCP over stdin and stdout."""
    context.obj = options
    if context.invoked_subcommand is None:
        run_server(options)


main.add_command(serve)
main.add_command(simulator)
