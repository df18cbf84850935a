"""``drawthings-mcp service``: the HTTP server, started at login."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import click

from drawthings_mcp.cli.options import reported_errors
from drawthings_mcp.cli.output import print_text, say
from drawthings_mcp.cli.serve import serve
from drawthings_mcp.install.clients import Machine, this_machine
from drawthings_mcp.install.service import Service, find_service, install_service, is_running, uninstall_service
from drawthings_mcp.settings import load_settings


@click.group()
def service() -> None:
    """The server for many clients (serve --http), started when you log in."""


def _find() -> tuple[Service, Machine]:
    machine = this_machine()
    with reported_errors():
        return find_service(machine), machine


@service.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True}, options_metavar="[OPTIONS OF serve]..."
)
@click.option("--dry-run", is_flag=True, help="Print the file that would be written, and change nothing.")
@click.pass_context
def install(context: click.Context, dry_run: bool) -> None:
    """Start `serve --http` now and at every login. Takes the options of `serve`, e.g. --http 127.0.0.1:7868."""
    from drawthings_mcp.install.launch import find_launch

    options = (
        context.args if any(word.split("=")[0] == "--http" for word in context.args) else ["--http", *context.args]
    )
    # Refuses now what would otherwise end the service at its start.
    parsed = serve.make_context("drawthings-mcp serve", [*options]).params
    service, machine = _find()
    with reported_errors():
        launch = find_launch()
        command = [launch.command, *launch.args, "serve", *_make_absolute(options)]
        if dry_run:
            print_text(service.write(command).decode())
            return
        _announce_token(parsed["token_file"])
        kept = install_service(service, command, machine)
    if kept is not None:
        say(f"The file that was there is kept as {kept}.")
    if left := sorted(name for name in machine.environment if name.startswith("DRAWTHINGS_")):
        say(f"note: the service does not get this shell's {', '.join(left)}; write them to config.toml.")
    if machine.system == "linux":
        say("note: it ends when you log out, unless you say `loginctl enable-linger` once.")
    print_text(f"{service.file}: started, and at every login. `drawthings-mcp service status` says how it is.")


def _announce_token(file: Path | None) -> None:
    """Makes the token that clients need now: the server would show it in its logs only."""
    from drawthings_mcp.server.http import TOKENS_NAME
    from drawthings_mcp.server.tokens import TokenFile

    # The service starts without this shell's variables.
    path = (file or load_settings(environment={}).state_dir / TOKENS_NAME).expanduser().absolute()
    if made := TokenFile(path).prepare():
        say(f"A token was made, which is shown this once: {made}\nTokens are in {path}")


def _make_absolute(options: list[str]) -> list[str]:
    """Options with paths that hold from any folder."""
    files = {name for parameter in serve.params if isinstance(parameter.type, click.Path) for name in parameter.opts}
    changed = list(options)
    for place, word in enumerate(options):
        name, equals, value = word.partition("=")
        if name in files and equals:
            changed[place] = f"{name}={Path(value).expanduser().absolute()}"
        elif name in files and place + 1 < len(options):
            changed[place + 1] = str(Path(options[place + 1]).expanduser().absolute())
    return changed


@service.command()
def status() -> None:
    """Whether it is installed, runs and answers. The exit code is 1 when it does not."""
    service, machine = _find()
    command = service.read_command()
    if not command:
        raise click.ClickException("It is not installed: `drawthings-mcp service install`.")
    running = is_running(service, machine)
    address = _find_address(command)
    answer = _ask_health(address)
    print_text(f"{service.file}\n{'running' if running else 'not running'}\n{address}: {answer or 'no answer'}")
    if not (running and answer):
        raise click.ClickException("`drawthings-mcp service logs` says what it wrote.")


def _find_address(command: tuple[str, ...]) -> str:
    options = list(command[command.index("serve") + 1 :]) if "serve" in command else ["--http"]
    parsed = serve.make_context("serve", options).params
    host, _, port = parsed["http"].rpartition(":")
    # A server that listens everywhere is asked on this machine.
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return f"{'https' if parsed['tls_cert'] else 'http'}://{host}:{port}/health"


def _ask_health(address: str) -> str:
    # Its certificate names the house, not this machine, and nothing secret is sent.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urlopen(address, timeout=5, context=context if address.startswith("https") else None) as answer:
            return str(answer.read(1_000).decode("utf-8", "replace"))
    except (URLError, OSError, ValueError):
        return ""


@service.command()
@click.option("--follow", "-f", is_flag=True, help="Go on until Ctrl-C.")
def logs(follow: bool) -> None:
    """Print what it wrote."""
    service, _ = _find()
    try:
        sys.exit(subprocess.run(service.show_logs(follow=follow), check=False).returncode)
    except FileNotFoundError as error:
        raise click.ClickException(f"{error.filename} is not on this machine.") from error
    except KeyboardInterrupt:
        sys.exit(os.EX_OK)


@service.command()
def uninstall() -> None:
    """Stop it, now and at login. Pictures, settings and tokens stay."""
    service, machine = _find()
    with reported_errors():
        removed = uninstall_service(service, machine)
    print_text(f"{service.file}: removed." if removed else "It was not installed.")
