"""What is composed without a warning is answered by a server as it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import numpy as np
import pytest
from numpy.typing import NDArray

from drawthings_mcp.api.async_client import AsyncDrawThingsClient
from drawthings_mcp.catalog import Catalog, ServerInventory
from drawthings_mcp.errors import UnknownNameError
from drawthings_mcp.generation import ControlInputType, ControlNetConfig, ImageGenerationConfig, LoRAConfig
from drawthings_mcp.planning.compose import compose as compose_plan
from drawthings_mcp.planning.guard import list_files
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.tensors.fitting import extend_canvas

pytestmark = pytest.mark.anyio

Pixels = NDArray[np.uint8]
Draw = Callable[..., Pixels]
SD = "sd_v1.5_f16.ckpt"
SDXL = "sd_xl_base_1.0_f16.ckpt"
FLUX = "flux_1_dev_q8p.ckpt"
_PATIENCE = 30


@pytest.fixture(scope="module")
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture(scope="module")
async def reticent() -> AsyncIterator[Simulator]:
    """A server that does not let its models be browsed."""
    async with Simulator(model_browser=False) as running:
        yield running


def settle(model: str, *controls: ControlNetConfig, **fields: Any) -> ImageGenerationConfig:
    small: dict[str, Any] = {"model": model, "width": 128, "height": 128, "steps": 4, "seed": 5, "guidance_scale": 3}
    return ImageGenerationConfig(**{**small, "controls": controls, **fields})


def control(file: str, **fields: Any) -> ControlNetConfig:
    return ControlNetConfig(file=file, **fields)


def draw_outpainting(picture: Draw) -> dict[str, Any]:
    canvas, classes = extend_canvas(picture(64, 128), left=64)
    alpha = np.where(classes == 3, np.uint8(255), np.uint8(0))
    return {"canvas": np.dstack([canvas, alpha])}


KINDS: dict[str, Callable[[Draw, Draw], tuple[ImageGenerationConfig, dict[str, Any]]]] = {
    "text to image": lambda picture, half: (settle("z_image_turbo_1.0_q8p.ckpt"), {}),
    "image to image": lambda picture, half: (
        settle("z_image_turbo_1.0_q8p.ckpt", strength=0.6),
        {"canvas": picture(300, 200)},
    ),
    "inpainting": lambda picture, half: (
        settle(SD, strength=0.8),
        {"canvas": picture(300, 200), "mask": half(300, 200)},
    ),
    "inpainting with a model for it": lambda picture, half: (
        settle("flux_1_fill_dev_q8p.ckpt"),
        {"canvas": picture(), "mask": half()},
    ),
    "an edit with three references": lambda picture, half: (
        settle("qwen_image_edit_2511_q8p.ckpt"),
        {"canvas": picture(200, 300), "moodboard": [picture(64, 64), half(300, 90)]},
    ),
    "a combination of references alone": lambda picture, half: (
        settle("flux_2_klein_9b_q8p.ckpt"),
        {"moodboard": [picture(64, 64), picture(90, 300)]},
    ),
    "an edge map": lambda picture, half: (
        settle(SD, control("controlnet_canny_1.x_v1.1_f16.ckpt")),
        {"hints": {"canny": half(300, 200)}},
    ),
    "an edge map for a union control": lambda picture, half: (
        settle(
            SDXL,
            control("controlnet_xinsir_union_promax_sdxl_1.0_f16.ckpt", input_override=ControlInputType.Lineart),
        ),
        {"hints": {"lineart": 255 - half(90, 90) // 4}},
    ),
    "a depth map": lambda picture, half: (
        settle(SD, control("controlnet_depth_1.x_v1.1_f16.ckpt")),
        {"hints": {"depth": picture(200, 128)}},
    ),
    "a depth map for a depth model": lambda picture, half: (
        settle("flux_1_depth_dev_q8p.ckpt"),
        {"hints": {"depth": picture()}},
    ),
    "a pose in two passes": lambda picture, half: (
        settle(
            SD,
            control("controlnet_openpose_1.x_v1.1_f16.ckpt"),
            width=256,
            hires_fix=True,
            hires_fix_width=128,
            hires_fix_height=64,
        ),
        {"hints": {"pose": picture(512, 512)}},
    ),
    "a scribble, colours and a tile": lambda picture, half: (
        settle(
            SD,
            control("controlnet_scribble_1.x_v1.1_f16.ckpt"),
            control("t2iadapter_color_1.x_f16.ckpt"),
            control("controlnet_tile_1.x_v1.1_f16.ckpt"),
        ),
        {"hints": {"scribble": half(), "color": picture(), "tile": picture()}},
    ),
    "a picture as a prompt": lambda picture, half: (
        settle(FLUX, control("flux_1_redux_f16.ckpt")),
        {"moodboard": [picture(400, 100)]},
    ),
    "a video from its first frame": lambda picture, half: (
        settle("svd_i2v_xt_1.1_q6p_q8p.ckpt", num_frames=2),
        {"canvas": picture(400, 300)},
    ),
    "layers of a picture": lambda picture, half: (
        settle("qwen_image_layered_1.0_bf16_q8p.ckpt", batch_size=2),
        {"canvas": picture()},
    ),
    "everything that can be put on top": lambda picture, half: (
        settle(
            SDXL,
            loras=(LoRAConfig(file="papercut_sdxl_lora_f16.ckpt", weight=0.8),),
            refiner_model="sd_xl_refiner_1.0_f16.ckpt",
            upscaler="realesrgan_x2plus_f16.ckpt",
            batch_size=2,
        ),
        {"negative_prompt": "fog"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_answered_as_asked_is(
    kind: str, simulator: Simulator, catalog: Catalog, picture: Draw, half: Draw
) -> None:
    config, given = KINDS[kind](picture, half)
    composed = compose_plan("a red fox", config, inventory=ServerInventory(catalog), **given)
    assert composed.notes == ()
    assert composed.requests[0].override == {}
    await send(composed.requests[0], simulator)


@pytest.mark.parametrize("kind", KINDS)
async def test_answered_as_asked_without_a_list_of_models_is(
    kind: str, reticent: Simulator, picture: Draw, half: Draw
) -> None:
    config, given = KINDS[kind](picture, half)
    with anyio.fail_after(_PATIENCE):
        async with AsyncDrawThingsClient(reticent.address, insecure=True) as client:
            there = await client.files_exist(list_files(config))
    composed = compose_plan("a red fox", config, inventory=ServerInventory(answers=there), **given)
    assert composed.notes == ()
    await send(composed.requests[0], reticent)


async def test_outpainting_says_what_it_makes_of_clear_parts(
    simulator: Simulator, catalog: Catalog, picture: Draw
) -> None:
    composed = compose_plan("a fox", settle(SD), inventory=ServerInventory(catalog), **draw_outpainting(picture))
    assert [warning.split(":")[0] for warning in composed.notes] == ["Parts of input_image are clear"]
    (image,) = await send(composed.requests[0], simulator)
    kept = np.abs(image[:, 80:].astype(int) - picture(64, 128)[:, 16:].astype(int))
    assert np.median(kept) <= 1


async def test_what_is_missing_is_found_before_anything_is_sent(reticent: Simulator) -> None:
    config = settle("z_image_turbo.ckpt")
    with anyio.fail_after(_PATIENCE):
        async with AsyncDrawThingsClient(reticent.address, insecure=True) as client:
            there = await client.files_exist(list_files(config))
    sent_before = len(reticent.requests)
    with pytest.raises(UnknownNameError, match=r"nearest known: z_image_turbo"):
        compose_plan("a fox", config, inventory=ServerInventory(answers=there))
    assert len(reticent.requests) == sent_before


async def test_every_pass_gives_other_pictures(simulator: Simulator, catalog: Catalog) -> None:
    composed = compose_plan("a fox", settle(SD, batch_count=2, batch_size=2), inventory=ServerInventory(catalog))
    pictures = [image for request in composed.requests for image in await send(request, simulator)]
    assert len({image.tobytes() for image in pictures}) == 4


async def send(request: Any, simulator: Simulator) -> list[Pixels]:
    with anyio.fail_after(_PATIENCE):
        async with AsyncDrawThingsClient(simulator.address, insecure=True) as client:
            images = await client.generate(request)
    assert images
    assert simulator.crashes == []
    assert simulator.degradations == []
    return [image.pixels for image in images]
