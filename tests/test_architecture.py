"""The plan of the house, as CONTRIBUTING.md draws it, and what importing may cost."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "drawthings_mcp"

ROWS = {
    "address": 0,
    "errors": 0,
    "faces": 0,
    "quoting": 0,
    "limits": 0,
    "memory": 0,
    "packaged": 0,
    "params": 2,
    "tasks": 0,
    "databases": 1,
    "private": 1,
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
    "install": 6,
    "jobs": 6,
    "studio": 6,
    "api": 7,
    "cli": 7,
    "server": 7,
    "__main__": 8,
}
"""Rooms from bottom to top; a room imports from its own row or below."""

SIMULATOR_MAY_IMPORT = {"_generated", "errors", "faces", "limits", "quoting", "simulator", "tensors"}
MAY_IMPORT_SIMULATOR = {"cli", "doctor", "simulator", "studio"}

ARRAYS = {
    "api",
    "attachments",
    "doctor",
    "generation",
    "library",
    "planning",
    "search",
    "simulator",
    "studio",
    "tensors",
    "wire",
}
"""Rooms that handle arrays; numpy is their common tongue and at home in all of them."""

HOMES = {
    "PIL": {"api", "attachments", "metadata", "search", "simulator", "tensors"},
    "av": {"library"},
    "anyio": {
        "api",
        "attachments",
        "cli",
        "client",
        "doctor",
        "install",
        "jobs",
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
    "dbos": {"jobs"},
    "flatbuffers": {"_generated", "wire"},
    "fpzip": {"tensors"},
    "google": {"_generated"},
    "grpc": {"_generated", "client", "simulator"},
    "httpx2": {"search", "server", "web"},
    "isal": {"tensors"},
    "mcp": {"install", "server"},
    "numpy": ARRAYS,
    "pillow_heif": {"tensors"},
    "platformdirs": {"settings"},
    "pydantic": {"generation", "params", "server", "settings", "validation"},
    "pydantic_core": {"validation"},
    "ruamel": {"install"},
    "send2trash": {"studio"},
    "snowballstemmer": {"search"},
    "sqlite3": {"databases", "jobs", "library", "search"},
    "starlette": {"server"},
    "tomlkit": {"install"},
    "uvicorn": {"server"},
    "zeroconf": {"client"},
}
"""The rooms in which an outside library may be imported."""

HEAVY = {
    "PIL",
    "cryptography",
    "dbos",
    "fpzip",
    "grpc",
    "httpx2",
    "mcp",
    "numpy",
    "ruamel",
    "send2trash",
    "snowballstemmer",
    "sqlite3",
    "starlette",
    "tomlkit",
    "uvicorn",
    "zeroconf",
}


MUST_NOT_KNOW = {
    "_generated": set(),
    "api": {"attachments", "doctor", "references", "search", "server", "simulator", "studio", "cli"},
    "attachments": {"client", "planning", "presets", "references", "search", "wire"},
    "cli": {"_generated", "client", "wire"},
    "client": {"library", "metadata", "params", "planning", "presets", "tensors", "web"},
    "doctor": {"attachments", "references", "search", "studio"},
    "generation": {"tensors", "_generated", "catalog"},
    "install": {"client", "planning", "presets", "search", "server", "studio", "wire"},
    "library": {"client", "planning", "presets", "wire", "web"},
    "metadata": {"wire", "presets", "library", "_generated"},
    "planning": {"client", "library", "metadata", "settings", "web"},
    "presets": {"settings", "tensors", "wire", "metadata"},
    "references": {"attachments", "client", "planning", "presets", "wire"},
    "search": {"attachments", "client", "planning", "presets", "wire"},
    "server": {"client", "wire", "_generated", "simulator", "api"},
    "studio": {"_generated"},
    "tensors": {"_generated", "generation"},
    "web": {"client", "wire", "_generated", "library", "generation"},
    "wire": {"metadata", "presets", "settings", "web"},
}
"""What a room must not know although it stands on its own row or below."""

NO_INPUT_OR_OUTPUT = {
    "anyio",
    "asyncio",
    "grpc",
    "httpx2",
    "os",
    "pathlib",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
}
PURE = {"catalog", "events", "params", "planning", "wire"}
"""Rooms that touch neither files nor sockets nor tasks."""


@cache
def parse_files() -> dict[Path, ast.Module]:
    """Every file of the package, by its path in it. Not read where these tests are collected only."""
    return {
        path.relative_to(PACKAGE): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
    }


@pytest.fixture
def modules() -> dict[str, ast.Module]:
    """Every module of the package that is written by hand, by its dotted name."""
    return {
        ".".join((PACKAGE.name, *path.with_suffix("").parts)).removesuffix(".__init__"): tree
        for path, tree in parse_files().items()
        if "_generated" not in path.parts
    }


def find_imports() -> Iterator[tuple[str, str, str]]:
    for relative, tree in parse_files().items():
        room = relative.parts[0].removesuffix(".py")
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{relative}:{node.lineno} imports relatively"
                names = [alias.name for alias in node.names] if node.module == "drawthings_mcp" else [""]
                for name in names:
                    yield room, f"{node.module}.{name}".rstrip("."), f"{relative}:{node.lineno}"
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield room, alias.name, f"{relative}:{node.lineno}"


@cache
def list_imports() -> list[tuple[str, str, str]]:
    """Room, imported module, and place of every import, also of those inside functions."""
    return [found for found in find_imports() if found[0] != "__init__"]


def test_imports_point_down() -> None:
    for room, module, place in list_imports():
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
    for room, module, place in list_imports():
        library = module.split(".")[0]
        if library == "drawthings_mcp" or (library in sys.stdlib_module_names and library not in HOMES):
            continue
        assert library in HOMES, f"{place}: {library} has no home yet"
        assert room in HOMES[library], f"{place}: {library} is at home in {sorted(HOMES[library])}"


def test_a_home_of_a_library_is_a_room_that_imports_it() -> None:
    living = {(module.split(".")[0], room) for room, module, _ in list_imports()}
    assert {(library, room) for library, rooms in HOMES.items() for room in rooms} - living == set()


def test_generated_code_is_imported_where_messages_are_handled_only() -> None:
    for room, module, place in list_imports():
        if module.startswith("drawthings_mcp._generated"):
            assert room in {"_generated", "client", "simulator", "wire"}, place


@pytest.mark.parametrize(
    ("modules", "allowed"),
    [
        (("drawthings_mcp", "drawthings_mcp.generation", "drawthings_mcp.events", "drawthings_mcp.settings"), set()),
        (("drawthings_mcp.cli",), set()),
        # The SDK itself loads what it serves HTTP with.
        (
            ("drawthings_mcp.cli", "drawthings_mcp.server.stdio"),
            {"mcp", "cryptography", "httpx2", "starlette", "uvicorn"},
        ),
    ],
)
def test_importing_loads_nothing_heavy(modules: tuple[str, ...], allowed: set[str]) -> None:
    code = f"import sys; import {', '.join(modules)}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(loaded.stdout.split()) & HEAVY <= allowed


def test_a_room_does_not_know_what_it_must_not() -> None:
    for room, module, place in list_imports():
        if module.startswith("drawthings_mcp."):
            target = module.split(".")[1]
            assert target not in MUST_NOT_KNOW.get(room, set()), f"{place}: {room} must not know {target}"


def test_pure_rooms_do_no_input_or_output() -> None:
    for room, module, place in list_imports():
        if room in PURE:
            assert module.split(".")[0] not in NO_INPUT_OR_OUTPUT, f"{place}: {room} is pure, {module} is not"


def list_names_of_types(tree: ast.Module) -> Iterator[str]:
    """Classes and type aliases of a module, without a leading underscore."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name.lstrip("_")
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            yield ast.unparse(node.target).lstrip("_")
        elif isinstance(node, ast.Assign) and is_type(node.value):
            yield from (target.id.lstrip("_") for target in node.targets if isinstance(target, ast.Name))


def is_type(value: ast.expr) -> bool:
    """Whether an assigned value is a type, as far as its form tells."""
    if isinstance(value, ast.BinOp):
        return isinstance(value.op, ast.BitOr) and (is_type(value.left) or is_type(value.right))
    called = value.func if isinstance(value, ast.Call) else None
    subscripted = value.value if isinstance(value, ast.Subscript) else None
    name = ast.unparse(called or subscripted or value)
    makers = {"NewType", "NamedTuple", "TypedDict"}
    generics = {"Annotated", "Callable", "Literal", "Mapping", "NDArray", "Sequence", "Union", "dict", "list", "tuple"}
    return name in (makers if called else generics if subscripted else ())


def test_no_name_of_a_type_is_defined_in_two_modules(modules: dict[str, ast.Module]) -> None:
    homes: dict[str, list[str]] = {}
    for module, tree in modules.items():
        if not module.startswith("drawthings_mcp.simulator"):
            for name in set(list_names_of_types(tree)):
                homes.setdefault(name, []).append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def list_imported_modules(tree: ast.Module, known: Collection[str]) -> set[str]:
    """The modules of this package that a module imports when it is loaded or used, not for its types alone."""
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in typing_only and node.module:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {module if module in known else node.module for module in modules}
    return found & set(known)


def test_no_modules_import_each_other_in_a_circle(modules: dict[str, ast.Module]) -> None:
    graph = {
        module: list_imported_modules(tree, modules) - {module, "drawthings_mcp"} for module, tree in modules.items()
    }
    left = dict(graph)
    while free := [module for module, targets in left.items() if not targets & left.keys()]:
        for module in free:
            del left[module]
    assert {module: sorted(targets & left.keys()) for module, targets in left.items()} == {}


def test_nothing_is_imported_by_a_string(modules: dict[str, ast.Module]) -> None:
    for module, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func).rpartition(".")[2]
                assert called not in {"import_module", "__import__"}, f"{module}:{node.lineno}"
            if isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
                assert module == "drawthings_mcp" or node.args.args[0].arg == "self", f"{module}:{node.lineno}"


def test_rooms_and_modules_are_named_by_their_subject(modules: dict[str, ast.Module]) -> None:
    names = {part for module in modules for part in module.split(".")}
    assert names & {"utils", "helpers", "common", "managers", "core", "model", "models", "misc"} <= {"models"}
    assert [module for module in modules if module.endswith((".model", ".models"))] == ["drawthings_mcp.cli.models"]


def test_the_plan_in_contributing_has_every_room_on_its_row(modules: dict[str, ast.Module]) -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    planned = {
        room: row
        for row, names in re.findall(r"^\| (\d|side) \| ([^|]+) \|", text, re.MULTILINE)
        for room in re.findall(r"`(\w+)(?:/|\.py)`", names)
    }
    assert planned == {room: str(row) for room, row in ROWS.items() if room != "__main__"} | {"simulator": "side"}
    assert {module.split(".")[1] for module in modules if "." in module} == {*ROWS, "simulator"} - {"_generated"}


def test_the_house_stays_one_that_can_be_walked_through(modules: dict[str, ast.Module]) -> None:
    assert len(modules) <= 300
    assert [module for module, tree in modules.items() if measure(tree) > 600] == []
    functions = [
        (f"{module}.{node.name}", measure(node))
        for module, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [name for name, lines in functions if lines > 80] == []
    assert statistics.median(lines for _, lines in functions) <= 8


def measure(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a module or a function, with its docstring."""
    first = node.body[0].lineno if isinstance(node, ast.Module) else node.lineno
    return (node.body[-1].end_lineno or 0) - first + 1
