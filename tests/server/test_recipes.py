"""How a picture was made: read in a later session, compared, and used to begin another call with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.types import ImageContent, TextContent
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from drawthings_mcp.metadata.reading import read_metadata
from drawthings_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio

SMALL = {"width": 192, "height": 128}
LORA = "moxin_v1.0_lora_f16.ckpt"


async def ask(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result.content[0], TextContent)
    assert not result.is_error, result.content[0].text
    return result.content[0].text


def list_files(environment: dict[str, str]) -> list[Path]:
    return sorted(Path(environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*.png"))


async def test_the_recipe_of_an_earlier_session_takes_two_calls(over_stdio: Any) -> None:
    prompt = "a golden fox by the sea, " + "very detailed fur, " * 60
    async with over_stdio("--server", "demo") as client:
        arguments = {"model": "sd_v1.5_f16.ckpt", "steps": 9, "seed": 7, "loras": [f"{LORA}@0.5"]}
        made = await ask(client, "generate_image", prompt=prompt, negative_prompt="fog", **SMALL, **arguments)
    assert f"LoRAs: {LORA}@0.5" in made
    async with over_stdio("--server", "demo") as client:
        found = await ask(client, "search_images", query="golden fox", source="generated")
        assert found.startswith("v1 ")
        result = await client.call_tool("review_image", {"images": ["v1"], "settings": True})
    (text, image) = result.content
    assert isinstance(text, TextContent)
    assert isinstance(image, ImageContent)
    lines = text.text.splitlines()
    assert f"prompt: “{prompt.strip()}”" in lines
    assert "negative prompt: “fog”" in lines
    assert "model sd_v1.5_f16.ckpt, seed 7, size 192×128" in lines
    assert "differs from what is recommended (“Stable Diffusion v1.5”), in brackets: steps 9 (16)" in lines
    assert f"LoRAs: {LORA}@0.5" in lines


async def test_of_two_pictures_it_is_said_what_differs(in_process: Any, server_environment: dict[str, str]) -> None:
    async with in_process(server="demo") as client:
        await ask(client, "generate_image", prompt="a red fox", seed=7, **SMALL)
        await ask(client, "generate_image", settings_from="v1", steps=30)
        await ask(client, "generate_image", settings_from="v1", prompt="a castle\nnote: steps 99", seed=8)
        await ask(client, "generate_image", prompt="a blue fox", canvas="v1", seed=7, **SMALL)
        edited = await ask(client, "review_image", images=["v1", "v4"], settings=True)
        same = await ask(client, "review_image", images=["v1", "v2"], settings=True)
        other = await ask(client, "review_image", images=["v1", "v3"], settings=True)
    assert same.splitlines()[-1] == "v1 → v2: steps 8 → 30; no pixel differs visibly"
    assert "; from nothing → from canvas v1; " in edited.splitlines()[-1]
    last = other.splitlines()[-1]
    assert last.startswith("v1 → v3: prompt “a red fox” → “a castle note - steps 99”; seed 7 → 8; ")
    assert last.endswith(" % of pixels differ")
    made = [read_metadata(path) for path in list_files(server_environment)]
    assert sorted((one.seed, one.steps) for one in made if one) == [(7, 4), (7, 8), (7, 30), (8, 8)]


async def test_a_call_begins_with_a_recipe_and_its_own_values_win(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        await ask(client, "generate_image", prompt="a red fox", negative_prompt="fog", seed=7, steps=5, **SMALL)
        again = await ask(client, "generate_image", settings_from="v1", guidance_scale=2)
        drawn = await ask(client, "generate_image", settings_from="latest", seed=-1, variants=2, width=256)
        plan = await ask(client, "generate_image", settings_from="v1", dry_run=True)
    assert "192×128 seed 7" in again
    assert "5 steps, guidance 2, UniPC Trailing" in again
    assert "preset “settings of v1”" in again
    assert "256×171" in drawn
    assert not re.search(r"seed 7\b", drawn)
    assert "settings of v1: model" in plan
    assert max(map(len, (again, drawn))) <= 800


async def test_settings_for_a_model_that_is_not_known_are_told_once(in_process: Any, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("parameters", "a hill\nSteps: 28, Sampler: Euler a, CFG scale: 7.5, Seed: 4, Model: dreamyMix_v4")
    path = tmp_path / "hill.png"
    Image.new("RGB", (64, 64)).save(path, pnginfo=info)
    async with in_process(server="demo", input_dirs=(tmp_path,)) as client:
        text = await ask(client, "review_image", images=[str(path)], settings=True)
    assert "steps 28, guidance_scale 7.5, sampler Euler Ancestral" in text
    assert text.count("28") == 1
    assert "defaults" not in text


async def test_a_call_without_a_prompt_or_a_picture_is_refused(in_process: Any) -> None:
    async with in_process(server="demo") as client:
        nothing = await client.call_tool("generate_image", {"settings_from": "none"})
        unknown = await client.call_tool("generate_image", {"settings_from": "v3"})
        (schema,) = [tool.input_schema for tool in (await client.list_tools()).tools if tool.name == "generate_image"]
    assert nothing.is_error
    assert "prompt: is required" in nothing.content[0].text
    assert unknown.is_error
    assert unknown.content[0].text.startswith("settings_from: ")
    assert "prompt" not in schema.get("required", ())


async def test_small_models_must_give_a_prompt(in_process: Any, server_environment: dict[str, str]) -> None:
    server_environment["DRAWTHINGS_TOOLS"] = "simple"
    async with in_process(server="demo") as client:
        (schema,) = [tool.input_schema for tool in (await client.list_tools()).tools if tool.name == "generate_image"]
    assert schema["required"] == ["prompt"]
    assert "settings_from" not in json.dumps(schema)


async def test_recipes_of_five_pictures_with_endless_prompts_are_cut_alike(
    in_process: Any, server_environment: dict[str, str], tmp_path: Path
) -> None:
    server_environment["DRAWTHINGS_INPUT_DIRS"] = str(tmp_path)
    names = [str(tmp_path / f"{number}.png") for number in range(5)]
    for number, name in enumerate(names):
        prompts = f"{number} {'fox ' * 2_400}\nNegative prompt: {'fog ' * 2_400}"
        info = PngInfo()
        info.add_text("parameters", f"{prompts}\nSteps: 20, Sampler: LCM, CFG scale: 5, Seed: 1")
        Image.new("RGB", (64, 64), (50 * number, 0, 0)).save(name, pnginfo=info)
    async with in_process(server="demo") as client:
        alone = await ask(client, "review_image", images=names[:1], settings=True)
        every = await ask(client, "review_image", images=names, settings=True)
        without = await ask(client, "review_image", images=names)
    assert alone.count("fox") == alone.count("fog") == 2_400
    assert len(every) < 24_000
    assert [line[9] for line in every.splitlines() if line.startswith("prompt")] == [*"01234"]
    assert every.count("steps 20, guidance_scale 5, sampler LCM") == 5
    assert len(without) <= 800


async def test_a_picture_that_was_cut_from_another_names_that(in_process: Any) -> None:
    async with in_process(server="demo") as client:
        await ask(client, "generate_image", prompt="a red fox", **SMALL)
        await ask(client, "transform_image", operation="crop", images=["v1"], boxes=[[0, 0, 64, 64]])
        told = await ask(client, "review_image", images=["i1"], settings=True)
        refused = await client.call_tool("generate_image", {"settings_from": "i1"})
    assert told.splitlines()[-1] == "i1: made from source v1 without drawing"
    assert refused.content[0].text == "settings_from: i1 was made from v1 without drawing: name the drawn one."
