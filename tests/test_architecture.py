"""The two invariants of the house, and what importing may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "drawthings_mcp"

ROWS = {
    "address": 1,
    "errors": 0,
    "faces": 0,
    "limits": 0,
    "packaged": 0,
    "params": 2,
    "tasks": 0,
    "databases": 1,
    "validation": 0,
    "_generated": 1,
    "generation": 1,
    "tensors": 1,
    "catalog": 2,
    "events": 2,
    "settings": 2,
    "metadata": 3,
    "presets": 3,
    "planning": 4,
    "web": 3,
    "wire": 3,
    "client": 4,
    "library": 4,
    "attachments": 5,
    "references": 5,
    "search": 5,
    "doctor": 6,
    "studio": 6,
    "api": 7,
    "cli": 7,
    "server": 7,
    "__main__": 8,
}
"""Rooms from bottom to top; a room imports from its own row or below."""

SIMULATOR_MAY_IMPORT = {"_generated", "errors", "faces", "limits", "simulator", "tensors"}
MAY_IMPORT_SIMULATOR = {"cli", "doctor", "simulator", "studio"}

ARRAYS = {
    "doctor",
    "api",
    "attachments",
    "client",
    "generation",
    "references",
    "library",
    "metadata",
    "planning",
    "search",
    "simulator",
    "studio",
    "tensors",
    "wire",
}
"""Rooms that handle arrays; numpy is their common tongue and at home in all of them."""

HOMES = {
    "PIL": {"attachments", "library", "metadata", "search", "simulator", "tensors"},
    "av": {"library"},
    "anyio": {
        "api",
        "attachments",
        "cli",
        "client",
        "doctor",
        "references",
        "search",
        "server",
        "simulator",
        "studio",
        "tasks",
        "web",
    },
    "click": {"cli"},
    "cryptography": {"client", "simulator"},
    "flatbuffers": {"_generated", "wire"},
    "fpzip": {"tensors"},
    "google": {"_generated"},
    "grpc": {"_generated", "client", "simulator"},
    "httpx2": {"search", "web"},
    "isal": {"tensors"},
    "mcp": {"server"},
    "numpy": {*ARRAYS, "_generated"},
    "pillow_heif": {"tensors"},
    "platformdirs": {"settings"},
    "pydantic": {"generation", "params", "presets", "server", "settings", "validation"},
    "pydantic_core": {"validation"},
    "sqlite3": {"databases", "library", "search"},
}
"""The rooms in which an outside library may be imported."""

HEAVY = {"PIL", "cryptography", "fpzip", "grpc", "httpx2", "mcp", "numpy", "sqlite3"}


def list_imports() -> Iterator[tuple[str, str, str]]:
    """Room, imported module, and place of every import, also of those inside functions."""
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        room = relative.parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{relative}:{node.lineno} imports relatively"
                names = [alias.name for alias in node.names] if node.module == "drawthings_mcp" else [""]
                for name in names:
                    yield room, f"{node.module}.{name}".rstrip("."), f"{relative}:{node.lineno}"
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "load_room":
                (argument,) = node.args
                name = ast.literal_eval(argument)  # fails for a computed name, which would hide what is loaded
                yield room, "drawthings_mcp." + str(name), f"{relative}:{node.lineno}"
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield room, alias.name, f"{relative}:{node.lineno}"


IMPORTS = [found for found in list_imports() if found[0] != "__init__"]


def test_imports_point_down() -> None:
    for room, module, place in IMPORTS:
        if not module.startswith("drawthings_mcp."):
            continue
        target = module.split(".")[1]
        if room == "simulator":
            assert target in SIMULATOR_MAY_IMPORT, place
        elif target == "simulator":
            assert room in MAY_IMPORT_SIMULATOR, place
        else:
            assert ROWS[target] <= ROWS[room], f"{place}: {room} imports {target}, which is above it"


def test_every_outside_library_stays_in_its_home() -> None:
    for room, module, place in IMPORTS:
        library = module.split(".")[0]
        if library == "drawthings_mcp" or (library in sys.stdlib_module_names and library not in HOMES):
            continue
        assert library in HOMES, f"{place}: {library} has no home yet"
        assert room in HOMES[library], f"{place}: {library} is at home in {sorted(HOMES[library])}"


def test_generated_code_is_imported_where_messages_are_handled_only() -> None:
    for room, module, place in IMPORTS:
        if module.startswith("drawthings_mcp._generated"):
            assert room in {"_generated", "client", "simulator", "wire"}, place


@pytest.mark.parametrize(
    ("modules", "allowed"),
    [
        (("drawthings_mcp", "drawthings_mcp.generation", "drawthings_mcp.events", "drawthings_mcp.settings"), set()),
        (("drawthings_mcp.cli",), set()),
        # The SDK itself loads cryptography.
        (("drawthings_mcp.cli", "drawthings_mcp.server.stdio"), {"mcp", "cryptography", "httpx2"}),
    ],
)
def test_importing_loads_nothing_heavy(modules: tuple[str, ...], allowed: set[str]) -> None:
    code = f"import sys; import {', '.join(modules)}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(loaded.stdout.split()) & HEAVY <= allowed
