"""Options that several commands share, and the way from options to settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.errors import DrawThingsError, InvalidInputError
from drawthings_mcp.settings import Settings, load_settings

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_SERVER_OPTIONS = (
    click.option("--server", metavar="HOST:PORT", help="Draw Things server, or 'demo' for the built-in simulator."),
    click.option("--tls", type=click.Choice(["auto", "on", "off"]), help="Default: auto."),
    click.option("--ca-file", metavar="FILE", help="PEM to verify the server's certificate with."),
    click.option("--shared-secret", metavar="TEXT", help="The server's shared secret."),
)


SERVER_NAMES = ("server", "tls", "ca_file", "shared_secret")
"""Under which a command is given them."""


def server_options(command: CommandT) -> CommandT:
    """Adds the options that say which server to talk to, and how."""
    for option in reversed(_SERVER_OPTIONS):
        command = option(command)
    return command


def read_settings(context: click.Context, options: Mapping[str, Any]) -> Settings:
    """The settings of a command; its own options win over those before the command's name.

    Raises
    ------
    click.UsageError
        A value is not allowed.
    """
    before = context.parent.obj if context.parent is not None else {}
    given = {**before, **{name: value for name, value in options.items() if value is not None}}
    try:
        return load_settings(given)
    except InvalidInputError as error:
        raise click.UsageError(error.word(SHELL)) from error


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turns this package's errors into a message and exit code 1."""
    try:
        yield
    except DrawThingsError as error:
        raise click.ClickException(error.word(SHELL)) from error
