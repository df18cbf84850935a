"""Our entry in one client: what stands there, what is to stand there, and the way from one to the other and back."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.install.change import ConfigFile, back_up, read_config_file, write_config_file
from drawthings_mcp.install.clients import ENTRY, ChatProgram, Machine
from drawthings_mcp.install.launch import is_ours
from drawthings_mcp.quoting import clean, hide_password

_PATIENCE = 60
"""Seconds in which a client's own command has to be done."""


@dataclass(frozen=True, slots=True)
class ServerEntry:
    """What stands under our name in a client's configuration.

    Attributes
    ----------
    value
        None when nothing does.
    twins
        Other names under which this program is started, too.
    """

    client: ChatProgram
    file: ConfigFile
    value: Any = None
    twins: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """The program that it starts, and its arguments."""
        return self.client.read_command(self.value)

    @property
    def purpose(self) -> str:
        """What it starts or calls, for people."""
        urls = (
            [value for key, value in self.value.items() if "url" in key.lower()] if isinstance(self.value, dict) else []
        )
        return clean(hide_password(" ".join(self.command or map(str, urls)))) or "nothing that can be read"

    @property
    def is_off(self) -> bool:
        """Whether the user switched it off in the client."""
        return isinstance(self.value, dict) and (
            self.value.get("disabled") is True or self.value.get("enabled") is False
        )

    @property
    def is_ours(self) -> bool:
        """Whether it starts this program."""
        return is_ours(self.command)

    def plan(self, value: Mapping[str, Any]) -> bytes:
        """The file with an entry in this one's place; raises ``InvalidInputError`` as ``ConfigFile.set``."""
        path = self.client.path_to_entry
        file = self.file
        if self.value is not None and not self.is_ours:
            file = replace(file, data=file.remove(path))
        return file.set(path, value)


@dataclass(frozen=True, slots=True)
class Written:
    """What was done to a file.

    Attributes
    ----------
    before, after
        The file.
    copy
        Where a copy of what was there is; None when there was nothing.
    note
        What is to be said of it; may be empty.
    """

    before: ConfigFile
    after: ConfigFile
    copy: Path | None
    note: str = ""

    def undo(self) -> None:
        """Have everything as it was; raises ``StorageError`` when somebody else was at it meanwhile."""
        write_config_file(self.after, self.before.data)


def find_entry(client: ChatProgram, machine: Machine) -> ServerEntry:
    """What stands in a client's configuration now; raises ``InvalidInputError`` when that cannot be read."""
    file = read_config_file(client.find_file(machine), client.format)
    servers = client.find_servers(file.parse())
    twins = (name for name, value in servers.items() if name != ENTRY and is_ours(client.read_command(value)))
    return ServerEntry(client, file, servers.get(ENTRY), tuple(map(str, twins)))


def add_entry(entry: ServerEntry, value: Mapping[str, Any], machine: Machine) -> Written:
    """Have an entry stand there: by the client's own command where it has one and none stood there, else by the file.

    What the client's own command changes besides, such as comments and entries of others that some of them lose, is
    put back.
    """
    copy = back_up(entry.file)
    file, note = entry.file, ""
    program = machine.find_program(entry.client.add[0]) if entry.client.add else None
    if program is not None and entry.value is None:
        command = entry.client.build_own_command(program, value)
        file, note = _run_own_command(entry, command, entry.plan(value), machine)
    data = file.set(entry.client.path_to_entry, value) if file.data != entry.file.data else entry.plan(value)
    after = write_config_file(file, data) if data != file.data else file
    return Written(entry.file, after, copy, note)


def remove_entry(entry: ServerEntry) -> Written:
    """Take an entry out."""
    data = entry.file.remove(entry.client.path_to_entry)
    copy = back_up(entry.file)
    return Written(entry.file, write_config_file(entry.file, data), copy)


def _run_own_command(
    entry: ServerEntry, command: list[str], planned: bytes, machine: Machine
) -> tuple[ConfigFile, str]:
    """The file after a client's own command, as far as that left alone what is not ours; and what there is to say."""
    shown = " ".join(command[:3])
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            env=dict(machine.environment),
            cwd=machine.home,
            check=False,
        )
        failed = done.returncode != 0
    except (OSError, subprocess.TimeoutExpired):
        failed = True
    now = read_config_file(entry.file.path, entry.client.format)
    if now.data == entry.file.data:
        return entry.file, f"`{Path(shown).name}` did not add it, so the file was written directly." if failed else ""
    if _keeps_rest(entry.file, replace(entry.file, data=planned), now):
        return now, f"Added by `{Path(shown).name}`."
    restored = write_config_file(now, entry.file.data, mode=entry.file.mode)
    return restored, f"`{Path(shown).name}` would have changed other lines of the file, so it was written directly."


def _keeps_rest(before: ConfigFile, planned: ConfigFile, after: ConfigFile) -> bool:
    """Whether a file can still be read and has, in the same order, every line that would have stayed as planned."""
    try:
        after.parse()
        left = iter([_strip(line) for line in after.text.splitlines()])
    except DrawThingsError:
        return False
    staying = {_strip(line) for line in planned.text.splitlines()}
    return all(_strip(line) in left for line in before.text.splitlines() if line.strip() and _strip(line) in staying)


def _strip(line: str) -> str:
    return line.strip().removesuffix(",")
