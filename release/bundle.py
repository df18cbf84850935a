"""Makes the bundle for one-click installation in desktop clients, and the entry for the MCP registry.

Run by ``make bundle``. What both say of the project is read from ``pyproject.toml``. The official
command line, which needs Node, checks and packs the bundle.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKER = "@anthropic-ai/mcpb@2.1.2"
CONTENTS = ("drawthings_mcp", "configs", "pyproject.toml", "README.md", "LICENSE", "release/icon.png")
"""What ``uv`` needs to make the environment, and the icon."""


def read_project() -> dict[str, Any]:
    """The table ``[project]``."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return project


def read_manifest() -> dict[str, Any]:
    """The bundle's manifest, complete."""
    project = read_project()
    manifest: dict[str, Any] = json.loads((ROOT / "release" / "manifest.json").read_text("utf-8"))
    return {**manifest, "version": project["version"], "description": project["description"]}


def read_registry_entry() -> dict[str, Any]:
    """The registry's ``server.json``, complete."""
    version = read_project()["version"]
    entry: dict[str, Any] = json.loads((ROOT / "release" / "server.json").read_text("utf-8"))
    packages = [{**package, "version": version} for package in entry["packages"]]
    return {**entry, "version": version, "packages": packages}


def stage(folder: Path) -> None:
    """Lays out what the bundle contains."""
    folder.mkdir(parents=True)
    for name in CONTENTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / source.name)
    (folder / "manifest.json").write_text(json.dumps(read_manifest(), indent=2, ensure_ascii=False), "utf-8")


def pack(folder: Path, bundle: Path) -> None:
    """Checks and packs what was laid out; ends the program when the packer refuses it."""
    for arguments in (["validate", str(folder)], ["pack", str(folder), str(bundle)]):
        subprocess.run(["npx", "--yes", PACKER, *arguments], check=True)


def main() -> None:
    """Writes the bundle and ``server.json`` into ``dist/``."""
    if shutil.which("npx") is None:
        sys.exit("The bundle is packed by a program that needs Node: install Node 20 or newer.")
    dist, staged = ROOT / "dist", ROOT / "build" / "bundle"
    shutil.rmtree(staged, ignore_errors=True)
    dist.mkdir(exist_ok=True)
    stage(staged)
    pack(staged, dist / f"drawthings-mcp-{read_project()['version']}.mcpb")
    (dist / "server.json").write_text(json.dumps(read_registry_entry(), indent=2), "utf-8")


if __name__ == "__main__":
    main()
