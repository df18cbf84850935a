"""Homes with chat clients in them, and the commands that change those."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from drawthings_mcp.cli import main
from drawthings_mcp.install.clients import CLIENTS, ChatProgram, Machine
from drawthings_mcp.install.launch import find_launch
from tests.warm_start import put_command

GOLDEN = Path(__file__).parents[1] / "golden" / "install"
COMMAND = "$COMMAND"
"""What stands in a golden file for the command of the installed program."""


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Home:
    """A home folder of nobody, without any program of a client on the search path but those in ``bin``."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a command that runs there."""
        return {"HOME": str(self.folder), "PATH": str(self.folder / "bin")}

    @property
    def machine(self) -> Machine:
        """The same as a place to look for clients."""
        return Machine("linux", self.folder, self.environment)

    def run(self, *arguments: str, answers: str = "", **variables: str) -> Said:
        """A command in this process, with answers for what it asks."""
        result = CliRunner().invoke(main, arguments, input=answers, env={**self.environment, **variables})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    def put(self, name: str, text: str | bytes) -> Path:
        """Give a client its configuration; the path."""
        path = get_client(name).find_file(self.machine)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def read(self, name: str) -> str:
        """A client's configuration."""
        return get_client(name).find_file(self.machine).read_bytes().decode()

    def list_files(self) -> dict[str, bytes]:
        """What is in the home, by path; what the server keeps for itself is left out."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        named = {str(path.relative_to(self.folder)): path.read_bytes() for path in files}
        return {name: data for name, data in named.items() if not name.startswith((".local/", "bin/", "Pictures/"))}


def get_client(name: str) -> ChatProgram:
    return next(client for client in CLIENTS if client.name == name)


def read_golden(name: str, moment: str) -> str:
    (path,) = (GOLDEN / name).glob(f"{moment}.*")
    return path.read_text(encoding="utf-8").replace(COMMAND, find_launch().command)


def make_home(folder: Path, names: Mapping[str, str] | None = None) -> Home:
    (folder / "bin").mkdir(parents=True)
    home = Home(folder)
    for name, text in (names or {}).items():
        home.put(name, text)
    return home


@pytest.fixture(autouse=True, scope="session")
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An installation whose command starts fast: what is written into configurations is tried, each time."""
    folder = tmp_path_factory.mktemp("installed")
    put_command(folder)
    about = folder / "drawthings_mcp-0.dist-info"
    about.mkdir()
    for name in ("METADATA", "direct_url.json"):
        if text := metadata.distribution("drawthings-mcp").read_text(name):
            (about / name).write_text(text, encoding="utf-8")
    (about / "RECORD").write_text("drawthings-mcp,,\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty one."""
    return make_home(tmp_path / "home")


@pytest.fixture
def put_program(home: Home) -> Callable[[str, str], Path]:
    """``put_program("codex", script)`` makes a program of a client that is on the search path."""

    def put(name: str, script: str) -> Path:
        path = home.folder / "bin" / name
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    return put
