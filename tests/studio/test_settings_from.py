"""A call that begins with the recipe of a picture: ours, the app's, or another program's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from drawthings_mcp.errors import DrawThingsError, InvalidInputError
from drawthings_mcp.generation import ImageGenerationConfig
from drawthings_mcp.metadata.xmp import Packet, build_packet
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.studio.results import GenerationResult
from drawthings_mcp.studio.studio import Studio
from drawthings_mcp.wire.configuration import parse_configuration

pytestmark = pytest.mark.anyio

SD = "sd_v1.5_f16.ckpt"
LORA = "moxin_v1.0_lora_f16.ckpt"
CANNY = "controlnet_canny_1.x_v1.1_f16.ckpt"
A1111 = (
    "a pier, Möwen <lora:Moxin_v1.0_lora_f16:0.6> <lora:gone_style:1>\nNegative prompt: fog\n"
    "Steps: 21, Sampler: Euler a, CFG scale: 6.5, Seed: 12345, Size: 320x192, Model: {model}, Version: v1.9, "
    "Clip skip: 2, Hires upscaler: None, Refiner: x [9f2b]"
)
COMFY: dict[str, Any] = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            **{"seed": 2**40, "steps": 17, "cfg": 5.5, "sampler_name": "dpmpp_2m", "scheduler": "simple"},
            **{"denoise": 1, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]},
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15/sd_v1.5_f16.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 320, "height": 192, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a paper owl", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blur", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
}


@dataclass
class Desk:
    """A studio in front of a simulator, and a folder with pictures."""

    studio: Studio
    simulator: Simulator
    folder: Path

    async def make(self, **call: Any) -> GenerationResult:
        with anyio.fail_after(60):
            return await self.studio.generate(GenerateParams(**call))

    def last(self, back: int = 1) -> tuple[Any, ImageGenerationConfig]:
        """A request as the server got it, and its configuration."""
        message = self.simulator.requests[-back].message
        return message, parse_configuration(message.configuration)

    def save(self, name: str, keyword: str, text: str, size: tuple[int, int] = (320, 192)) -> str:
        info = PngInfo()
        info.add_itxt(keyword, text)
        Image.new("RGB", size, (200, 30, 30)).save(self.folder / name, pnginfo=info)
        return str(self.folder / name)

    def save_as_app(self, configuration: dict[str, Any]) -> str:
        """A picture as the app writes it."""
        comment = json.dumps({"c": "a fox", "v2": configuration})
        return self.save("app.png", "XML:com.adobe.xmp", build_packet(Packet(software="Draw Things", comment=comment)))


@pytest.fixture
def desk_at(studio_at: Any, tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Desk]]:
    @asynccontextmanager
    async def connect(**options: Any) -> AsyncIterator[Desk]:
        folder = tmp_path / "in"
        folder.mkdir()
        async with Simulator(**options) as simulator, studio_at(simulator.address, input_dirs=str(folder)) as studio:
            yield Desk(studio, simulator, folder)

    return connect


@pytest.mark.parametrize("browsing", [True, False])
async def test_a_picture_is_repeated_with_everything_it_was_made_with(desk_at: Any, browsing: bool) -> None:
    rare = {"clipSkip": 2, "hiresFix": True, "hiresFixWidth": 128, "hiresFixHeight": 128, "sharpness": 3, "shift": 2}
    call = {"model": SD, "width": 300, "height": 200, "steps": 5, "sampler": "LCM", "configuration": rare}
    async with desk_at(model_browser=browsing) as desk:
        await desk.make(prompt="a fox", negative_prompt="fog", seed=7, loras=[f"{LORA}@0.5"], **call)
        again = await desk.make(settings_from="v1")
        assert desk.last() == desk.last(2)
        changed = await desk.make(settings_from="v1", steps=9, prompt="a hare", width=512, configuration={"shift": 3})
    message, configuration = desk.last()
    assert [image.size for image in (*again.variants, *changed.variants)] == [(300, 200), (512, 341)]
    assert (message.prompt, message.negativePrompt) == ("a hare", "fog")
    assert (configuration.steps, configuration.shift, configuration.clip_skip, configuration.sharpness) == (9, 3, 2, 3)
    assert not configuration.hires_fix, "its first pass is for the other size"
    assert [(lora.file, lora.weight) for lora in configuration.loras] == [(LORA, 0.5)]


async def test_variants_begin_with_the_seed_of_the_picture(desk_at: Any) -> None:
    async with desk_at() as desk:
        await desk.make(prompt="a fox", width=192, height=128, seed=7, variants=2)
        second = (await desk.studio.gallery.find(["v2"])).pictures[0].seed
        result = await desk.make(settings_from="v2", variants=3)
        drawn = await desk.make(settings_from="v2", seed=-1)
    assert second != 7
    assert result.variants[0].seed == second
    assert len({image.seed for image in result.variants}) == 3
    assert drawn.variants[0].seed not in (7, second)


async def test_an_edit_is_repeated_on_the_pictures_that_it_was_made_from(desk_at: Any) -> None:
    async with desk_at() as desk:
        Image.new("RGB", (300, 200), (200, 30, 30)).save(desk.folder / "red.png")
        Image.new("RGB", (200, 300), (30, 30, 200)).save(desk.folder / "blue.png")
        Image.new("RGB", (64, 64), (30, 200, 30)).save(desk.folder / "green.png")
        red, blue, green = (str(desk.folder / f"{name}.png") for name in ("red", "blue", "green"))
        await desk.make(prompt="make it night", canvas=red, moodboard=[green], model="flux", width=192, height=128)
        again = await desk.make(settings_from="v1", prompt="make it day")
        other = await desk.make(settings_from="v1", canvas=blue)
        fresh = await desk.make(settings_from="v1", mode="text2image", prompt="a fox")
    assert again.sources == ("canvas a1", "moodboard a2")
    assert "used again from v1: canvas a1, moodboard a2" in again.notes
    assert again.plan.mode == "edit"
    assert again.variants[0].size == (192, 128)
    assert other.sources == ("canvas a3", "moodboard a2")
    assert other.variants[0].size[0] < other.variants[0].size[1], "a canvas of another shape keeps it"
    assert fresh.sources == ()
    assert fresh.plan.mode == "text2image"


async def test_a_mask_goes_with_its_canvas_only(desk_at: Any) -> None:
    mask = np.zeros((128, 192), np.uint8)
    mask[40:80] = 255
    async with desk_at() as desk:
        Image.new("RGB", (192, 128), (200, 30, 30)).save(desk.folder / "red.png")
        Image.new("RGB", (192, 128), (30, 30, 200)).save(desk.folder / "blue.png")
        Image.fromarray(mask).save(desk.folder / "mask.png")
        red, blue, white = (str(desk.folder / f"{name}.png") for name in ("red", "blue", "mask"))
        await desk.make(prompt="a hat", canvas=red, mask=white, width=192, height=128, strength=0.4)
        again = await desk.make(settings_from="v1")
        assert (again.plan.mode, again.sources) == ("inpaint", ("canvas a1", "mask a2"))
        assert again.plan.configuration.strength == pytest.approx(0.4)
        other = await desk.make(settings_from="v1", canvas=blue)
        assert (other.plan.mode, other.sources) == ("edit", ("canvas a3",))


async def test_without_the_picture_it_was_made_from_an_edit_is_not_drawn_as_something_else(desk_at: Any) -> None:
    async with desk_at() as desk:
        path = desk.folder / "red.png"
        Image.new("RGB", (192, 128), (200, 30, 30)).save(path)
        await desk.make(prompt="make it night", canvas=str(path), model="flux", width=192, height=128)
        path.unlink()
        with pytest.raises(InvalidInputError, match=r"v1 was made from a1, which cannot be read.*mode text2image"):
            await desk.make(settings_from="v1")
        assert len(desk.simulator.requests) == 1


async def test_a_control_is_repeated_with_its_map(desk_at: Any) -> None:
    edges = np.zeros((128, 192, 3), np.uint8)
    edges[40:44] = 255
    async with desk_at() as desk:
        Image.fromarray(edges).save(desk.folder / "edges.png")
        hints = (("canny", str(desk.folder / "edges.png"), 0.7),)
        await desk.make(prompt="a fox", model=SD, width=192, height=128, hints=hints)
        again = await desk.make(settings_from="v1", prompt="a hare")
        first, second = desk.last(2), desk.last()
        (desk.folder / "edges.png").unlink()
        with pytest.raises(InvalidInputError, match="v1 was made from a1"):
            await desk.make(settings_from="v1")
    assert again.sources == ("control a1",)
    assert second[0].hints == first[0].hints
    assert [(one.file, one.weight) for one in second[1].controls] == [(CANNY, pytest.approx(0.7))]


async def test_the_picture_of_another_program_is_a_beginning(desk_at: Any) -> None:
    async with desk_at() as desk:
        path = desk.save("a1111.png", "parameters", A1111.format(model="sd_v1.5_f16"))
        result = await desk.make(settings_from=path, guidance_scale=3)
    message, configuration = desk.last()
    assert (message.prompt, message.negativePrompt) == ("a pier, Möwen", "fog")
    assert (configuration.model, configuration.seed, configuration.steps) == (SD, 12345, 21)
    assert (configuration.guidance_scale, configuration.sampler.display_name) == (3, "Euler Ancestral")
    assert [(lora.file, lora.weight) for lora in configuration.loras] == [(LORA, pytest.approx(0.6))]
    assert result.variants[0].size == (320, 192)
    assert "the server lacks what a1 was made with, and it was left out: gone_style" in result.notes
    assert "a1: not known here and left out: clip skip “2”, refiner “x [9f2b]”" in result.notes


@pytest.mark.parametrize("name", ["sd_v1.5", "SD_v1.5-fp16", "models\\\\sd_v1.5.safetensors", "sd-v1.5-Q4_K_M.gguf"])
async def test_a_model_is_found_whatever_its_precision_is_called_elsewhere(desk_at: Any, name: str) -> None:
    async with desk_at() as desk:
        text = A1111.format(model=name).replace("Moxin_v1.0_lora_f16", "moxin_v1.0")
        result = await desk.make(settings_from=desk.save("a1111.png", "parameters", text))
    _, configuration = desk.last()
    assert (configuration.model, configuration.steps) == (SD, 21)
    assert [lora.file for lora in configuration.loras] == [LORA]
    assert not any("lacks the model" in note or "another model" in note for note in result.notes)


async def test_what_a_graph_does_not_let_be_taken_over_is_said(desk_at: Any) -> None:
    async with desk_at() as desk:
        path = desk.save("comfy.png", "prompt", json.dumps(COMFY))
        result = await desk.make(settings_from=path)
    message, configuration = desk.last()
    assert (message.prompt, message.negativePrompt) == ("a paper owl", "blur")
    assert (configuration.model, configuration.steps, configuration.guidance_scale) == (SD, 17, 5.5)
    assert f"a1 has seed {2**40}, above 4294967295; one was drawn" in result.notes
    assert "a1: not known here and left out: sampler “dpmpp_2m simple”" in result.notes


@pytest.mark.parametrize("browsing", [True, False])
async def test_settings_for_a_model_that_is_not_there_are_not_forced_on_another(desk_at: Any, browsing: bool) -> None:
    async with desk_at(model_browser=browsing) as desk:
        path = desk.save("a1111.png", "parameters", A1111.format(model="dreamyMix_v4"))
        result = await desk.make(settings_from=path)
    message, configuration = desk.last()
    used = configuration.model
    assert used.startswith("z_image")
    assert (configuration.steps, configuration.guidance_scale, configuration.seed) == (8, 1, 12345)
    assert message.prompt == "a pier, Möwen"
    assert f"the server lacks the model of a1, 'dreamyMix_v4'; {used} was used" in result.notes
    assert any("a1 are for another model and were left out" in note for note in result.notes)


async def test_another_model_in_the_call_takes_prompt_seed_and_size_only(desk_at: Any) -> None:
    async with desk_at() as desk:
        await desk.make(prompt="a fox", model=SD, width=192, height=128, seed=7, steps=50, loras=[LORA])
        result = await desk.make(settings_from="v1", model="z-image")
    _, configuration = desk.last()
    assert (configuration.steps, configuration.seed, configuration.loras) == (8, 7, ())
    assert result.variants[0].size == (192, 128)
    assert any("another model and were left out" in note for note in result.notes)


async def test_another_precision_of_the_model_keeps_the_settings(desk_at: Any) -> None:
    async with desk_at(missing_files=["z_image_turbo_1.0_q8p.ckpt"]) as desk:
        own = ImageGenerationConfig(model="z_image_turbo_1.0_q8p.ckpt", steps=11, sampler="LCM", seed=3).to_app_json()
        result = await desk.make(settings_from=desk.save_as_app(own))
    _, configuration = desk.last()
    assert configuration.model == "z_image_turbo_1.0_q6p.ckpt"
    assert (configuration.steps, configuration.seed) == (11, 3)
    assert any("the server lacks the model of a1" in note for note in result.notes)


async def test_a_named_preset_wins_over_the_picture(desk_at: Any, save_presets: Any) -> None:
    save_presets({"name": "Mine", "configuration": {"steps": 12, "model": SD}})
    async with desk_at() as desk:
        await desk.make(prompt="a fox", model=SD, width=192, height=128, steps=50, guidance_scale=3)
        await desk.make(settings_from="v1", preset="Mine")
    _, configuration = desk.last()
    assert (configuration.steps, configuration.guidance_scale) == (12, 3)


async def test_a_picture_that_tells_nothing_is_refused(desk_at: Any) -> None:
    async with desk_at() as desk:
        Image.new("RGB", (64, 64)).save(desk.folder / "plain.png")
        with pytest.raises(DrawThingsError, match="a1 does not tell how it was made"):
            await desk.make(settings_from=str(desk.folder / "plain.png"), prompt="a fox")
        path = desk.save("bare.png", "parameters", A1111.format(model="x").partition("\n")[2].partition("\n")[2])
        with pytest.raises(DrawThingsError, match="prompt: a2 carries none"):
            await desk.make(settings_from=path)
        assert (await desk.make(settings_from=path, prompt="a fox")).variants


async def test_a_picture_of_the_app_whose_canvas_is_not_known_says_so(desk_at: Any) -> None:
    own = ImageGenerationConfig(model=SD, strength=0.4, seed=3, width=320, height=192, steps=9).to_app_json()
    note = "a1 was made from a picture that is not known here, and its prompt alone was used; give it as input_image"
    async with desk_at() as desk:
        Image.new("RGB", (320, 192), (30, 30, 200)).save(desk.folder / "blue.png")
        path = desk.save_as_app(own)
        alone = await desk.make(settings_from=path)
        given = await desk.make(settings_from=path, canvas=str(desk.folder / "blue.png"), mode="image2image")
    assert note in alone.notes
    assert (alone.plan.mode, alone.plan.configuration.strength) == ("text2image", 1)
    assert note not in given.notes
    assert given.plan.configuration.strength == pytest.approx(0.4)


async def test_strength_of_a_picture_without_a_canvas_does_not_undo_a_start_from_one(desk_at: Any) -> None:
    async with desk_at() as desk:
        await desk.make(prompt="a fox", model=SD, width=192, height=128)
        result = await desk.make(settings_from="v1", canvas="v1", mode="image2image")
    assert result.plan.configuration.strength == pytest.approx(0.6)


async def test_prompts_and_sweeps_begin_with_a_picture(desk_at: Any) -> None:
    async with desk_at() as desk:
        await desk.make(prompt="a fox", model=SD, width=192, height=128, seed=7, steps=3)
        panels = await desk.make(settings_from="v1", prompts=["a hare", "a hen"])
        swept = await desk.make(settings_from="v1", sweep={"steps": [2, 4]})
    assert [image.seed for image in panels.variants] == [7, 8]
    assert [image.record.prompt for image in panels.variants] == ["a hare", "a hen"]
    assert {(image.record.prompt, image.seed, image.record.model) for image in swept.variants} == {("a fox", 7, SD)}
    assert [image.record.configuration["steps"] for image in swept.variants] == [2, 4]


async def test_a_part_of_a_large_photo_is_painted_again_and_put_back(desk_at: Any) -> None:
    mask = np.zeros((1600, 2400), np.uint8)
    mask[700:900, 1000:1200] = 255
    async with desk_at() as desk:
        Image.new("RGB", (2400, 1600), (200, 30, 30)).save(desk.folder / "photo.png")
        Image.fromarray(mask).save(desk.folder / "mask.png")
        names = {name: str(desk.folder / f"{file}.png") for name, file in (("canvas", "photo"), ("mask", "mask"))}
        first = await desk.make(prompt="a hat", model=SD, **names)
        again = await desk.make(settings_from="v1", prompt="a cap")
    assert first.plan.region == again.plan.region
    assert again.plan.region is not None
    assert [image.size for image in (*first.variants, *again.variants)] == [(2400, 1600)] * 2
    assert not any("cropped" in note for note in again.notes)
