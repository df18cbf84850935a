"""``drawthings-mcp uninstall``: takes our entry out of chat clients' configuration."""

from __future__ import annotations

import click

from drawthings_mcp.cli.install import CLIENT_NAMES, ask, choose_clients, report_each, show_plan
from drawthings_mcp.cli.options import with_local_settings
from drawthings_mcp.cli.output import print_text
from drawthings_mcp.install.clients import ChatProgram, this_machine
from drawthings_mcp.install.entries import find_entry, remove_entry
from drawthings_mcp.quoting import quote
from drawthings_mcp.settings import Settings


@click.command()
@click.argument("clients", nargs=-1, type=CLIENT_NAMES, metavar="[CLIENT]...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@with_local_settings
def uninstall(clients: tuple[str, ...], yes: bool, dry_run: bool, settings: Settings) -> None:  # noqa: ARG001
    """Take drawthings-mcp out of chat clients: those named, or all that have it."""
    machine = this_machine()
    found: list[ChatProgram] = []

    def remove(client: ChatProgram) -> None:
        entry = find_entry(client, machine)
        for name in entry.twins:
            print_text(f"{client.title}: {quote(name)} starts drawthings-mcp, too, and stays; take it out by hand.")
        if entry.value is None:
            if clients:
                print_text(f"{client.title}: there is no entry.")
            return
        found.append(client)
        if not entry.is_ours:
            print_text(f"{client.title}: the entry starts something else ({entry.purpose}), so it stays.")
            return
        show_plan(entry, entry.file.remove(client.path_to_entry))
        if dry_run or not (yes or ask(f"Remove the entry from {client.title}?")):
            return
        written = remove_entry(entry)
        print_text(f"{client.title}: removed from {entry.file.path} (as it was: {written.copy}).")

    report_each(choose_clients(clients, machine), remove)
    if not (clients or found):
        print_text("No chat client on this machine has the entry.")
