"""Pictures made large: which runs that takes on a server, what comes out, and sizes that no model draws at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from mcp import Client
from PIL import Image, ImageDraw

from drawthings_mcp.metadata.reading import read_metadata
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.simulator.catalog import OPTIONAL_FILES, list_specifications
from tests.calls import call, text_of

pytestmark = pytest.mark.anyio

UPSCALERS = frozenset(spec["file"] for spec in list_specifications("upscalers"))


async def upscale(client: Client, **arguments: Any) -> str:
    result = await call(client, "transform_image", operation="upscale", **arguments)
    assert not result.is_error, text_of(result)
    return text_of(result)


def find_file(environment: dict[str, str], image_id: str) -> Path:
    for path in Path(environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*.png"):
        if read_record(path)["id"] == image_id:
            return path
    raise AssertionError(image_id)


def read_record(path: Path) -> Mapping[str, Any]:
    metadata = read_metadata(path)
    assert metadata is not None
    return metadata.record


def list_sent(simulator: Simulator) -> list[Any]:
    """The configurations of all requests, oldest first."""
    return [request.configuration for request in simulator.requests]


def compare(one: Path, other: Path) -> float:
    """Mean difference of two pictures at the size of the first, in levels."""
    with Image.open(one) as first, Image.open(other) as second:
        small = second.convert("RGB").resize(first.size, Image.Resampling.LANCZOS)
        return float(np.abs(np.asarray(first.convert("RGB"), int) - np.asarray(small, int)).mean())


def measure(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


async def test_an_upscaler_enlarges_to_exactly_what_was_asked_for(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        await call(client, "generate_image", prompt="a fox", width=300, height=200, steps=1, seed=3)
        four = await upscale(client, images=["v1"], long_edge=1001)
        two = await upscale(client, images=["latest"])
        refused = await call(client, "transform_image", operation="upscale", images=["v1"], long_edge=300)
        several = await call(client, "transform_image", operation="upscale", images=["v1", "v2"])
    first, second = list_sent(simulator)[1:3]
    assert (first.upscaler, first.upscalerScaleFactor, first.strength) == ("4x_ultrasharp_f16.ckpt", 4, 0)
    assert (first.startWidth * 64, first.startHeight * 64) == (320, 256)  # the next multiples of 64
    assert second.upscalerScaleFactor == 2
    assert "v2: " in four
    assert "1001×667 seed 3" in four
    assert "note: rendered at 320×256 and upscaled" in four
    assert "note: enlarged 4 times by 4x_ultrasharp_f16.ckpt" in four
    assert "2002×1334" in two
    picture, large = find_file(server_environment, "v1"), find_file(server_environment, "v2")
    assert measure(large) == (1001, 667)
    assert compare(picture, large) < 4
    record = read_record(large)
    assert record["parents"] == [["canvas", "v1"]]
    assert (record["mode"], record["requested_size"]) == ("upscale", "1001x667")
    assert "long_edge: the picture has 300×200 already; give more than 300" in text_of(refused)
    assert "images: upscale takes one picture, got 2" in text_of(several)


@pytest.mark.parametrize("missing", [UPSCALERS | OPTIONAL_FILES, OPTIONAL_FILES, frozenset()])
async def test_what_is_clear_in_a_picture_stays_clear_and_its_edge_keeps_its_colour(
    in_process: Any, server_environment: dict[str, str], tmp_path: Path, missing: frozenset[str]
) -> None:
    logo = Image.new("RGBA", (200, 140))
    ImageDraw.Draw(logo).ellipse((50, 20, 150, 120), fill=(220, 40, 40, 255))
    logo.resize((100, 70), Image.Resampling.LANCZOS).save(tmp_path / "logo.png")
    async with (
        Simulator(missing_files=missing) as simulator,
        in_process(server=simulator.address, tls="off", input_dirs=(tmp_path,)) as client,
    ):
        text = await upscale(client, images=[str(tmp_path / "logo.png")], long_edge=300)
    assert "note: what is clear stays clear; its edge was enlarged without a model" in text
    made = find_file(server_environment, "v2" if not missing else "v1")
    assert "logo" in made.name
    with Image.open(made) as picture:
        assert (picture.mode, picture.size) == ("RGBA", (300, 210))
        pixels = np.asarray(picture).astype(int)
    wanted = np.asarray(logo.resize((300, 210), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(pixels[..., 3] - wanted[..., 3]).mean() < 2
    assert not pixels[:15, :, 3].any()
    assert not pixels[100:110, :60, 3].any()
    if missing == OPTIONAL_FILES:
        edge = pixels[(pixels[..., 3] > 20) & (pixels[..., 3] < 235), :3]
        assert np.abs(edge - (220, 40, 40)).mean() < 6, "no grey fringe"


async def test_seedvr2_is_a_second_pass_where_it_is_installed(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    messages: list[str] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        messages.append(message or "")

    async with (
        Simulator(missing_files=()) as simulator,
        in_process(server=simulator.address, tls="off") as client,
    ):
        await call(client, "generate_image", prompt="a fox", width=192, height=128, steps=1)
        with anyio.fail_after(60):
            result = await client.call_tool(
                "transform_image",
                {"operation": "upscale", "images": ["v1"], "long_edge": 1700},
                progress_callback=note,
            )
    text = text_of(result)
    enlarged, restored = list_sent(simulator)[1:]
    assert (enlarged.upscaler, restored.model) == ("4x_ultrasharp_f16.ckpt", "seedvr2_3b_q8p.ckpt")
    assert (restored.startWidth * 64, restored.startHeight * 64) == (1728, 1152)
    assert not restored.upscaler
    assert "v2: " in text
    assert "v3: " in text
    assert text.count("1700×1133") == 2
    assert text.startswith("from canvas v1\n")
    assert "note: restored by “SeedVR2 3B”" in text
    assert "repaints what a mask marks" not in text
    assert any("image 2 of 2" in message for message in messages)
    final = find_file(server_environment, "v3")
    assert measure(final) == (1700, 1133)
    assert compare(find_file(server_environment, "v2"), final) < 10
    assert read_record(final)["parents"] == [["canvas", "v2"]]


@pytest.mark.parametrize("browses", [True, False])
async def test_without_an_upscaler_a_model_redraws_the_picture_in_tiles(
    in_process: Any, server_environment: dict[str, str], browses: bool
) -> None:
    async with (
        Simulator(missing_files=UPSCALERS | OPTIONAL_FILES, model_browser=browses) as simulator,
        in_process(server=simulator.address, tls="off") as client,
    ):
        await call(client, "generate_image", prompt="a fox", width=256, height=192, steps=1, model="SD v1.5")
        text = await upscale(client, images=["v1"], long_edge=700)
    sent = list_sent(simulator)[-1]
    assert 0 < sent.strength < 0.5
    assert sent.tiledDiffusion
    assert sent.tiledDecoding
    assert sent.diffusionTileWidth * 64 == 512  # the model's native side
    assert "700×525" in text
    assert "the server has no upscaler and no SeedVR2" in text
    assert measure(find_file(server_environment, "v2")) == (700, 525)


async def test_who_begins_with_an_enlarged_picture_begins_with_what_it_was_made_from(in_process: Any) -> None:
    async with Simulator(missing_files=()) as simulator, in_process(server=simulator.address, tls="off") as client:
        await call(client, "generate_image", prompt="a fox", width=256, height=192, steps=3, seed=9)
        await upscale(client, images=["v1"], long_edge=600)
        again = await call(client, "generate_image", settings_from="v3")
        shown = await call(client, "review_image", images=["v3"], settings=True)
    assert not again.is_error
    assert "note: v3 is v2 enlarged, with whose settings the call begins" in text_of(again)
    assert "256×192 seed 9" in text_of(again)
    assert "v3: upscale" in text_of(shown)
    first, last = list_sent(simulator)[0], list_sent(simulator)[-1]
    assert (last.steps, last.strength, last.upscaler) == (first.steps, first.strength, None)


async def test_an_upscaler_for_drawings_is_taken_only_where_there_is_no_other(in_process: Any) -> None:
    drawings, other = "realesrgan_x4plus_anime_6b_f16.ckpt", "realesrgan_x4plus_f16.ckpt"
    used = []
    for there in ({drawings, other}, {drawings}):
        async with (
            Simulator(missing_files=(UPSCALERS - there) | OPTIONAL_FILES) as simulator,
            in_process(server=simulator.address, tls="off") as client,
        ):
            await call(client, "generate_image", prompt="a fox", width=128, height=128, steps=1)
            await upscale(client, images=["latest"])
            used.append(list_sent(simulator)[-1].upscaler)
    assert used == [other, drawings]


async def test_a_size_far_above_the_models_is_never_sent_bare(in_process: Any) -> None:
    large = {"prompt": "a fox", "model": "sd_v1.5_f16.ckpt", "width": 2100, "height": 1400, "dry_run": True}
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        await call(client, "generate_image", prompt="a fox", width=256, height=192, steps=1)
        drawn = text_of(await call(client, "generate_image", **large))
        redrawn = text_of(await call(client, "generate_image", **large, canvas="v1", mode="image2image"))
        own = text_of(await call(client, "generate_image", **large, configuration={"hiresFix": False}))
        usual = text_of(await call(client, "generate_image", **{**large, "width": 768, "height": 512}))
        edit = {"prompt": "make it night", "canvas": "v1", "width": 4961, "height": 3508}
        edited = await call(client, "generate_image", **edit)
    (found,) = [line for line in drawn.splitlines() if line.startswith("size far above the model's: ")]
    assert "hiresFix true, hiresFixWidth 640, hiresFixHeight 448" in found
    assert "tiledDiffusion true, diffusionTileWidth 512, diffusionTileHeight 512" in found
    assert "note: 2100×1400 is far above the 512x512 of sd_v1.5_f16.ckpt: drawn in two passes (hiresFix)" in drawn
    assert "drawn in tiles; mostly better: the usual size, then call transform_image" in redrawn
    assert "hiresFix true" not in redrawn
    assert "note: sd_v1.5_f16.ckpt is made for 512x512: at 2112x1408 it draws things several times" in own
    assert "far above" not in usual
    assert edited.is_error
    assert 'then call transform_image(operation="upscale")' in text_of(edited)
    assert len(simulator.requests) == 1


async def test_an_edit_is_made_final_by_a_model_that_starts_from_pictures(in_process: Any) -> None:
    editor = "qwen_image_edit_2511_q6p.ckpt"
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        size = {"width": 256, "height": 192, "steps": 2}
        await call(client, "generate_image", prompt="a fox", **size)
        await call(client, "generate_image", prompt="make it night", canvas="v1", model=editor, **size)
        final = await call(
            client, "generate_image", prompt="a fox at night", canvas="v2", model=editor, mode="image2image", **size
        )
    assert not final.is_error
    used = list_sent(simulator)[-1].model
    assert used.startswith("qwen_image_2512")
    assert f"note: {editor} only edits; {used} was used, which starts from a picture" in text_of(final)
