"""The HTTP server as a service. The real systemd reads what is written; who is told to start it is a stand-in."""

from __future__ import annotations

import os
import plistlib
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from drawthings_mcp.install.clients import Machine
from drawthings_mcp.install.service import find_service
from tests.warm_start import list_command

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = str(Path(sys.executable).with_name("drawthings-mcp"))

MANAGER = """#!/bin/sh
echo "$@" >> "$MANAGER_LOG"
case "$*" in
*is-active*) test -e "$MANAGER_LOG.active" ;;
*restart*) touch "$MANAGER_LOG.active" ;;
*disable*) rm -f "$MANAGER_LOG.active" ;;
esac
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """What the manager was told, a line each."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "systemctl").write_text(MANAGER)
    (programs / "systemctl").chmod(0o755)
    return tmp_path / "told.txt"


@pytest.fixture
def run(home: Path, told: Path) -> Run:
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{told.parent / 'bin'}:/usr/bin:/bin",
        "MANAGER_LOG": str(told),
    }

    def service(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = list_command("-m", "drawthings_mcp", "service", *arguments)
        return subprocess.run(command, env=environment | variables, text=True, capture_output=True, timeout=60)

    return service


@pytest.fixture
def unit(home: Path) -> Path:
    return home / ".config" / "systemd" / "user" / "drawthings-mcp.service"


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="systemd is of Linux")


@on_linux
def test_a_service_is_installed_started_and_removed(run: Run, unit: Path, told: Path, home: Path) -> None:
    done = run("install", "--http", "127.0.0.1:0", DRAWTHINGS_SERVER="demo")
    assert done.returncode == 0, done.stderr
    assert f"{unit}: started" in done.stdout
    (token,) = re.findall(r"shown this once: (\S+)$", done.stderr, re.MULTILINE)
    (tokens,) = home.rglob("tokens.txt")
    assert token in tokens.read_text()
    assert "A token was made" not in run("install", "--http", "127.0.0.1:0").stderr
    assert "does not get this shell's DRAWTHINGS_SERVER; write them to config.toml" in done.stderr
    assert f"ExecStart={COMMAND} serve --http 127.0.0.1:0\n" in unit.read_text()
    assert told.read_text().splitlines()[:3] == [
        "--user daemon-reload",
        "--user enable drawthings-mcp.service",
        "--user restart drawthings-mcp.service",
    ]
    removed = run("uninstall")
    assert removed.stdout == f"{unit}: removed.\n"
    assert not unit.exists()
    assert told.read_text().endswith("--user disable --now drawthings-mcp.service\n")
    assert run("uninstall").stdout == "It was not installed.\n"


@pytest.mark.slow
@on_linux
def test_a_changed_unit_is_kept_when_it_is_written_again(run: Run, unit: Path) -> None:
    run("install")
    run("install")
    assert [path.name for path in unit.parent.iterdir()] == [unit.name]
    changed = unit.read_text() + "# mine\n"
    unit.write_text(changed)
    for _ in range(2):
        assert run("install", "--http", "127.0.0.1:7000").returncode == 0
        unit.write_text(changed)
    assert [path.read_text() for path in sorted(unit.parent.glob("*.old*"))] == [changed, changed]


@on_linux
def test_options_of_serve_are_checked_before_anything_is_written(run: Run, unit: Path) -> None:
    for options, problem in ((["--htp", "x"], "--htp"), (["--tls-cert"], "--tls-cert")):
        done = run("install", *options)
        assert done.returncode == 2
        assert problem in done.stderr
    assert not unit.exists()


@on_linux
def test_a_service_that_cannot_be_started_is_not_installed(run: Run, unit: Path, told: Path) -> None:
    (told.parent / "bin" / "systemctl").write_text(
        "#!/bin/sh\necho 'Failed to connect to bus: No medium' >&2\nexit 1\n"
    )
    done = run("install")
    status = run("status")
    assert done.returncode == 1
    assert "systemctl --user daemon-reload failed: Failed to connect to bus: No medium (no systemd of" in done.stderr
    assert not unit.exists()
    assert "It is not installed" in status.stderr


@on_linux
def test_a_machine_without_systemd_is_said_so(run: Run, told: Path) -> None:
    (told.parent / "bin" / "systemctl").unlink()
    done = run("install", PATH=str(told.parent / "bin"))
    assert done.returncode == 1
    assert "systemctl is not on this machine. Start `drawthings-mcp serve --http` with" in done.stderr


@on_linux
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_no_fault_in_the_unit_and_reads_the_words_back(tmp_path: Path) -> None:
    service = find_service(Machine("linux", tmp_path, {}))
    folder = tmp_path / 'a "50 %" folder of $HOME'
    folder.mkdir()
    command = (sys.executable, "-c", "pass", "--token-file", str(folder / "back\\slash 'n tokens"))
    service.file.parent.mkdir(parents=True)
    service.file.write_bytes(service.write(command))
    analyze = ["systemd-analyze", "--user", "--man=no", "verify", str(service.file)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(analyze, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert service.file.name not in done.stderr
    assert service.read_command() == command


def test_launchd_gets_the_words_as_they_are(tmp_path: Path) -> None:
    service = find_service(Machine("darwin", tmp_path, {}))
    assert service.file == tmp_path / "Library" / "LaunchAgents" / "io.github.drawthings-mcp.server.plist"
    command = (sys.executable, "serve", "--token-file", str(tmp_path / "a <b> & “c”"))
    service.file.parent.mkdir(parents=True)
    service.file.write_bytes(service.write(command))
    agent = plistlib.loads(service.file.read_bytes())
    assert agent["ProgramArguments"] == list(command)
    assert agent["RunAtLoad"] is True
    assert service.read_command() == command
    assert [command[:2] for command in service.list_starts()] == [("launchctl", "bootstrap")]


@on_linux
def test_what_is_installed_serves_and_its_status_says_so(run: Run, unit: Path, home: Path) -> None:
    assert run("status").returncode == 1
    port = _find_free_port()
    assert run("install", "--http", f"127.0.0.1:{port}").returncode == 0
    service = find_service(Machine("linux", home, {}))
    with _started(service.read_command(), home, port):
        status = run("status")
        assert status.returncode == 0, status.stderr
        assert status.stdout.startswith(f"{unit}\nrunning\nhttp://127.0.0.1:{port}/health: ")
    dead = run("status")
    assert dead.returncode == 1
    assert "no answer" in dead.stdout


def _find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _started(command: tuple[str, ...], home: Path, port: int) -> Iterator[None]:
    with subprocess.Popen(command, env={**os.environ, "HOME": str(home)}, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        for line in server.stderr:
            if str(port) in line:
                break
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert answer.status == 200
        try:
            yield
        finally:
            server.terminate()
