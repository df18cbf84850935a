"""The HTTP server as a service of the user's: a unit of systemd, or an agent of launchd."""

from __future__ import annotations

import os
import plistlib
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from drawthings_mcp.errors import InvalidInputError, StorageError
from drawthings_mcp.faces import Phrase, Text
from drawthings_mcp.install.clients import Machine

_UNIT = "drawthings-mcp.service"
_LABEL = "io.github.drawthings-mcp.server"
_NO_BUS = (
    "(no systemd of yours runs here: log in as yourself, not by su or sudo; in a container start `drawthings-mcp serve "
    "--http` itself)"
)
_UNIT_TEXT = """\
# Written by drawthings-mcp. What you put into {name}.d/override.conf stays when it is written again.
[Unit]
Description=drawthings-mcp: pictures from Draw Things for chat clients
After=network.target

[Service]
ExecStart={command}
Restart=on-failure
RestartSec=5

[Install]
WantedBy=default.target
"""


@dataclass(frozen=True, slots=True)
class SystemdUnit:
    """A unit of the user's own systemd, described by a file."""

    file: Path

    def write(self, command: Sequence[str]) -> bytes:
        """The file's content for a command and its arguments."""
        quoted = " ".join(map(_quote_for_systemd, command))
        return _UNIT_TEXT.format(name=_UNIT, command=quoted).encode()

    def read_command(self) -> tuple[str, ...]:
        """The command that the file names; empty when there is none."""
        found = re.search(r"^ExecStart=(.*)$", _read_text(self.file), re.MULTILINE)
        return tuple(shlex.split(found[1].replace("%%", "%").replace("$$", "$"))) if found else ()

    def list_starts(self) -> Iterator[tuple[str, ...]]:
        """Commands that make systemd read the file, start the service now and at every login."""
        yield "systemctl", "--user", "daemon-reload"
        yield "systemctl", "--user", "enable", _UNIT
        # Also what is running already gets the new command.
        yield "systemctl", "--user", "restart", _UNIT

    def list_stops(self) -> Iterator[tuple[str, ...]]:
        """Commands that end both."""
        yield "systemctl", "--user", "disable", "--now", _UNIT

    @property
    def asks(self) -> tuple[str, ...]:
        """The command that succeeds while the service runs."""
        return "systemctl", "--user", "is-active", "--quiet", _UNIT

    def show_logs(self, *, follow: bool) -> tuple[str, ...]:
        """The command that prints what the server wrote."""
        return "journalctl", "--user", "--unit", _UNIT, "--lines", "200", "--follow" if follow else "--no-pager"


@dataclass(frozen=True, slots=True)
class LaunchAgent:
    """An agent of the user's launchd, with what ``SystemdUnit`` has; what the server writes goes to ``log``."""

    file: Path
    log: Path

    def write(self, command: Sequence[str]) -> bytes:
        return plistlib.dumps(
            {
                "Label": _LABEL,
                "ProgramArguments": list(command),
                "RunAtLoad": True,
                "KeepAlive": {"SuccessfulExit": False},
                "StandardOutPath": str(self.log),
                "StandardErrorPath": str(self.log),
            }
        )

    def read_command(self) -> tuple[str, ...]:
        try:
            return tuple(map(str, plistlib.loads(_read_text(self.file).encode())["ProgramArguments"]))
        except (plistlib.InvalidFileException, KeyError, TypeError, ValueError):
            return ()

    def list_starts(self) -> Iterator[tuple[str, ...]]:
        yield "launchctl", "bootstrap", self._domain, str(self.file)

    def list_stops(self) -> Iterator[tuple[str, ...]]:
        yield "launchctl", "bootout", f"{self._domain}/{_LABEL}"

    @property
    def asks(self) -> tuple[str, ...]:
        return "launchctl", "print", f"{self._domain}/{_LABEL}"

    def show_logs(self, *, follow: bool) -> tuple[str, ...]:
        return ("tail", "-n", "200", *(["-f"] if follow else []), str(self.log))

    @property
    def _domain(self) -> str:
        return f"gui/{os.getuid()}"


Service: TypeAlias = SystemdUnit | LaunchAgent


def find_service(machine: Machine) -> Service:
    """The service of this program on a machine.

    Raises
    ------
    InvalidInputError
        Its system has neither systemd nor launchd.
    """
    match machine.system:
        case "darwin":
            library = machine.home / "Library"
            return LaunchAgent(library / "LaunchAgents" / f"{_LABEL}.plist", library / "Logs" / "drawthings-mcp.log")
        case "linux":
            return SystemdUnit(machine.resolve("{dotted}/systemd/user") / _UNIT)
    raise InvalidInputError(
        Text(
            "There is no service for this system. Start {command} with a manager of services of your own.",
            command="`drawthings-mcp serve --http`",
        )
    )


def install_service(service: Service, command: Sequence[str], machine: Machine) -> Path | None:
    """Writes the file, starts the service, and has it started at every login.

    Returns
    -------
    Path or None
        Where the file is kept that was there before, when it said something else.

    Raises
    ------
    StorageError
        The file cannot be written.
    InvalidInputError
        The manager is not there or refuses; a file that was there before stays, in its new form.
    """
    content, kept = service.write(command), None
    is_new = not service.file.exists()
    try:
        service.file.parent.mkdir(parents=True, exist_ok=True)
        if service.file.is_file() and service.file.read_bytes() != content:
            kept = _keep(service.file)
        service.file.write_bytes(content)
    except OSError as error:
        raise StorageError(f"{service.file} cannot be written: {error.strerror}.") from error
    if isinstance(service, LaunchAgent) and is_running(service, machine):
        _run(service.list_stops(), machine)
    try:
        _run(service.list_starts(), machine)
    except InvalidInputError:
        if is_new:
            service.file.unlink()
        raise
    return kept


def uninstall_service(service: Service, machine: Machine) -> bool:
    """Ends the service and removes its file; whether there was one.

    Raises
    ------
    InvalidInputError
        The manager is not there or refuses; the file stays.
    """
    if not service.file.is_file():
        return False
    if isinstance(service, SystemdUnit) or is_running(service, machine):
        _run(service.list_stops(), machine)
    service.file.unlink(missing_ok=True)
    return True


def is_running(service: Service, machine: Machine) -> bool:
    """Whether the manager says that the service runs; False where there is no manager."""
    program = machine.find_program(service.asks[0])
    return program is not None and _start([program, *service.asks[1:]], machine.environment).returncode == 0


def _run(commands: Iterator[tuple[str, ...]], machine: Machine) -> None:
    for name, *arguments in commands:
        program = machine.find_program(name)
        if program is None:
            raise InvalidInputError(
                Text(
                    "{name} is not on this machine. Start {command} with a manager of services of your own.",
                    name=name,
                    command="`drawthings-mcp serve --http`",
                )
            )
        done = _start([program, *arguments], machine.environment)
        if done.returncode:
            problem = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            advice = f" {_NO_BUS}" if "connect to bus" in problem else ""
            template = "{command} failed: {problem}{advice}"
            called = shlex.join([name, *arguments])
            raise InvalidInputError(Text(template, command=called, problem=problem, advice=Phrase(advice)))


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)


def _keep(file: Path) -> Path:
    """Moves a file aside, under a name that is free."""
    places = (file.with_name(f"{file.name}.old{number or ''}") for number in range(1_000))
    kept = next(place for place in places if not place.exists())
    return file.rename(kept)


def _read_text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _quote_for_systemd(word: str) -> str:
    """A word of ``ExecStart``: ``%`` and ``$`` would be expanded (systemd.service(5), "Command lines")."""
    doubled = word.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", doubled):
        return doubled
    escaped = doubled.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
