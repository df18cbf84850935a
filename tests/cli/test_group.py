"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import click
import pytest

from drawthings_mcp.cli import main


def get_command(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return command


COMMANDS = {"drawthings-mcp": main, **{name: get_command(name) for name in main.list_commands(click.Context(main))}}
SERVER_OPTIONS = ("--server", "--tls", "--ca-file", "--shared-secret")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_says_what_it_does(name: str) -> None:
    command = COMMANDS[name]
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert command.help
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("name", ["index", "search", "tag", "uninstall"])
def test_commands_without_a_server_take_its_options_but_do_not_list_them(invoke: Any, name: str) -> None:
    shown = invoke(name, "--help").stdout
    assert [option for option in SERVER_OPTIONS if f"  {option} " in shown] == []
    assert invoke(name, "--server", "localhost:7859", "--tls", "off").code == 0


@pytest.mark.parametrize("name", ["drawthings-mcp", "doctor", "edit", "generate", "install", "models", "serve"])
def test_the_program_and_commands_with_a_server_list_its_options(name: str) -> None:
    listed = {text for param in COMMANDS[name].params if not getattr(param, "hidden", True) for text in param.opts}
    assert listed >= set(SERVER_OPTIONS)


def test_help_names_every_command(invoke: Any) -> None:
    outcome = invoke("--help")
    assert outcome.code == 0
    assert all(f"  {name} " in outcome.stdout for name in ("doctor", "models", "serve", "simulator"))


def test_an_unknown_command_is_wrong_usage(invoke: Any) -> None:
    assert invoke("doctr").code == 2


def test_a_command_is_loaded_when_it_is_called() -> None:
    code = (
        "import sys, drawthings_mcp.cli; print(*(name for name in sys.modules if name.startswith('drawthings_mcp.')))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(loaded.stdout.split()) & {"drawthings_mcp.cli.doctor", "drawthings_mcp.studio"} == set()
