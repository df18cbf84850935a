"""Every example of the README, the guide and the library's document does what the text claims."""

from __future__ import annotations

import fnmatch
import io
import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

import click
import pytest

from drawthings_mcp import ImageGenerationConfig
from drawthings_mcp.cli.serve import serve
from drawthings_mcp.settings import NAMES, variable

ROOT = Path(__file__).parents[2]
_CLAIM = re.compile(r"  # → (.*)$", re.MULTILINE)


PAGE = "docs/draw-things-server.md"
"""Its commands need a real server: they are not run, but compared with what is known of that server's options."""


def list_claims(text: str) -> list[str]:
    """What the comments of a block say that it prints, line by line; ``…`` stands for anything."""
    return [claim.strip() for claim in _CLAIM.findall(text)]


def match(printed: str, claim: str) -> bool:
    pattern = re.sub(r"([\[\]*?])", r"[\1]", claim).replace("…", "*")
    return fnmatch.fnmatchcase(printed, pattern)


def run_python(block: Any, place: Any, names: dict[str, Any]) -> None:
    # Lines are kept, so that a traceback shows the line of the text.
    source = "\n" * (block.line - 1) + place.settle(block.text)
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(source, block.file, "exec"), names)
    claims = list_claims(block.text)
    lines = printed.getvalue().splitlines()
    if claims:
        assert len(lines) == len(claims), f"{block.file}:{block.line}: {lines}"
    for line, claim in zip(lines, claims, strict=False):
        assert match(line, claim), f"{block.file}:{block.line}: {line!r} is not {claim!r}"


def run_shell(block: Any, folder: Path, text: str | None = None) -> str:
    done = subprocess.run(
        ["sh", "-eu", "-c", text or block.text], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{block.file}:{block.line}: {done.stderr}"
    return done.stdout


def list_entries(configuration: dict[str, Any]) -> list[list[str]]:
    """The command lines in a chat client's configuration."""
    (servers,) = configuration.values()
    commands = [(server["command"], server.get("args", [])) for server in servers.values()]
    return [[*(command if isinstance(command, list) else [command]), *rest] for command, rest in commands]


@pytest.mark.slow
def test_every_python_example_of_the_library_does_what_it_says(library: list[Any], place: Any) -> None:
    names: dict[str, Any] = {"__name__": "guide", "exits": ExitStack()}
    try:
        for block in library:
            if block.language == "python":
                run_python(block, place, names)
    finally:
        # A client that stays open keeps its thread, and with it the whole process.
        names["exits"].close()
    assert len(list(place.folder.glob("output/*.png"))) == 2
    assert (place.folder / "films" / "waves.wav").is_file()


@pytest.mark.slow
def test_every_python_example_of_the_library_passes_a_strict_type_checker(library: list[Any], tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="the tools of make check are not installed")
    lines = ["from contextlib import ExitStack", "exits: ExitStack"]
    for block in library:
        if block.language == "python":
            # The lines of the text, as far as they go: what is reported can be found there.
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    (tmp_path / "examples.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    command = [sys.executable, "-m", "mypy", *config, "--allow-redefinition", str(tmp_path / "examples.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_command_of_the_library_succeeds(
    library: list[Any], place: Any, command_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(command_folder), prepend=os.pathsep)
    commands, batch = (block for block in library if block.language == "sh")
    printed = run_shell(commands, place.folder, place.settle(commands.text))
    assert "papercut_sdxl_lora_f16.ckpt" in printed
    assert (place.folder / "fox.png").is_file()
    assert (place.folder / "night.png").is_file()
    printed = run_shell(batch, place.folder, place.settle(batch.text))
    assert printed.splitlines() == [
        str(place.folder / "batch" / f"animal-{number}.png") for number in ("001", "002", "002")
    ]


def test_the_python_example_of_the_readme_saves_a_picture(readme: list[Any], place: Any) -> None:
    (block,) = (block for block in readme if block.language == "python")
    run_python(block, place, {})
    assert (place.folder / "output" / "fox.png").is_file()


def test_the_readme_begins_with_the_demo_and_the_tests(readme: list[Any]) -> None:
    targets = [line.split()[:2] for line in readme[0].text.splitlines()]
    assert targets == [["make", "demo"], ["make", "test"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{name}: " in makefile for _, name in targets)


def test_every_command_of_the_readme_runs_as_typed_after_the_demo(
    readme: list[Any], checkout: Path, command_folder: Path
) -> None:
    client, shell = (block for block in readme[1:] if block.language == "sh")
    run_shell(client, checkout)
    (checkout / ".venv" / "bin").unlink()
    (checkout / ".venv" / "bin").symlink_to(command_folder)
    printed = run_shell(shell, checkout)
    assert (checkout / "fox.png").is_file()
    assert (checkout / "night.png").is_file()
    found = [line for line in printed.splitlines() if line.startswith(("v1 •", "v2 •"))]
    assert [line.split(" • ")[1] for line in found] == ["a red fox in snow", "make it winter night"]


@pytest.mark.slow
def test_every_command_of_the_guide_runs_as_typed(
    guide: list[Any], checkout: Path, command_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(command_folder), prepend=os.pathsep)
    for block in guide:
        if block.language == "sh":
            run_shell(block, checkout)


def test_every_entry_for_a_chat_client_starts_the_server(readme: list[Any], guide: list[Any], checkout: Path) -> None:
    blocks = [block for block in [*readme, *guide] if block.language == "json"]
    assert len(blocks) == 3
    for block in blocks:
        for command in list_entries(json.loads(block.text.replace("/full/path/to", str(checkout)))):
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            assert (done.returncode, done.stdout) == (0, ""), f"{block.file}:{block.line}: {done.stderr}"


def test_every_option_of_a_real_server_is_one_of_the_protocol() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    known = set(re.findall(r"--[a-z-]+", (ROOT / "docs/protocol.md").read_text(encoding="utf-8")))
    docker, ours = {"--rm", "--gpus", "--network"}, {"--server", "--render", "--dry-run"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert {"--cpu-offload", "--weights-cache", "--supervised"} <= named
    assert named <= known | docker | ours


def test_every_setting_of_a_page_for_servers_exists() -> None:
    names = re.findall(r"DRAWTHINGS_[A-Z_]+", (ROOT / PAGE).read_text(encoding="utf-8"))
    assert names
    assert set(names) <= {variable(name) for name in NAMES}


def test_the_page_on_http_and_the_command_know_the_same_options() -> None:
    text = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")
    table = set(re.findall(r"^\| .*", text, re.MULTILINE))
    listed = {option for row in table for option in re.findall(r"`(--[a-z-]+)", row)}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    context = click.Context(serve)
    own = {name for parameter in serve.get_params(context) for name in parameter.opts if name.startswith("--")}
    server = {"--server", "--tls", "--ca-file", "--shared-secret"}
    assert listed == own - server - {"--help"}
    of_others = {
        "--transport",
        "--header",
        "--tag",
        "--publish",
        "--volume",
        "--env",
        "--follow",
        "--host",
        "--watch",
        "--cancel",
        "--json",
        "--from",
    }
    assert named <= own | of_others


def test_every_link_between_the_documents_leads_somewhere() -> None:
    for file in (
        "README.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/guide.md",
        "docs/library.md",
        "docs/server.md",
        PAGE,
    ):
        text = (ROOT / file).read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
            path = (ROOT / file).parent / target if target else ROOT / file
            assert path.exists(), f"{file}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
                assert anchor in anchors, f"{file}: {target}#{anchor}"


def test_the_guide_names_every_setting() -> None:
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    text += "".join(f" `{name}_MODEL` `{name}_KEY`" for name in re.findall(r"`(\w+)_URL`, `_MODEL`, `_KEY`", text))
    missing = [name for name in map(variable, NAMES) if f"`{name}`" not in text]
    assert not missing


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_library_names_every_field_of_a_configuration() -> None:
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    missing = [name for name in ImageGenerationConfig.model_fields if f"`{name}`" not in text]
    assert not missing


@pytest.mark.parametrize(
    ("printed", "claim", "matches"),
    [("[1] a?", "[1] a?", True), ("[1] ab", "[1] a?", False), ("no such thing", "no…thing", True), ("x", "", False)],
)
def test_a_claim_is_compared_letter_by_letter_but_for_what_it_leaves_out(
    printed: str, claim: str, matches: bool
) -> None:
    assert match(printed, claim) is matches
