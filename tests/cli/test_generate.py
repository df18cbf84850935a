"""``generate`` and ``edit`` at the shell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drawthings_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio


def server(simulator: Simulator) -> tuple[str, ...]:
    return "--server", simulator.address, "--tls", "off"


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "fox.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (192, 256, 3), np.uint8)).save(path)
    return str(path)


async def test_mode_family_and_preset_choose_the_settings(run: Any, picture: str) -> None:
    async with Simulator() as simulator:
        size = ("--size", "256x192", "--json", *server(simulator))
        drawn = await run("generate", "a fox", "--family", "flux", *size)
        redrawn = await run("generate", "a fox", "--mode", "image2image", "--canvas", picture, *size)
        named = await run("generate", "a fox", "--preset", "SDXL v1.0", *size)
        edited = await run("edit", picture, "make it night", "--family", "qwen-image", *size)
    found = [(o.document["mode"], o.document["family"], o.document["preset"]) for o in (drawn, redrawn, named, edited)]
    assert found == [
        ("text2image", "flux", "FLUX.2 [klein] 9B"),
        ("image2image", "z-image", "Z Image Turbo 1.0"),
        ("text2image", "sdxl", "SDXL v1.0"),
        ("edit", "qwen-image", "Qwen Image Edit 2511 with Lightning 4-Step v1.0"),
    ]


async def test_a_dry_run_prints_settings_with_their_origins_and_renders_nothing(run: Any) -> None:
    async with Simulator() as simulator:
        plain = await run("generate", "a fox", "--steps", "9", "--dry-run", *server(simulator))
        document = json.loads((await run("generate", "a fox", "--dry-run", "--json", *server(simulator))).stdout)
    assert plain.code == 0
    assert "call: steps 9" in plain.stdout
    assert document["settings"]["steps"] == [8, "recipe Z Image Turbo 1.0"]
    assert not simulator.requests


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--family", "z-imgae"), "Did you mean 'z-image'"),
        (("--family", "flux", "--model", "x.ckpt"), "give one of them"),
        (("--mode", "redraw"), "'redraw'"),
        (("--format", "16x9"), "'16x9'"),
    ],
)
async def test_wrong_usage_is_reported_before_a_server_is_asked(
    invoke: Any, options: tuple[str, ...], words: str
) -> None:
    outcome = invoke("generate", "a fox", *options)
    assert outcome.code == 2
    assert words in outcome.stderr


async def _dry_run(run: Any, simulator: Simulator, *options: str) -> dict[str, Any]:
    outcome = await run("generate", "a fox", "--dry-run", "--json", *options, *server(simulator))
    assert outcome.code == 0, outcome.stderr
    document: dict[str, Any] = outcome.document
    return document


async def test_one_number_is_a_square_and_cfg_is_guidance(run: Any) -> None:
    async with Simulator() as simulator:
        document = await _dry_run(run, simulator, "--size", "768", "--cfg", "2.5")
    assert document["size"] == [768, 768]
    assert document["settings"]["guidanceScale"] == [2.5, "call"]


@pytest.mark.parametrize("browsing", [True, False])
async def test_names_that_people_type_are_understood(run: Any, browsing: bool) -> None:
    named = {
        ("--model", "stable diffusion xl"): ("sdxl", "sd_xl_base_1.0_f16.ckpt"),
        ("--family", "SDXL base"): ("sdxl", "sd_xl_base_1.0_f16.ckpt"),
        ("--model", "sd 1.5"): ("sd15", "sd_v1.5_f16.ckpt"),
        ("--model", "flux 2 klein"): ("flux", "flux_2_klein_9b_q6p.ckpt"),
        ("--family", "flux 2 klein 4b"): ("flux", "flux_2_klein_4b_q6p.ckpt"),
    }
    async with Simulator(model_browser=browsing) as simulator:
        documents = [await _dry_run(run, simulator, *options) for options in named]
    assert [(one["family"], one["model_file"]) for one in documents] == list(named.values())


async def test_an_upscaler_is_found_by_its_name(run: Any) -> None:
    async with Simulator() as simulator:
        configured = [
            await _dry_run(run, simulator, "--config", json.dumps({"upscaler": name}))
            for name in ("4x UltraSharp", "4x-ultrasharp", "4X_UltraSharp_f16")
        ]
    assert {one["settings"]["upscaler"][0] for one in configured} == {"4x_ultrasharp_f16.ckpt"}


async def test_an_upscaler_is_found_without_browsing(run: Any) -> None:
    async with Simulator(model_browser=False) as simulator:
        document = await _dry_run(run, simulator, "--config", '{"upscaler": "4x UltraSharp"}')
    assert document["settings"]["upscaler"][0] == "4x_ultrasharp_f16.ckpt"


async def test_a_sampler_is_understood_or_the_nearest_are_named(run: Any) -> None:
    async with Simulator() as simulator:
        document = await _dry_run(run, simulator, "--sampler", "unipc trailing")
        vague = await run("generate", "a fox", "--sampler", "DPM++ 2M", *server(simulator))
    assert document["sampler"] == "UniPC Trailing"
    assert vague.code != 0
    assert "Nearest: DPM++ 2M Karras, DPM++ 2M AYS, DPM++ 2M Trailing" in vague.stderr
