"""The command line: one file per command, each imported when it is called."""

from __future__ import annotations

import os
from typing import Any

import click

from drawthings_mcp.cli.options import server_options


class _Commands(click.Group):
    """A group that imports a command when it is called, so that starting one does not wait for the others."""

    def main(self, *args: Any, **extra: Any) -> Any:
        if "_DRAWTHINGS_MCP_COMPLETE" in os.environ:
            from drawthings_mcp.cli.completion import quote_for_bash

            quote_for_bash()
        return super().main(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [
            *("doctor", "edit", "gallery", "generate", "index", "install", "jobs", "models"),
            *("search", "serve", "service", "show", "simulator", "tag", "uninstall", "upscale"),
        ]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        match cmd_name:
            case "doctor":
                from drawthings_mcp.cli.doctor import doctor as command
            case "edit":
                from drawthings_mcp.cli.edit import edit as command
            case "gallery":
                from drawthings_mcp.cli.gallery import gallery as command
            case "generate":
                from drawthings_mcp.cli.generate import generate as command
            case "index":
                from drawthings_mcp.cli.index import index as command
            case "install":
                from drawthings_mcp.cli.install import install as command
            case "jobs":
                from drawthings_mcp.cli.jobs import jobs as command
            case "models":
                from drawthings_mcp.cli.models import models as command
            case "search":
                from drawthings_mcp.cli.search import search as command
            case "serve":
                from drawthings_mcp.cli.serve import serve as command
            case "service":
                from drawthings_mcp.cli.service import service as command
            case "show":
                from drawthings_mcp.cli.show import show as command
            case "simulator":
                from drawthings_mcp.cli.simulator import simulator as command
            case "tag":
                from drawthings_mcp.cli.tag import tag as command
            case "uninstall":
                from drawthings_mcp.cli.uninstall import uninstall as command
            case "upscale":
                from drawthings_mcp.cli.upscale import upscale as command
            case _:
                return None
        return command


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="drawthings-mcp")
@server_options
@click.pass_context
def main(context: click.Context, /, **options: Any) -> None:
    """Make pictures with Draw Things. Without a command: serve MCP over stdin and stdout."""
    # gRPC's core writes notes of its own to stderr, where only our messages belong; it reads this when it is loaded.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    context.obj = options
    if context.invoked_subcommand is None:
        from drawthings_mcp.cli.serve import serve

        context.invoke(serve)
