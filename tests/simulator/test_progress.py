"""Signposts, their totals, and when previews come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawthings_mcp.simulator import Simulator

if TYPE_CHECKING:
    from tests.simulator.conftest import Pixels, Wire

pytestmark = pytest.mark.anyio

PLMS = 3
SDXL = "sd_xl_base_1.0_f16.ckpt"


def sampling(total: int, kind: str = "sampling") -> list[str]:
    return [f"{kind} {step}" for step in range(total + 1)]


async def test_text_to_image_goes_from_text_to_pixels(wire: Wire, simulator: Simulator) -> None:
    answer = await wire.run(simulator, steps=4)
    assert answer.signposts == ["textEncoded", "imageEncoded", *sampling(4), "imageDecoded"]
    assert answer.totals == {"textEncoded": 0, "sampling": 4, "imageDecoded": 0}


async def test_step_zero_is_present_although_it_is_empty(wire: Wire, simulator: Simulator) -> None:
    answer = await wire.run(simulator, steps=1)
    first = answer.progress[2].currentSignpost
    assert first.SerializeToString() == b"\x1a\x00"
    assert first.WhichOneof("signpost") == "sampling"


async def test_progress_is_followed_by_the_size_and_then_by_the_images(wire: Wire, simulator: Simulator) -> None:
    answer = await wire.run(simulator, batchSize=2)
    size, *images = answer.messages[len(answer.progress) :]
    assert [field.name for field, _ in size.ListFields()] == ["downloadSize"]
    assert [[field.name for field, _ in image.ListFields()] for image in images] == [
        ["generatedImages", "scaleFactor"]
    ] * 2
    assert size.downloadSize == sum(len(payload) for payload in answer.payloads)


@pytest.mark.parametrize(
    ("steps", "strength", "shift", "total"),
    [
        (20, 0.6, 1.0, 12),
        (20, 0.6, 3.0, 7),
        (20, 0.5, 3.0, 5),
        (30, 0.7, 2.0, 17),
        (8, 0.8, 3.0, 5),
        (4, 0.75, 3.0, 2),
        (4, 0.001, 3.0, 1),
        (4, 0.99, 3.0, 4),
    ],
)
async def test_an_image_shortens_the_schedule_by_strength_and_shift(
    wire: Wire, simulator: Simulator, canvas: Pixels, steps: int, strength: float, shift: float, total: int
) -> None:
    answer = await wire.run(simulator, image=canvas, steps=steps, strength=strength, shift=shift)
    assert answer.signposts == ["textEncoded", "imageEncoded", *sampling(total), "imageDecoded"]
    assert answer.totals == {"textEncoded": 0, "imageEncoded": 0, "sampling": total, "imageDecoded": 0}


async def test_the_resolution_sets_the_shift_where_it_may(wire: Wire, simulator: Simulator) -> None:
    image = np.zeros((1024, 1024, 3), np.uint8)
    fields: dict[str, Any] = {
        "image": image, "startWidth": 16, "startHeight": 16, "steps": 20, "strength": 0.6,
        "shift": 1.0, "resolutionDependentShift": True,
    }  # fmt: skip
    # 1024 x 1024 shifts by 3.1582, so 3.1582 u / (1 + 2.1582 u) must fall below 0.6: that is u = 0.3, the 14th step.
    assert (await wire.run(simulator, **fields)).totals["sampling"] == 7
    assert (await wire.run(simulator, **fields, model="flux_1_schnell_q8p.ckpt")).totals["sampling"] == 12
    assert (await wire.run(simulator, **fields, model="wan_v2.1_1.3b_480p_q8p.ckpt")).totals["sampling"] == 12
    small = {"tiledDiffusion": True, "diffusionTileWidth": 8, "diffusionTileHeight": 8}
    # A tile of 512 x 512 shifts by 1.8776 only: u = 0.4.
    assert (await wire.run(simulator, **fields, **small)).totals["sampling"] == 9


async def test_plms_takes_a_share_of_the_steps(wire: Wire, simulator: Simulator, canvas: Pixels) -> None:
    answer = await wire.run(simulator, image=canvas, model=SDXL, sampler=PLMS, steps=20, strength=0.6)
    assert answer.totals["sampling"] == 12


async def test_a_mask_at_full_strength_takes_all_steps(wire: Wire, simulator: Simulator, canvas: Pixels) -> None:
    mask = np.zeros((128, 128), np.uint8)
    mask[:64] = 2
    answer = await wire.run(simulator, image=canvas, mask=mask, steps=4)
    assert answer.signposts == ["textEncoded", "imageEncoded", *sampling(4), "imageDecoded"]


async def test_strength_zero_samples_nothing(wire: Wire, simulator: Simulator, canvas: Pixels) -> None:
    answer = await wire.run(simulator, image=canvas, strength=0.0)
    assert answer.signposts == ["textEncoded", "imageEncoded", "imageDecoded"]
    assert "sampling" not in answer.totals


async def test_a_hires_fix_adds_a_second_pass(wire: Wire, simulator: Simulator) -> None:
    fix = {"hiresFix": True, "hiresFixStartWidth": 2, "hiresFixStartHeight": 2, "hiresFixStrength": 0.75}
    answer = await wire.run(simulator, startWidth=4, startHeight=4, steps=4, **fix)
    assert answer.signposts == [
        "textEncoded", "imageEncoded", *sampling(4), "imageDecoded",
        "secondPassImageEncoded", "imageEncoded", *sampling(2, "secondPassSampling"), "secondPassImageDecoded",
    ]  # fmt: skip
    assert answer.totals["secondPassSampling"] == 2
    assert answer.picture.shape == (256, 256, 3)


async def test_an_upscaler_is_announced_and_enlarges(wire: Wire, simulator: Simulator) -> None:
    answer = await wire.run(simulator, upscaler="remacri_4x_f16.ckpt")
    assert answer.signposts[-1] == "imageUpscaled"
    assert "imageUpscaled" in answer.totals
    assert answer.messages[-1].scaleFactor == 4
    assert answer.picture.shape == (512, 512, 3)
    forced = await wire.run(simulator, upscaler="remacri_4x_f16.ckpt", upscalerScaleFactor=2)
    assert forced.messages[-1].scaleFactor == 2
    assert forced.picture.shape == (256, 256, 3)


@pytest.mark.parametrize(("model", "times"), [("flux_1_fill_dev_q8p.ckpt", 2), ("flux_1_dev_q8p.ckpt", 1)])
async def test_inpainting_models_encode_twice(wire: Wire, simulator: Simulator, model: str, times: int) -> None:
    answer = await wire.run(simulator, model=model, sampler=10)
    assert answer.signposts.count("imageEncoded") == times


async def test_previews_come_at_odd_steps_and_at_all_of_the_second_half(wire: Wire, simulator: Simulator) -> None:
    answer = await wire.run(simulator, steps=10)
    assert list(answer.previews) == [f"sampling {step}" for step in (1, 3, 5, 6, 7, 8, 9)]


async def test_previews_of_an_image_count_from_where_the_schedule_begins(
    wire: Wire, simulator: Simulator, canvas: Pixels
) -> None:
    answer = await wire.run(simulator, image=canvas, steps=20, strength=0.6, shift=1.0)
    # It begins at entry 8: odd entries show, and all beyond entry 10.
    assert list(answer.previews) == [f"sampling {step}" for step in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11)]
