"""Which model and recipe a call gets when files are missing, and what is said when nothing will do."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from drawthings_mcp.errors import DrawThingsError, InvalidInputError
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.presets.preset import list_checkpoints
from drawthings_mcp.server.face import MCP
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.tensors import decode_image
from tests.slots import read_slots
from tests.strict_server import StrictServer

pytestmark = pytest.mark.anyio

PICTURE = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
Q8 = "z_image_turbo_1.0_q8p.ckpt"
LIGHTNING = "qwen_image_edit_2511_lightning_4_step_v1.0_lora_f16.ckpt"
Z_IMAGE = list_checkpoints()["z_image_turbo_1.0"].files
QWEN_2511 = list_checkpoints()["qwen_image_edit_2511"].files
EDIT = {"mode": "edit", "model": "qwen-image", "canvas": PICTURE}


def without(missing: list[str], browsing: bool) -> Simulator:
    return Simulator(missing_files=missing, model_browser=browsing)


@pytest.mark.parametrize("browsing", [True, False])
@pytest.mark.parametrize(
    ("missing", "arguments", "preset", "words"),
    [
        ([LIGHTNING], EDIT, "Qwen Image Edit 2511", "with Lightning 4-Step v1.0 lacks files on this server"),
        (
            list(QWEN_2511),
            EDIT,
            "Qwen Image Edit 2509 with Lightning 4-Step v1.0",
            "Edit 2511 with Lightning 4-Step v1.0 lacks files",
        ),
        (list(Z_IMAGE), {}, "FLUX.2 [klein] 9B", "Z Image Turbo 1.0 lacks files"),
    ],
)
async def test_the_next_best_is_taken_and_said(
    studio_at: Any, missing: list[str], arguments: dict[str, Any], preset: str, words: str, browsing: bool
) -> None:
    async with without(missing, browsing) as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", **arguments))
    assert run.preset == preset
    assert words in run.notes[0]


async def test_another_precision_of_the_same_model_is_said_too(studio_at: Any) -> None:
    six_bit = {"file": "z_image_turbo_1.0_q6p.ckpt", "name": "Z Image Turbo 1.0 (6-bit)", "version": "z_image"}
    model = {**six_bit, "prefix": "", "upcast_attention": False, "default_scale": 16}
    async with StrictServer([model]) as strict, studio_at(strict.address, custom_configs="none") as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", model="z-image"))
    assert (run.model.file, run.preset) == (six_bit["file"], "Z Image Turbo 1.0")
    assert run.notes == (f"{Q8} is not on the server; {six_bit['file']} was used",)


@pytest.mark.parametrize("browsing", [True, False])
async def test_when_none_is_there_the_names_and_files_to_download_are_listed(studio_at: Any, browsing: bool) -> None:
    files = [*Z_IMAGE, *list_checkpoints()["z_image_1.0"].files]
    async with without(files, browsing) as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        with pytest.raises(InvalidInputError, match=r"no model of z-image .* \(z_image_turbo_1\.0_q8p"):
            await studio.plan(GenerateParams(prompt="a fox", model="z-image"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mode": "edit"}, "edit needs a picture: give canvas"),
        ({"mode": "inpaint", "canvas": PICTURE}, "mask"),
        ({"mode": "text2image", "canvas": PICTURE}, "text2image looks at no picture: use mode image2image"),
        ({"mode": "text2image", "moodboard": [PICTURE], "model": "flux"}, "text2image looks at no picture"),
        ({"mode": "text2image", "mask": PICTURE}, "text2image looks at no picture"),
        ({"mode": "edit", "model": "z-image", "canvas": PICTURE}, "use model qwen-image or flux"),
        ({"canvas": PICTURE, "moodboard": [PICTURE] * 9}, "moodboard: takes at most 8 items, got 9"),
        (
            {"mode": "image2image", "canvas": PICTURE, "moodboard": [PICTURE]},
            "use model qwen-image or flux, in mode edit",
        ),
        ({"model": "qwen-imgae"}, "There is no model “qwen-imgae”"),
        ({"model": "flux2"}, "Or name a family: auto, z-image, qwen-image, flux"),
        ({"preset": "Z Image Turbo"}, "Did you mean “Z Image Turbo 1.0”"),
        ({"configuration": {"steps": "many"}}, "configuration: steps: must be a whole number"),
        ({"configuration": {"seed": "lucky"}}, "configuration: seed: must be a whole number"),
        ({"configuration": {"width": "wide"}}, "configuration: width: must be a whole number"),
        ({"configuration": {"width": float("inf")}}, "configuration: width: must be a finite number"),
        ({"configuration": {"loras": ["Relight"]}}, "configuration: A LoRA must be a JSON object"),
        ({"sampler": "DPM++ 2M"}, "sampler: There is no sampler “DPM++ 2M”"),
    ],
)
async def test_what_cannot_be_done_says_what_can(studio_at: Any, arguments: dict[str, Any], words: str) -> None:
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        with pytest.raises(DrawThingsError) as caught:
            await studio.generate(GenerateParams(prompt="a fox", **arguments))
    assert words in caught.value.word(MCP)
    assert "Config:" not in str(caught.value)
    assert not simulator.requests


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mode": "image2image", "canvas": PICTURE, "strength": 1}, "At strength 1 nothing of canvas is used."),
        ({"model": "qwen-image", "configuration": {"shift": 4, "resolutionDependentShift": True}}, "Set resolutionDep"),
        ({"negative_prompt": "fog"}, "negative_prompt has no effect at guidance_scale 1."),
    ],
)
async def test_warnings_name_what_the_caller_can_set(studio_at: Any, arguments: dict[str, Any], words: str) -> None:
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", **arguments))
    assert [words in MCP.word(note) for note in run.notes] == [True]


@pytest.mark.parametrize(
    ("name", "family"),
    [("Z_Image", "z-image"), ("zimage", "z-image"), ("qwen", "qwen-image"), ("FLUX", "flux"), ("SD 1.5", "sd15")],
)
async def test_a_family_is_understood_however_it_is_spelt(studio_at: Any, name: str, family: str) -> None:
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", model=name))
        listing = await studio.list_catalog("models", family=name)
    assert run.family == family
    assert {row.family for row in listing.rows} == {family}


async def test_references_are_sent_in_the_order_given(studio_at: Any) -> None:
    levels = [255, 0, 128]  # neither the smallest nor the largest first
    greys = [np.full((64, 64, 3), level, np.uint8) for level in levels]
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        await studio.generate(
            GenerateParams(prompt="a fox", mode="edit", canvas=PICTURE, moodboard=greys, width=128, height=128)
        )
    (message,) = [seen.message for seen in simulator.requests]
    (hint,) = message.hints
    payloads = {hashlib.sha256(payload).digest(): payload for payload in message.contents}
    sent = [decode_image(payloads[tensor.tensor]) for tensor in hint.tensors]
    assert hint.hintType == "shuffle"
    assert [picture.tolist() for picture in sent] == [grey.tolist() for grey in greys]
    assert decode_image(payloads[message.image]).shape == (128, 128, 3)
    assert read_slots(message.configuration)["strength"] == 1.0


async def test_a_draft_becomes_final_at_a_larger_size_with_its_seed(studio_at: Any) -> None:
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        draft = (await studio.generate(GenerateParams(prompt="a fox", width=256, height=384))).variants[0]
        final = await studio.generate(
            GenerateParams(
                prompt="a fox",
                mode="image2image",
                canvas=draft.path,
                width=512,
                height=768,
                seed=draft.seed,
                strength=0.4,
            )
        )
    first, second = [read_slots(seen.message.configuration) for seen in simulator.requests]
    assert second["seed"] == first["seed"] == draft.seed
    assert (second["start_width"], second["start_height"]) == (8, 12)
    assert second["model"] == first["model"]
    assert final.variants[0].size == (512, 768)


@pytest.mark.parametrize(
    ("size", "rendered"), [((128, 128), (128, 128)), ((129, 700), (192, 704)), ((1000, 1000), (1024, 1024))]
)
async def test_any_size_is_rendered_at_the_next_multiple_and_both_are_reported(
    studio_at: Any, size: tuple[int, int], rendered: tuple[int, int]
) -> None:
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", width=size[0], height=size[1]))
    assert ((run.size.width, run.size.height), run.size.rendered) == (size, rendered)
