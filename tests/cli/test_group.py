"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys
from typing import Any


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
