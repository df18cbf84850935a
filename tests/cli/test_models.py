"""``drawthings-mcp models`` against real servers, in processes of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drawthings_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio


async def test_models_are_a_table_on_stdout(run: Any) -> None:
    async with Simulator() as simulator:
        outcome = await run("models", "--server", simulator.address)
    header, *lines = outcome.stdout.splitlines()
    assert outcome.code == 0
    assert header.split() == ["NAME", "FILE", "FAMILY", "DETAILS"]
    assert len(lines) == 36, "no page ends after 25 rows"
    file_column, family_column = header.index("FILE"), header.index("FAMILY")
    turbo = next(line for line in lines if line.startswith("Z Image Turbo 1.0 "))
    assert turbo[file_column:].startswith("z_image_turbo_1.0_q8p.ckpt ")
    assert turbo[family_column:].startswith("z-image ")
    assert outcome.stderr == ""


async def test_one_json_document_holds_every_row(run: Any) -> None:
    async with Simulator() as simulator:
        outcome = await run("models", "--kind", "all", "--json", "--server", simulator.address)
    document = outcome.document
    assert document["server"] == simulator.address
    assert document["browsing"] is True
    assert document["total"] == len(document["rows"])
    assert {row["kind"] for row in document["rows"]} == {"model", "LoRA", "control", "upscaler", "embedding", "preset"}


async def test_rows_are_narrowed_by_words_family_and_mode(run: Any) -> None:
    async with Simulator() as simulator:
        options = ("--json", "--server", simulator.address, "--family", "qwen-image", "--mode", "edit")
        outcome = await run("models", "--query", "2511 6-bit", *options)
    assert outcome.document["rows"] == [
        {
            "kind": "model",
            "name": "Qwen Image Edit 2511 (6-bit)",
            "file": "qwen_image_edit_2511_q6p.ckpt",
            "family": "qwen-image",
            "detail": "1024 px; edit, inpaint",
            "installed": True,
            "modes": ["edit", "inpaint"],
            "purpose": "careful edits, several references",
            "default_for": [],
        }
    ]


async def test_without_browsing_stderr_says_which_switch_to_flip(run: Any) -> None:
    async with Simulator(model_browser=False) as simulator:
        outcome = await run("models", "--server", simulator.address)
    assert outcome.code == 0
    assert "z_image_turbo_1.0_q6p.ckpt" in outcome.stdout
    assert "Enable Model Browsing" in outcome.stderr
    assert "--model-browser" in outcome.stderr


async def test_a_file_of_presets_that_cannot_be_used_is_reported(run: Any, tmp_path: Path) -> None:
    presets = tmp_path / "custom_configs.json"
    presets.write_text('[{"name"')
    async with Simulator() as simulator:
        options = ("models", "--kind", "presets", "--server", simulator.address)
        environment = {"DRAWTHINGS_CUSTOM_CONFIGS": str(presets)}
        plain, document = [await run(*options, *more, **environment) for more in ((), ("--json",))]
    assert "note: " in plain.stderr
    assert "is not whole JSON" in plain.stderr
    assert "is not whole JSON" in document.document["notes"][0]


async def test_nothing_found_is_said_on_stderr_only(run: Any) -> None:
    async with Simulator() as simulator:
        outcome = await run("models", "--query", "no such thing", "--server", simulator.address)
    assert (outcome.code, outcome.stdout) == (0, "")
    assert "Leave out --query" in outcome.stderr


async def test_an_unreachable_server_is_an_error_with_the_next_step(run: Any, closed_port: str) -> None:
    outcome = await run("models", "--server", closed_port)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "nothing listens there. Start Draw Things" in outcome.stderr


async def test_wrong_usage_has_an_exit_code_of_its_own(invoke: Any) -> None:
    outcome = invoke("models", "--kind", "nothing")
    assert outcome.code == 2
    assert "'upscalers'" in outcome.stderr
