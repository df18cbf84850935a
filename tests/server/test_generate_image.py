"""``generate_image`` as a chat client uses it."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import CallToolResult, ImageContent
from PIL import Image

from drawthings_mcp import ImageGenerationConfig, SamplerType
from drawthings_mcp.metadata.reading import read_metadata
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.wire.configuration import parse_configuration
from tests.calls import text_of

pytestmark = pytest.mark.anyio


def previews_of(result: CallToolResult) -> list[Image.Image]:
    blocks = [block for block in result.content if isinstance(block, ImageContent)]
    assert blocks == result.content[1:]
    return [Image.open(io.BytesIO(base64.b64decode(block.data))) for block in blocks]


def files_in(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("*.png"))


def configurations(simulator: Simulator) -> list[ImageGenerationConfig]:
    """What arrived, in order."""
    return [parse_configuration(seen.message.configuration) for seen in simulator.requests]


async def generate(client: Client, **arguments: Any) -> CallToolResult:
    with anyio.fail_after(60):
        return await client.call_tool("generate_image", {"prompt": "a red fox in snow", **arguments})


async def test_a_prompt_becomes_originals_on_disk_and_previews_in_the_answer(
    over_stdio: Any, server_environment: dict[str, str]
) -> None:
    heard: list[tuple[float, str]] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        assert total == 100
        heard.append((progress, message or ""))

    async with over_stdio("--server", "demo") as client:
        with anyio.fail_after(60):
            result = await client.call_tool(
                "generate_image",
                {"prompt": "a red fox in snow", "width": 512, "height": 320, "variants": 2, "seed": 5, "steps": 4},
                progress_callback=listen,
            )
    assert not result.is_error
    assert result.structured_content is None
    text = text_of(result)
    paths = files_in(server_environment["DRAWTHINGS_OUTPUT_DIR"])
    assert len(paths) == 2
    assert re.findall(r"^(v\d+): ", text, re.M) == ["v1", "v2"]
    assert all(str(path) in text for path in paths)
    assert "seed 5" in text
    assert "z_image_turbo_1.0_q8p.ckpt" in text
    assert "shown: outputs v1 v2 (2/3)" in text
    assert len(text) <= 800
    assert [picture.size for picture in previews_of(result)] == [(512, 320), (512, 320)]
    assert any(message.startswith("Step 2/4") for _, message in heard)
    assert [value for value, _ in heard] == sorted({value for value, _ in heard})
    by_seed = {}
    for path in paths:
        metadata = read_metadata(path)
        assert metadata is not None
        assert (metadata.prompt, metadata.model) == ("a red fox in snow", "z_image_turbo_1.0_q8p.ckpt")
        by_seed[metadata.seed] = path
        with Image.open(path) as picture:
            assert picture.size == (512, 320)
    assert len(by_seed) == 2
    assert 5 in by_seed


async def test_the_same_seed_gives_the_same_picture_and_minus_one_a_new_one(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        texts = [text_of(await generate(client, width=128, height=128, seed=seed)) for seed in (7, 7, -1, -1)]
    seeds = [re.findall(r"seed (-?\d+)", text)[0] for text in texts]
    assert seeds[:2] == ["7", "7"]
    assert "-1" not in seeds
    assert seeds[2] != seeds[3]
    assert len(files_in(server_environment["DRAWTHINGS_OUTPUT_DIR"])) == 4
    sent = [configuration.seed for configuration in configurations(simulator)]
    assert list(map(str, sent)) == seeds


async def test_any_size_is_rendered_at_multiples_of_64_and_cropped(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        result = await generate(client, width=500, height=300)
    (path,) = files_in(server_environment["DRAWTHINGS_OUTPUT_DIR"])
    with Image.open(path) as picture:
        assert picture.size == (500, 300)
    assert "500×300" in text_of(result)
    assert "rendered at 512×320 and cropped" in text_of(result)
    metadata = read_metadata(path)
    assert metadata is not None
    assert metadata.size == (512, 320)
    assert metadata.record["requested_size"] == "500x300"


async def test_an_upscaled_picture_is_not_called_cropped(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        upscaler = {"upscaler": "realesrgan_x2plus_f16.ckpt"}
        text = text_of(await generate(client, width=128, height=128, configuration=upscaler, preview="never"))
    assert "256×256 seed" in text
    assert "rendered at 128×128 and upscaled" in text


async def test_a_simulated_picture_says_so_wherever_the_simulator_runs(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        result = await generate(client, width=128, height=128)
    assert "simulated: no real model drew this" in text_of(result)
    (path,) = files_in(server_environment["DRAWTHINGS_OUTPUT_DIR"])
    metadata = read_metadata(path)
    assert metadata is not None
    assert metadata.is_simulated


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({}, "1024×1024"),
        ({"image_format": "16:9"}, "1344×768"),
        ({"image_format": "portrait"}, "832×1280"),
        ({"width": 512}, "512×512"),
        ({"image_format": "3:2", "width": 384}, "384×250"),
        ({"image_format": "square", "width": 256, "height": 384}, "256×384"),
    ],
)
async def test_shapes_and_sizes(in_process: Any, arguments: dict[str, Any], size: str) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        assert size in text_of(await generate(client, **arguments, preview="never"))


async def test_four_variants_are_shown_in_three_places(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        result = await generate(client, width=256, height=256, variants=4)
    assert len(previews_of(result)) == 3
    assert "sheet of v1 v2" in text_of(result)


async def test_a_preview_is_recognised_also_when_the_server_ended_with_its_answer(
    in_process: Any, server_environment: dict[str, str], tmp_path: Path
) -> None:
    server_environment["DRAWTHINGS_INPUT_DIRS"] = str(tmp_path)
    async with Simulator() as simulator:
        async with in_process(server=simulator.address, tls="off") as client:
            (shown,) = previews_of(await generate(client, width=128, height=128))
        shown.save(tmp_path / "kept by the client.png")
        async with in_process(server=simulator.address, tls="off") as client:
            answer = await client.call_tool("review_image", {"images": [str(tmp_path / "kept by the client.png")]})
    assert text_of(answer).startswith("v1: ")


async def test_previews_can_be_left_out(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        result = await generate(client, width=128, height=128, preview="never")
    assert previews_of(result) == []
    assert "shown: none" in text_of(result)


BAD_ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"prompt": ""}, "prompt: is required"),
    ({"prompt": "x" * 10_001}, "prompt: must have at most 10000 characters, got 10001"),
    ({"width": 100}, "width: must be from 128 to 8192, got 100"),
    ({"height": 9000}, "height: must be from 128 to 8192, got 9000"),
    ({"prompt": "  "}, "prompt: is empty"),
    ({"foo": 1}, "foo: there is no such argument. Nearest: moodboard, mode, image_format"),
    ({"widht": 512}, "widht: there is no such argument. Did you mean 'width'"),
    ({"variants": 5}, "variants: must be from 1 to 4, got 5"),
    ({"seed": "lucky"}, "seed: must be a whole number, got “lucky”"),
    ({"steps": 2.5}, "steps: must be a whole number"),
    ({"image_format": "cinema"}, "image_format: must be 'square'"),
    ({"model": "z image turbo q9"}, "z_image_turbo_1.0_q8p.ckpt"),
    ({"sampler": "Euler Trailling"}, "Euler A Trailing"),
    ({"model": "qwen_image_edit_2511_q6p.ckpt"}, "does not do text2image (it does: edit, inpaint)"),
    ({"model": "wan_v2.1_1.3b_480p_q8p.ckpt"}, "(it does: video). Films are made from Python, by generate_video."),
    ({"configuration": {"guidanceScale": 99}}, "configuration: guidanceScale: must be from 0 to 50, got 99"),
    ({"image_format": "16:9", "width": 8192, "height": 64}, "height: must be from 128"),
    ({"image_format": "9:16", "width": 8000}, "height: would be"),
    ({"mode": "edit"}, "edit needs a picture: give canvas"),
    ({"mode": "edit", "model": "z-image"}, "For edit use model qwen-image or flux"),
    ({"mode": "redraw"}, "mode: must be 'auto'"),
    ({"strength": 7}, "strength: must be from 0 to 1, got 7"),
    ({"moodboard": ["latest"] * 9}, "moodboard: takes at most 8 items, got 9"),
    ({"moodboard": {"image": "a1"}}, "moodboard: must be a list, got {'image': 'a1'}"),
    ({"loras": ["Relight@much"]}, "“much” is not a weight"),
    ({"loras": ["@0.8"]}, "“@0.8” names no LoRA"),
    ({"loras": ["Relighting"]}, "There is no LoRA “Relighting”"),
    ({"preset": "Z Image"}, "There is no preset “Z Image”"),
    ({"configuration": "fast"}, "configuration: must be an object"),
    ({"model": "custom"}, "none is named text2image.custom"),
]


async def test_bad_arguments_get_one_clear_sentence_and_the_server_goes_on(over_stdio: Any) -> None:
    async with over_stdio("--server", "demo") as client:
        for arguments, words in BAD_ARGUMENTS:
            result = await generate(client, **arguments)
            assert result.is_error, arguments
            assert words in text_of(result)
            assert len(text_of(result)) < 400
            assert "Traceback" not in text_of(result)
            assert "pydantic" not in text_of(result)
        assert not (await generate(client, width=128, height=128, model="Z Image Turbo 1.0")).is_error


async def test_null_stands_for_an_argument_that_is_left_out(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        tool = (await client.list_tools()).tools[0]
        optional = {name: None for name in tool.input_schema["properties"] if name != "prompt"}
        result = await generate(client, **{**optional, "width": 128, "height": 128})
        assert not result.is_error, text_of(result)
        for word in ("null", ""):
            words = dict.fromkeys(optional, word)
            result = await generate(client, **{**words, "width": 128, "height": 128})
            assert not result.is_error, text_of(result)
        names = dict.fromkeys(("canvas", "mask", "model", "preset", "sampler"), "None")
        assert not (await generate(client, **names, width=128)).is_error
        assert not (await generate(client, moodboard=[""], loras=[" "], width=128)).is_error
        assert (await generate(client, preview="none")).is_error
        assert (await generate(client, prompt=None)).is_error
        assert (await generate(client, prompt="")).is_error


async def test_an_unknown_model_names_the_nearest_three(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        result = await generate(client, model="flux 2 klein 9b q8")
    assert result.is_error
    assert len(re.findall(r"\w+\.ckpt", text_of(result))) == 3
    assert "flux_2_klein_9b_q6p.ckpt" in text_of(result)


async def test_without_browsing_a_file_is_looked_for_by_name(in_process: Any) -> None:
    async with (
        Simulator(model_browser=False) as simulator,
        in_process(server=simulator.address, tls="off") as client,
    ):
        found = await generate(client, width=128, height=128, model="flux_2_klein_9b_q6p.ckpt")
        chosen = await generate(client, width=128, height=128)
        missing = await generate(client, model="flux_2_klein_9b_q4p.ckpt")
    assert "flux_2_klein_9b_q6p.ckpt" in text_of(found)
    assert "z_image_turbo_1.0_q8p.ckpt" in text_of(chosen)
    assert missing.is_error
    assert len(re.findall(r"\w+\.ckpt", text_of(missing).split("Nearest")[1])) == 3


async def test_recommended_settings_reach_the_wire_and_the_call_wins(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        await generate(client, width=128, height=128)
        await generate(
            client, width=128, height=128, model="sd_v1.5_f16.ckpt", steps=3, guidance_scale=2.5, sampler="Euler a"
        )
    turbo, classic = configurations(simulator)
    assert (turbo.steps, turbo.guidance_scale, turbo.sampler) == (8, 1.0, SamplerType.UniPCTrailing)
    assert (turbo.shift, turbo.resolution_dependent_shift, turbo.strength) == (3.0, False, 1.0)
    assert (classic.steps, classic.guidance_scale, classic.sampler) == (3, 2.5, SamplerType.EulerA)


async def test_a_dry_run_tells_every_setting_and_its_origin_and_renders_nothing(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        result = await generate(client, model="qwen-image", steps=9, width=500, height=300, dry_run=True)
    lines = text_of(result).splitlines()
    assert lines[0] == "dry run: nothing was rendered"
    assert lines[1].endswith("preset “Qwen Image 2512 with Lightning 4-Step v1.0”")
    assert lines[2] == "size 500×300, rendered at 512×320 and cropped; sampler UniPC Trailing"
    assert "call: width 512, height 320, steps 9" in lines
    recipe = next(line for line in lines if line.startswith("recipe "))
    assert "guidanceScale 1.0" in recipe
    assert "lightning_4_step" in recipe
    assert lines[-1].startswith("default: ")
    assert not simulator.requests


async def test_the_text_names_mode_family_preset_and_file(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        text = text_of(await generate(client, model="flux", width=128, height=128, preview="never"))
    assert "text2image with flux_2_klein_9b_q6p.ckpt (" in text
    assert ", flux); preset “FLUX.2 [klein] 9B”" in text


async def test_calls_at_once_are_served_in_the_order_in_which_they_came(in_process: Any) -> None:
    prompts = ["first", "second", "third"]
    async with (
        Simulator() as simulator,
        in_process(server=simulator.address, tls="off") as client,
        anyio.create_task_group() as tasks,
    ):
        for prompt in prompts:
            arguments = {"prompt": prompt, "width": 128, "height": 128, "steps": 2}
            tasks.start_soon(client.call_tool, "generate_image", arguments)
    assert [seen.message.prompt for seen in simulator.requests] == prompts


async def test_cancelling_a_call_stops_the_server_so_that_the_next_one_is_served(over_stdio: Any) -> None:
    # The long call would take 30 s, and a Draw Things server renders one at a time.
    async with Simulator(step_seconds=0.2) as simulator, over_stdio("--server", simulator.address) as client:
        sampling = anyio.Event()

        async def listen(progress: float, total: float | None, message: str | None) -> None:
            if message and message.startswith("Step 1/"):
                sampling.set()

        async def call() -> None:
            arguments = {"prompt": "x", "width": 128, "height": 128, "steps": 150}
            await client.call_tool("generate_image", arguments, progress_callback=listen)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            with anyio.fail_after(30):
                await sampling.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(20):
            result = await client.call_tool("generate_image", {"prompt": "y", "width": 128, "height": 128, "steps": 1})
    assert not result.is_error


async def test_half_a_character_in_a_preset_does_not_end_the_connection(
    over_stdio: Any, server_environment: dict[str, str]
) -> None:
    presets = Path(server_environment["DRAWTHINGS_STATE_DIR"]) / "presets"
    presets.mkdir(parents=True)
    (presets / "odd.json").write_text(
        r'[{"name": "Odd \ud800", "configuration": {"steps": 2}, "negative": "\ud800"},'
        r' {"name": "Odder", "configuration": {"model": "\ud800"}}]'
    )
    async with over_stdio("--server", "demo") as client:
        assert "“Odd”" in text_of(await generate(client, preset="Odd"))
        assert "needs “”" in text_of(await generate(client, preset="odder"))
        listed = await client.call_tool("list_models", {"kind": "presets", "query": "odd"})
        assert "“Odd ?”" in text_of(listed)
        assert not (await generate(client, preset="“Odd ?”", width=128, height=128)).is_error


async def test_what_is_most_useful_stays_when_notes_are_long(in_process: Any, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "presets"
    folder.mkdir(parents=True)
    for number in range(4):
        (folder / f"{'half-written-' * 10}{number}.json").write_text("[{")
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        text = text_of(await generate(client, width=128, height=128, variants=4, preview="never"))
    assert 700 < len(text) <= 800
    assert re.findall(r"^(v\d): .*\.png 128×128 seed \d+$", text, re.M) == ["v1", "v2", "v3", "v4"]
    assert "shown: none" in text
    notes = [line for line in text.splitlines() if line.startswith("note: ")]
    assert notes[0] == "note: simulated: no real model drew this"
    assert [note for note in notes[1:] if note.endswith("…")] == notes[1:]
    assert len(notes) == 5
