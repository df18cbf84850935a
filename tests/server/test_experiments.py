"""Several different pictures in one call: sweeps of arguments, and panels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import CallToolResult, ImageContent

from drawthings_mcp.metadata.draw_things import DrawThingsMetadata
from drawthings_mcp.metadata.reading import read_metadata
from drawthings_mcp.simulator import Simulator
from tests.calls import text_of

pytestmark = pytest.mark.anyio

SMALL = {"prompt": "a fox", "width": 128, "height": 128}


async def generate(client: Client, *, progress: Any = None, **arguments: Any) -> CallToolResult:
    with anyio.fail_after(60):
        return await client.call_tool("generate_image", arguments, progress_callback=progress)


def read_pictures(environment: dict[str, str]) -> list[DrawThingsMetadata]:
    """What the saved pictures say of themselves, in the order of their ids."""
    found = [read_metadata(path) for path in Path(environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*.png")]
    return sorted(filter(None, found), key=lambda metadata: int(str(metadata.record["id"])[1:]))


async def test_every_picture_of_a_grid_has_its_values_and_all_are_one_sheet(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    messages: list[str] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        messages.append(message or "")

    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        sweep = {"guidance_scale": [1, 4.5, 7], "loras": ["", "z_image_turbo_lora@0.4"]}
        refused = await generate(client, **SMALL, sweep=sweep)
        sweep = {"guidance_scale": [1, 4.5, 7], "steps": ["2", 3]}
        result = await generate(client, **SMALL, sweep=sweep, progress=note)
        sheet = (await client.read_resource("image://i1")).contents[0]
    assert text_of(refused).startswith("sweep: at guidance_scale 1, loras z_image_turbo_lora@0.4: There is no LoRA")
    assert len(simulator.requests) == 6  # nothing was rendered before the last cell was found to be fine
    text = text_of(result)
    pictures = Path(server_environment["DRAWTHINGS_OUTPUT_DIR"])
    (seed,) = {metadata.seed for metadata in read_pictures(server_environment)}
    assert text.splitlines()[0] == f"v1–v6: {pictures} 128×128 seed {seed}"
    assert re.search(r"^i1: .+ sheet, guidance_scale 1, 4.5, 7 across; steps 2, 3 down$", text, re.M)
    assert "shown: outputs i1 (1/3)" in text
    assert re.search(r"^UniPC Trailing$", text, re.M), text  # neither steps nor guidance are those of all
    assert len(text) <= 800
    assert sum(isinstance(block, ImageContent) for block in result.content) == 1
    made = [(metadata.guidance_scale, metadata.steps) for metadata in read_pictures(server_environment)]
    assert made == [(1, 2), (4.5, 2), (7, 2), (1, 3), (4.5, 3), (7, 3)]
    assert any(message.endswith("image 5 of 6") for message in messages)
    assert sheet.mime_type == "image/png"


async def test_panels_have_a_prompt_each_and_seeds_that_count_up(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    panels = ["a fox wakes", "a fox eats, then rests", "a fox runs"]
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        result = await generate(client, prompts=panels, width=128, height=128, steps=1, seed=2**32 - 2)
    made = read_pictures(server_environment)
    assert [(metadata.prompt, metadata.seed) for metadata in made] == [
        *((prompt, seed) for prompt, seed in zip(panels, (2**32 - 2, 2**32 - 1, 0), strict=True))
    ]
    assert len({metadata.record["job"] for metadata in made}) == 1
    assert "sheet, 3 prompts in turn" in text_of(result)
    assert [line.partition(":")[0] for line in text_of(result).splitlines()[1:4]] == ["v1", "v2", "v3"]


async def test_pictures_can_be_swept_and_each_is_read_once(in_process: Any, server_environment: dict[str, str]) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        await generate(client, **SMALL, variants=2, steps=1)
        result = await generate(client, **SMALL, steps=1, sweep={"canvas": ["v1", "v2"], "mode": ["edit"]})
        one = await generate(client, **SMALL, steps=1, seed=5, canvas="v1", sweep={"strength": [0.3, 0.6]})
    assert text_of(result).splitlines()[0] == "from canvas v1 v2"
    made = read_pictures(server_environment)
    assert [metadata.record["parents"] for metadata in made[2:]] == [
        *([["canvas", name]] for name in ("v1", "v2", "v1", "v1"))
    ]
    assert "from canvas v1" in text_of(one)


async def test_a_sweep_can_begin_with_the_settings_of_a_picture(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        await generate(client, **SMALL, steps=3, seed=77)
        await generate(client, settings_from="v1", sweep={"guidance_scale": [2, 3]})
        await generate(client, settings_from="v1", prompts=["a hare", "a bear"])
    _, *made = read_pictures(server_environment)
    assert [(one.prompt, one.steps, one.guidance_scale, one.seed) for one in made] == [
        ("a fox", 3, 2, 77),
        ("a fox", 3, 3, 77),
        ("a hare", 3, 1, 77),
        ("a bear", 3, 1, 78),
    ]


async def test_weights_of_loras_can_be_tried(in_process: Any) -> None:
    lora = "moxin_v1.0_lora_f16.ckpt"
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        sweep = {"loras": [f"{lora}@0.4", f"{lora}@0.8", []]}
        result = await generate(client, **SMALL, model="sd_v1.5_f16.ckpt", steps=2, sweep=sweep)
    sent = [request.configuration for request in simulator.requests]
    weights = [[round(one.weight, 2) for one in configuration.loras or ()] for configuration in sent if configuration]
    assert weights == [[0.4], [0.8], []]
    assert f"loras {lora}@0.4, {lora}@0.8, none in turn" in text_of(result)
    assert "LoRAs: " not in text_of(result)  # none took part in all


async def test_what_is_said_of_a_sweep_is_true_of_all_its_pictures(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        models = await generate(client, **SMALL, sweep={"model": ["z_image_turbo_1.0_q8p.ckpt", "sd_v1.5_f16.ckpt"]})
        presets = await generate(client, **SMALL, sweep={"preset": ["Z Image Turbo 1.0", "SDXL v1.0"]})
        steps = await generate(client, **SMALL, sweep={"steps": [1, 2]})
    sent = [request.configuration for request in simulator.requests]
    assert len({one.steps for one in sent[:2] if one}) == len({one.sampler for one in sent[2:4] if one}) == 2
    for result in (models, presets):
        assert not re.search(r" with |preset “[^”]+”$|\bsteps\b|guidance", text_of(result), re.M), text_of(result)
    assert "\ntext2image with z_image_turbo_1.0_q8p.ckpt" in text_of(steps)
    assert "\nguidance 1, " in text_of(steps)


async def test_a_sweep_that_outlasts_the_client_is_handed_back_with_its_sheet(
    over_stdio: Any, server_environment: dict[str, str]
) -> None:
    server_environment["DRAWTHINGS_MAX_WAIT"] = "0.1"
    async with Simulator(step_seconds=0.05) as simulator, over_stdio("--server", simulator.address) as client:
        handed = await generate(client, **SMALL, steps=5, sweep={"seed": [1, 2, 3, 4, 5]})
        with anyio.fail_after(60):
            done = await client.call_tool("get_job", {"job": "j1"})
            again = await client.call_tool("get_job", {"job": "j1"})
    assert "j1 goes on: " in text_of(handed)
    for result in (done, again):
        assert text_of(result).startswith("v1–v5: ")
        assert "shown: outputs i1" in text_of(result)
        assert sum(isinstance(block, ImageContent) for block in result.content) == 1


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"sweep": {"stepps": [1, 2]}}, "sweep: there are no values to try of “stepps”. Did you mean “steps”?"),
    ({"sweep": {"variants": [1, 2]}}, "sweep: there are no values to try of “variants”"),
    ({"sweep": {"guidance_scale": [1, 99]}}, "sweep: guidance_scale: must be from 0 to 50, got 99"),
    ({"sweep": {"cfg": [1, 99]}}, "sweep: guidance_scale: must be from 0 to 50, got 99"),
    ({"sweep": {"image_format": ["16x9", "5:4"]}}, "sweep: image_format: must be 'square'"),
    ({"sweep": {"steps": [4]}}, "sweep: makes 2 to 25 pictures, got 1 steps = 1"),
    ({"sweep": {"steps": [1, 2, 3, 4, 5, 6], "seed": [1, 2, 3, 4, 5]}}, "got 6 steps × 5 seed = 30"),
    ({"sweep": {"steps": [1, 2], "seed": [1], "strength": [1]}}, "takes at most 2 arguments, got 3: steps, seed, str"),
    ({"sweep": {"steps": [1, 2], "sampler": ["DPM++ 2M Karras"]}}, "sampler DPM++ 2M Karras: one step with DPM++ 2M"),
    ({"sweep": {"steps": 4}}, "sweep.steps: must be a list, got 4"),
    ({"sweep": {"sampler": ["DDIM", "nix"]}}, "sweep: at sampler nix: There is no sampler"),
    ({"sweep": {"steps": [1, 2]}, "variants": 2}, "sweep, prompts and variants above 1 exclude each other"),
    ({"sweep": {"steps": [1, 2]}, "configuration": {"batchCount": 3}}, "batchCount and batchSize go with no sweep"),
    ({"prompts": ["a", "b"]}, "prompts: takes 2 to 12 prompts and stands in place of prompt"),
    ({"prompts": ["a"]}, "prompts: takes 2 to 12 prompts"),
    ({"prompt": "", "prompts": ["a"] * 13}, "prompts: takes at most 12 items, got 13"),
]


async def test_what_cannot_be_tried_gets_one_sentence(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        for arguments, words in REFUSED:
            result = await generate(client, **{**SMALL, **arguments})
            assert result.is_error, arguments
            assert words in text_of(result), text_of(result)
            assert "\n" not in text_of(result)
    assert not simulator.requests


async def test_a_dry_run_of_a_sweep_shows_the_first_and_checks_all(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        shown = await generate(client, **SMALL, sweep={"seed": [3, 4], "steps": [8, 9]}, dry_run=True)
        noted = await generate(
            client, **SMALL, sweep={"guidance_scale": [1, 4]}, negative_prompt="fog", steps=8, dry_run=True
        )
    assert "note: 4 pictures, seed 3, 4 across; steps 8, 9 down; above is the first" in text_of(shown)
    assert "call: width 128, height 128, seed 3, steps 8" in text_of(shown)
    assert "note: at guidance_scale 1: negative_prompt has no effect" in text_of(noted)
    assert not simulator.requests


async def test_a_cancelled_sweep_names_what_it_had_finished(
    over_stdio: Any, server_environment: dict[str, str]
) -> None:
    server_environment["DRAWTHINGS_MAX_WAIT"] = "0.1"
    folder = Path(server_environment["DRAWTHINGS_OUTPUT_DIR"])
    async with Simulator(step_seconds=0.02) as simulator, over_stdio("--server", simulator.address) as client:
        await generate(client, **SMALL, steps=10, sweep={"seed": list(range(25))})
        with anyio.fail_after(60):
            while len(list(folder.glob("*.png"))) < 6:
                await client.call_tool("get_job", {"job": "j1", "wait": 0})
            ended = await client.call_tool("cancel_job", {"job": "j1"})
    made = len(list(folder.glob("*.png")))
    assert text_of(ended) == f"j1 was cancelled. Saved before that: v1–v{made} in {folder}."
    assert made < 25


async def test_without_a_sheet_the_pictures_are_there_all_the_same(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    state = Path(server_environment["DRAWTHINGS_STATE_DIR"])
    state.mkdir(parents=True)
    (state / "made").write_text("in the way of the folder")
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        result = await generate(client, **SMALL, sweep={"steps": [1, 2]})
    assert not result.is_error
    assert "note: there is no sheet of them: " in text_of(result)
    assert "shown: outputs v1 v2 (2/3)" in text_of(result)
