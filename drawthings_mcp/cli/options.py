"""The options that say which server to talk to, and how they become settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, TypeVar

import click

from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.errors import DrawThingsError, InvalidInputError
from drawthings_mcp.settings import Settings, load_settings

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_SERVER_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "server": {"metavar": "HOST:PORT", "help": "Draw Things server, or 'demo' for the built-in simulator."},
    "tls": {
        "type": click.Choice(["auto", "on", "off"]),
        "help": "Whether to use TLS. Default: auto, which tries plaintext only on this machine.",
    },
    "ca-file": {"metavar": "FILE", "help": "PEM file with the certificate that the server must have or be signed by."},
    "shared-secret": {"metavar": "TEXT", "help": "The server's shared secret."},
}


def server_options(command: CommandT, *, hidden: bool = False) -> CommandT:
    """Adds the options that say which server to talk to, and how."""
    for name, attributes in reversed([*_SERVER_OPTIONS.items()]):
        command = click.option(f"--{name}", hidden=hidden, **attributes)(command)
    return command


def _give_settings(command: Callable[..., None], *, hidden: bool) -> Callable[..., None]:
    @wraps(command)
    def run(**options: Any) -> None:
        server = {name: options.pop(name) for name in (key.replace("-", "_") for key in _SERVER_OPTIONS)}
        with reported_errors():
            command(settings=read_settings(click.get_current_context(), server), **options)

    return server_options(run, hidden=hidden)


with_settings = partial(_give_settings, hidden=False)
"""Adds the server's options to a command, which gets ``settings`` with them; its errors are reported."""
with_local_settings = partial(_give_settings, hidden=True)
"""The same for a command that talks to no server: the options are accepted, but not listed."""


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
        raise click.ClickException(error.word_all(SHELL)) from error
