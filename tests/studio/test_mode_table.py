"""What is sent for each mode and family, read slot by slot, by two servers that share nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import numpy as np
import pytest

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.simulator import Simulator
from tests.slots import read_loras, read_slots
from tests.strict_server import StrictServer

pytestmark = pytest.mark.anyio

Z_IMAGE = "z_image_turbo_1.0_q8p.ckpt"
QWEN = "qwen_image_2512_bf16_q8p.ckpt"
QWEN_2509 = "qwen_image_edit_2509_q6p.ckpt"
QWEN_2511 = "qwen_image_edit_2511_q6p.ckpt"
FLUX = "flux_2_klein_9b_q6p.ckpt"

LIGHTNING = {
    QWEN: "qwen_image_2512_lightning_4_step_v1.0_lora_f16.ckpt",
    QWEN_2509: "qwen_image_edit_2509_lightning_4_step_v1.0_lora_f16.ckpt",
    QWEN_2511: "qwen_image_edit_2511_lightning_4_step_v1.0_lora_f16.ckpt",
}
RECIPES: dict[str, dict[str, Any]] = {
    Z_IMAGE: {"steps": 8, "guidance_scale": 1.0, "sampler": 17, "shift": 3.0, "mask_blur": 1.5, "clip_skip": 1},
    QWEN: {"steps": 4, "guidance_scale": 1.0, "sampler": 17, "shift": 3.0, "mask_blur": 1.5, "clip_skip": 1},
    QWEN_2509: {"steps": 4, "guidance_scale": 1.0, "sampler": 17, "shift": 3.0, "mask_blur": 1.5, "clip_skip": 1},
    QWEN_2511: {"steps": 4, "guidance_scale": 1.0, "sampler": 17, "shift": 3.0, "mask_blur": 1.5, "clip_skip": 1},
    FLUX: {"steps": 4, "guidance_scale": 1.0, "sampler": 16, "shift": 3.0, "mask_blur": 2.5, "clip_skip": 2},
}
MODE_TABLE = {
    ("text2image", "auto"): Z_IMAGE,
    ("text2image", "z-image"): Z_IMAGE,
    ("text2image", "qwen-image"): QWEN,
    ("text2image", "flux"): FLUX,
    ("image2image", "auto"): Z_IMAGE,
    ("image2image", "z-image"): Z_IMAGE,
    ("image2image", "qwen-image"): QWEN,
    ("image2image", "flux"): FLUX,
    ("edit", "auto"): QWEN_2509,
    ("edit", "qwen-image"): QWEN_2511,
    ("edit", "flux"): FLUX,
    ("inpaint", "auto"): QWEN_2509,
    ("inpaint", "z-image"): Z_IMAGE,
    ("inpaint", "qwen-image"): QWEN_2511,
    ("inpaint", "flux"): FLUX,
}
NAMED = [(mode, family) for mode in ("text2image", "image2image", "edit", "inpaint") for family in
         ("auto", "z-image", "qwen-image", "flux", "custom")]  # fmt: skip
STRENGTH = {"text2image": 1.0, "image2image": 0.6, "edit": 1.0, "inpaint": 1.0}

PICTURE = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
MASK = np.zeros((256, 256, 3), np.uint8)
MASK[64:192, 64:192] = 255

MODELS: list[dict[str, Any]] = [
    {
        "name": file.removesuffix(".ckpt"),
        "file": file,
        "prefix": "",
        "version": version,
        "upcast_attention": False,
        "default_scale": 16,
        "modifier": modifier,
    }
    for file, version, modifier in (
        (Z_IMAGE, "z_image", "none"),
        (QWEN, "qwen_image", "none"),
        (QWEN_2509, "qwen_image", "qwenimage_edit_plus"),
        (QWEN_2511, "qwen_image", "qwenimage_edit_2511"),
        (FLUX, "flux2_9b", "kontext"),
        ("sd_xl_base_1.0_f16.ckpt", "sdxl_base_v0.9", "none"),
    )
]
LORAS = [{"name": file, "file": file, "prefix": "", "version": "qwen_image"} for file in LIGHTNING.values()]


@asynccontextmanager
async def open_peer(kind: str) -> AsyncIterator[tuple[str, Callable[[], list[dict[str, Any]]]]]:
    """The address of a server, and what it was asked for so far."""
    if kind == "simulator":
        async with Simulator() as simulator:
            yield simulator.address, lambda: [_read(seen.message) for seen in simulator.requests]
            assert not simulator.degradations
    else:
        async with StrictServer(MODELS, LORAS) as strict:
            yield strict.address, lambda: strict.seen


def _read(message: Any) -> dict[str, Any]:
    return {
        **read_slots(message.configuration),
        "loras": read_loras(message.configuration),
        "prompt": message.prompt,
        "negative_prompt": message.negativePrompt,
        "has_image": bool(message.image),
    }


def call(mode: str, family: str, **more: Any) -> GenerateParams:
    pictures = {} if mode == "text2image" else {"canvas": PICTURE}
    if mode == "inpaint":
        pictures["mask"] = MASK
    size = {"width": 256, "height": 256} if "configuration" not in more else {}
    return GenerateParams(prompt="a red fox", mode=mode, model=family, seed=7, **pictures, **size, **more)


@pytest.mark.parametrize("peer", ["simulator", "strict"])
async def test_each_mode_and_family_sends_its_recipe(studio_at: Any, peer: str) -> None:
    with anyio.fail_after(110):
        async with open_peer(peer) as (address, list_seen), studio_at(address, custom_configs="none") as studio:
            results = [await studio.generate(call(*cell)) for cell in MODE_TABLE]
            seen = list_seen()
    assert [result.plan.model.file for result in results] == list(MODE_TABLE.values())
    assert [(result.plan.mode, result.notes) for result in results] == [(mode, ()) for mode, _ in MODE_TABLE]
    for (mode, family), sent in zip(MODE_TABLE, seen, strict=True):
        model = MODE_TABLE[mode, family]
        lora = [(LIGHTNING[model], 1.0, 0)] if model in LIGHTNING else []
        expected = {
            **RECIPES[model],
            "model": model,
            "strength": np.float32(STRENGTH[mode]),
            "resolution_dependent_shift": False,
            "seed": 7,
            "seed_mode": 2,
            "start_width": 4,
            "start_height": 4,
            "batch_size": 1,
            "hires_fix": False,
            "refiner_model": None,
            "upscaler": None,
            "loras": lora,
            "prompt": "a red fox",
            "negative_prompt": "",
            "has_image": mode != "text2image",
        }
        assert {name: sent[name] for name in expected} == expected, (mode, family)


@pytest.mark.parametrize("peer", ["simulator", "strict"])
async def test_a_preset_of_the_user_replaces_each_recipe(studio_at: Any, save_presets: Any, peer: str) -> None:
    models = {**MODE_TABLE, **{(mode, family): FLUX for mode, family in NAMED if (mode, family) not in MODE_TABLE}}
    presets = {
        cell: {
            "model": models[cell],
            "width": 320,
            "height": 192,
            "seed": 4711,
            "steps": 5 + number,
            "guidanceScale": 1.5 + number / 4,
            "strength": 1.0 if cell[0] == "text2image" else 0.5 + number / 64,
            "sampler": number % 20,
            "shift": 2.0,
            "resolutionDependentShift": False,
            "loras": [],
            "controls": [],
            "maskBlur": 4,
            "sharpness": 2.5,
        }
        for number, cell in enumerate(NAMED)
    }
    save_presets(
        *(
            {"name": f" {mode.upper()}.{family}", "configuration": configuration, "negative": f"no {mode}"}
            for (mode, family), configuration in presets.items()
        )
    )
    with anyio.fail_after(110):
        async with open_peer(peer) as (address, list_seen), studio_at(address) as studio:
            arguments = [call(mode, family, configuration={}) for mode, family in NAMED]
            results = [await studio.generate(one) for one in arguments]
            seen = list_seen()
    assert [result.plan.preset for result in results] == [f"{mode.upper()}.{family}" for mode, family in NAMED]
    for (cell, given), sent in zip(presets.items(), seen, strict=True):
        expected = {
            "model": given["model"],
            "start_width": 5,
            "start_height": 3,
            "seed": 7,
            "steps": given["steps"],
            "guidance_scale": given["guidanceScale"],
            "strength": given["strength"],
            "sampler": given["sampler"],
            "shift": 2.0,
            "resolution_dependent_shift": False,
            "mask_blur": 4.0,
            "sharpness": 2.5,
            "loras": [],
            "negative_prompt": f"no {cell[0]}",
        }
        assert {name: sent[name] for name in expected} == expected, cell


async def test_z_image_does_not_edit_and_says_who_does(studio_at: Any) -> None:
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        with pytest.raises(InvalidInputError, match=r"does not do edit\. For edit use model qwen-image or flux"):
            await studio.generate(call("edit", "z-image"))
    assert not simulator.requests


async def test_left_to_auto_a_family_that_does_not_edit_starts_from_the_picture(studio_at: Any) -> None:
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        run = await studio.plan(GenerateParams(prompt="a red fox", model="z-image", canvas=PICTURE))
    assert (run.mode, run.model.file) == ("image2image", Z_IMAGE)
    assert "does not edit" in run.notes[0]
    assert run.notes[0].endswith("use model qwen-image or flux")


@pytest.mark.parametrize("mode", ["text2image", "image2image", "edit", "inpaint"])
async def test_custom_without_a_preset_says_how_to_make_one(studio_at: Any, save_presets: Any, mode: str) -> None:
    save_presets({"name": "My Style", "configuration": {"steps": 9}})
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        with pytest.raises(InvalidInputError, match=f"none is named {mode}.custom.*My Style"):
            await studio.generate(call(mode, "custom"))


async def test_a_family_beyond_the_table_has_its_recipe_too(studio_at: Any) -> None:
    async with StrictServer(MODELS, LORAS) as strict, studio_at(strict.address, custom_configs="none") as studio:
        await studio.generate(call("text2image", "sdxl"))
    (sent,) = strict.seen
    assert (sent["model"], sent["steps"], sent["sampler"]) == ("sd_xl_base_1.0_f16.ckpt", 16, 12)
    assert (sent["zero_negative_prompt"], sent["target_image_width"], sent["negative_original_image_width"]) == (
        True,
        1024,
        512,
    )
