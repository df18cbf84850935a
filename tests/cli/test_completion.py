"""What a shell offers while somebody types."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from drawthings_mcp.cli import main

Invoke = Callable[..., Any]


@pytest.fixture
def offered(folders: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """``offered("generate", "--family", typed="z")``: values, a file as ``<file>``."""
    for name, value in folders.items():
        monkeypatch.setenv(name, value)

    def ask(*words: str, typed: str = "") -> list[str]:
        items = ShellComplete(main, {}, "drawthings-mcp", "_COMPLETE").get_completions([*words], typed)
        return [item.value if item.type == "plain" else f"<{item.type}>" for item in items]

    return ask


@pytest.mark.parametrize(
    ("words", "typed", "values"),
    [
        (("install",), "c", ["claude-desktop", "claude-code", "cursor", "codex", "cline", "cline-cli", "copilot"]),
        (("generate", "a fox", "--family"), "Q", ["qwen-image"]),
        (("edit", "x", "y", "--sampler"), "dpm++ 2m", ["DPM++ 2M Karras", "DPM++ 2M AYS", "DPM++ 2M Trailing"]),
        (("generate", "--family"), "no such", []),
        (("generate", "--canvas"), "./", ["<file>"]),
        (("--server", "demo", "generate", "--model"), "z_image_turbo_1.0_q8", ["z_image_turbo_1.0_q8p.ckpt"]),
        (("generate", "--server", "demo", "--lora"), "flux.1_turbo", ["flux.1_turbo_alpha_lora_f16.ckpt"]),
    ],
)
def test_names_that_begin_so_are_offered(
    offered: Callable[..., list[str]], words: tuple[str, ...], typed: str, values: list[str]
) -> None:
    assert offered(*words, typed=typed) == values


def test_a_server_that_is_away_costs_its_models_only(offered: Callable[..., list[str]], closed_port: str) -> None:
    assert offered("generate", "--server", closed_port, "--model", typed="z_") == []
    assert offered("generate", "--server", "not an address", "--family", typed="z") == []


def test_the_users_own_presets_come_first(offered: Callable[..., list[str]], tmp_path: Path) -> None:
    folder = tmp_path / "state" / "presets"
    folder.mkdir(parents=True)
    (folder / "mine.json").write_text('[{"name": "Z of mine", "configuration": {"steps": 4}}]', encoding="utf-8")
    names = offered("generate", "--preset", typed="z")
    assert names[0] == "Z of mine"
    assert "Z Image Turbo 1.0" in names


def test_pictures_are_offered_by_id(offered: Callable[..., list[str]], invoke: Invoke) -> None:
    assert offered("show") == ["<file>"]
    assert invoke("generate", "a fox", "--size", "128", "--server", "demo").code == 0
    assert offered("show", typed="v") == ["v1"]
    assert offered("tag", typed="LATEST:V") == ["latest:v"]
    assert offered("search", "--like", typed="fox.p") == ["<file>"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_in_bash_a_name_with_blanks_is_one_word() -> None:
    script = """
    eval "$(_DRAWTHINGS_MCP_COMPLETE=bash_source drawthings-mcp)"
    COMP_WORDS=(drawthings-mcp generate --sampler 'Euler\\ A\\ T') COMP_CWORD=3
    _drawthings_mcp_completion drawthings-mcp
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "Euler\\ A\\ Trailing\n"
