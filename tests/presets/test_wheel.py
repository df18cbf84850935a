"""The data files reach people who install the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from drawthings_mcp.packaged import find_configs

ROOT = Path(__file__).parents[2]


def _run(*command: str, **environment: str) -> str:
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_checkout_uses_the_folder_at_its_top() -> None:
    assert find_configs() == ROOT / "configs"


def test_the_wheel_carries_the_folder_inside_the_package(tmp_path: Path) -> None:
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    guides = {path.relative_to(ROOT) for path in (ROOT / "configs" / "guides").rglob("*.md")}
    assert len(guides) > 20
    assert guides == {
        path.relative_to(installed / "drawthings_mcp")
        for path in (installed / "drawthings_mcp" / "configs" / "guides").rglob("*.md")
    }
    script = (
        "from drawthings_mcp.presets import mode_table; from drawthings_mcp.packaged import find_configs; "
        "print(find_configs(), len(mode_table.list_recipes()), mode_table.choose_model(['sd_v1.5_f16.ckpt']))"
    )
    assert _run(sys.executable, "-P", "-c", script, PYTHONPATH=str(installed)) == (
        f"{installed / 'drawthings_mcp' / 'configs'} 61 sd_v1.5_f16.ckpt\n"
    )
