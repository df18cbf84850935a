"""``show`` and ``--settings-from``: how a picture was made, and the same once more."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from drawthings_mcp.metadata.reading import read_metadata
from drawthings_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio

A1111 = (
    "a pier\nNegative prompt: fog\nSteps: 21, Sampler: Heun, CFG scale: 6.5, Seed: 5, Size: 32x32, Model: sd_v1.5_f16"
)


async def test_a_recipe_is_shown_and_repeated_from_the_shell(run: Any, tmp_path: Path) -> None:
    fox, more = str(tmp_path / "fox.png"), str(tmp_path / "more.png")
    async with Simulator() as simulator:
        server = ("--server", simulator.address, "--tls", "off")
        size = ("--size", "192x128", "--steps", "5", "--lora", "moxin_v1.0_lora_f16.ckpt@0.5")
        made = await run("generate", "a fox", "--model", "sd_v1.5_f16.ckpt", "--seed", "7", *size, "-o", fox, *server)
        again = await run("generate", "--settings-from", fox, "--steps", "9", "-o", more, *server)
    assert (made.code, again.code) == (0, 0), again.stderr
    found = read_metadata(more)
    assert found is not None
    assert (found.prompt, found.seed, found.steps, found.size) == ("a fox", 7, 9, (192, 128))
    text = (await run("show", fox)).stdout
    assert "prompt: a fox\n" in text
    assert "model sd_v1.5_f16.ckpt, seed 7, size 192×128\n" in text
    assert "in brackets: steps 5 (16)\n" in text
    assert "LoRAs: moxin_v1.0_lora_f16.ckpt@0.5" in text
    both = await run("show", "v1", more)
    assert both.stdout.splitlines()[-1] == "v1 → v2: steps 5 → 9; no pixel differs visibly"
    one = json.loads((await run("show", "v2", "--json")).stdout)
    other = json.loads((await run("show", "v1", "v2", "--json")).stdout)
    assert one["path"] == more
    assert one["differs"] == {"steps": [9, 16]}
    assert one["configuration"]["steps"] == 9
    assert other["pictures"][1] == one
    assert other["differences"] == {"steps": [5, 9]}
    assert other["share_of_pixels_that_differ"] == 0


async def test_a_picture_whose_file_is_gone_is_told_by_the_library(run: Any, tmp_path: Path) -> None:
    fox = tmp_path / "fox.png"
    made = await run("generate", "a fox", "--size", "128", "--seed", "7", "-o", str(fox), "--server", "demo")
    before = await run("show", "v1")
    fox.unlink()
    after = await run("show", "v1")
    assert (made.code, before.code, after.code) == (0, 0, 0)
    assert before.stdout.splitlines()[1:] == after.stdout.splitlines()[1:]
    assert "the file of v1 is gone" in after.stderr


def write_text(path: Path, text: str, pixels: Any) -> str:
    info = PngInfo()
    info.add_text("parameters", text)
    Image.fromarray(pixels).save(path, pnginfo=info)
    return str(path)


def test_a_file_of_another_program_is_told_as_far_as_it_can_be(invoke: Any, tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    first = write_text(tmp_path / "first.png", A1111, pixels)
    pixels[:8, :4] = 255
    second = write_text(tmp_path / "second.png", A1111.replace("Steps: 21", "Steps: 30"), pixels)
    shown = invoke("show", first)
    assert shown.code == 0
    assert "metadata of Stable Diffusion WebUI" in shown.stdout
    assert "steps 21, guidance_scale 6.5\n" in shown.stdout
    assert "(Stable Diffusion v1.5), in brackets: steps 21 (16), guidance_scale 6.5 (5)\n" in shown.stdout
    assert "not known here: sampler “Heun”" in shown.stdout
    assert "steps 21 → 30; 3.1 % of pixels differ" in invoke("show", first, second).stdout
    Image.new("RGB", (64, 64)).save(tmp_path / "plain.png")
    assert "does not tell how it was made" in invoke("show", str(tmp_path / "plain.png")).stdout
    pair = invoke("show", first, str(tmp_path / "plain.png"))
    assert pair.code == 0
    assert pair.stdout.splitlines()[-2].endswith(": does not tell how it was made")
    assert "not told" not in pair.stdout
    bare = write_text(tmp_path / "bare.png", "a pier\nSteps: 8, Sampler: Euler a, CFG scale: 2, Seed: 1", pixels)
    partly = invoke("show", first, bare).stdout
    assert "steps 21 → 8; guidance_scale 6.5 → 2" in partly
    assert re.search(r"^\S+ does not tell \d settings? that the other tells$", partly, re.M)
    assert "not told" not in partly


def test_what_is_not_there_is_refused(invoke: Any) -> None:
    assert invoke("show", "v7").code == 1
    assert invoke("show", "nope.png").code == 2
    assert invoke("generate").code == 2
