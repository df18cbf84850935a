"""A group whose commands are loaded when they are called, so that starting one does not wait for the others."""

from __future__ import annotations

import importlib

import click


class LazyGroup(click.Group):
    """Finds a command in the module of ``drawthings_mcp.cli`` that has its name.

    Parameters
    ----------
    modules
        Names of commands; each is a module with the command under the same name.
    """

    def __init__(self, *args: object, modules: tuple[str, ...] = (), **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted({*super().list_commands(ctx), *self._modules})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None when there is none."""
        if cmd_name not in self._modules:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(importlib.import_module(f"drawthings_mcp.cli.{cmd_name}"), cmd_name)
        return command
