"""Every example of the guide and of the README does what the text claims."""

from __future__ import annotations

import fnmatch
import io
import os
import re
import subprocess
import sys
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from drawthings_mcp import ImageGenerationConfig

_CLAIM = re.compile(r"  # → (.*)$", re.MULTILINE)


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


def run_shell(block: Any, place: Any) -> str:
    script = place.settle(block.text)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-eu", "-c", script], cwd=place.folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{block.file}:{block.line}: {done.stderr}"
    return done.stdout


def test_every_python_example_of_the_guide_does_what_it_says(guide: list[Any], place: Any) -> None:
    names: dict[str, Any] = {"__name__": "guide", "exits": ExitStack()}
    try:
        for block in guide:
            if block.language == "python":
                run_python(block, place, names)
    finally:
        # A client that stays open keeps its thread, and with it the whole process.
        names["exits"].close()
    assert len(list(place.folder.glob("output/*.png"))) == 2
    assert (place.folder / "films" / "waves.wav").is_file()


def test_every_command_of_the_guide_succeeds(guide: list[Any], place: Any) -> None:
    commands, batch = (block for block in guide if block.language == "sh")
    printed = run_shell(commands, place)
    assert "papercut_sdxl_lora_f16.ckpt" in printed
    assert (place.folder / "fox.png").is_file()
    assert (place.folder / "night.png").is_file()
    printed = run_shell(batch, place)
    assert printed.splitlines() == [
        str(place.folder / "batch" / f"animal-{number}.png") for number in ("001", "002", "002")
    ]


def test_the_python_example_of_the_readme_saves_a_picture(readme: list[Any], place: Any) -> None:
    (block,) = (block for block in readme if block.language == "python")
    run_python(block, place, {})
    assert (place.folder / "output" / "fox.png").is_file()


def test_the_guide_names_every_field_of_a_configuration(guide: list[Any]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
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
