"""The clients themselves, where they are on the search path, read back what ``install`` wrote."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from drawthings_mcp.install.launch import find_launch
from tests.install.conftest import make_home, read_golden

SWITCH = "READ_BACK"
PROGRAMS = {
    "claude-code": "claude",
    "codex": "codex",
    "copilot": "copilot",
    "gemini": "gemini",
    "opencode": "opencode",
    "qwen": "qwen",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_client_lists_the_entry(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = shutil.which(PROGRAMS[name])
    if not os.environ.get(SWITCH):
        pytest.skip(f"real clients take their time and call home: {SWITCH}=1 tries them")
    if program is None:
        pytest.skip(f"{PROGRAMS[name]} is not on this machine")
    search_path = os.environ["PATH"]
    home = make_home(tmp_path / "home", {name: read_golden(name, "before")})
    monkeypatch.setenv("HOME", str(home.folder))
    said = home.run("install", name, "--server", "demo", "--yes", PATH=search_path)
    assert said.code == 0, said.stderr
    written = home.read(name)
    assert [line for line in read_golden(name, "before").splitlines() if is_comment(line) and line not in written] == []
    environment = {**home.environment, "PATH": search_path, "NO_COLOR": "1", "COLUMNS": "500"}
    command = [program, "mcp", "list"]
    listed = subprocess.run(
        command, cwd=home.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100
    )
    shown = listed.stdout + listed.stderr
    assert "drawthings" in shown
    # One lists names only.
    assert name == "copilot" or find_launch().command in shown


def is_comment(line: str) -> bool:
    return line.strip().startswith(("//", "#"))
