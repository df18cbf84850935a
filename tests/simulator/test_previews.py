"""Latents on the way: their shapes, and what the known linear maps make of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from drawthings_mcp.simulator import Simulator
from drawthings_mcp.tensors.latent import preview_pixels
from drawthings_mcp.tensors.tensor import decode_tensor

if TYPE_CHECKING:
    from tests.simulator.conftest import Wire

pytestmark = pytest.mark.anyio


def last_preview(answer: Any) -> Any:
    return decode_tensor(list(answer.previews.values())[-1])


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        ("sd_v1.5_f16.ckpt", (1, 16, 24, 4)),
        ("sd_xl_base_1.0_f16.ckpt", (1, 16, 24, 4)),
        ("z_image_turbo_1.0_q6p.ckpt", (1, 16, 24, 16)),
        ("qwen_image_2512_bf16_q8p.ckpt", (1, 16, 24, 16)),
        ("flux_2_klein_4b_q6p.ckpt", (1, 16, 24, 32)),
        ("wan_v2.2_5b_ti2v_q8p.ckpt", (3, 8, 12, 48)),
        ("wan_v2.1_1.3b_480p_q8p.ckpt", (3, 16, 24, 16)),
        # Two latent frames of 4 x 6 cells, and a row for the sound: 9 / (6 · 2) rounded up.
        ("ltx_2.3_22b_distilled_1.1_q8p.ckpt", (2, 5, 6, 128)),
    ],
)
async def test_the_shape_of_a_preview_is_the_versions(
    wire: Wire, simulator: Simulator, model: str, shape: tuple[int, ...]
) -> None:
    answer = await wire.run(simulator, model=model, startWidth=3, startHeight=2, numFrames=9)
    assert last_preview(answer).shape == shape


async def test_a_batch_has_one_latent_each(wire: Wire, simulator: Simulator) -> None:
    assert last_preview(await wire.run(simulator, batchSize=3)).shape == (3, 16, 16, 16)


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("sd_v1.5_f16.ckpt", "v1"),
        ("sd_xl_base_1.0_f16.ckpt", "sdxl_base_v0.9"),
        ("z_image_turbo_1.0_q6p.ckpt", "z_image"),
        ("qwen_image_2512_bf16_q8p.ckpt", "qwen_image"),
        ("flux_2_klein_4b_q6p.ckpt", "flux2_4b"),
    ],
)
async def test_the_linear_map_of_a_late_preview_gives_roughly_the_picture(
    wire: Wire, simulator: Simulator, model: str, version: str
) -> None:
    answer = await wire.run(simulator, "a red boat, teal sea", model=model, startWidth=8, startHeight=8, steps=40)
    pixels = preview_pixels(last_preview(answer), version)
    assert pixels is not None
    wanted = np.asarray(Image.fromarray(answer.picture).reduce(8), np.float64)
    assert np.corrcoef(pixels[0].ravel(), wanted.ravel())[0, 1] > 0.9
    assert np.abs(pixels[0] - wanted).mean() < 16


async def test_previews_get_clearer(wire: Wire, simulator: Simulator) -> None:
    answer = await wire.run(simulator, startWidth=8, startHeight=8, steps=12)
    last = last_preview(answer).astype(np.float64)
    distances = [np.abs(decode_tensor(p).astype(np.float64) - last).mean() for p in answer.previews.values()]
    assert distances == sorted(distances, reverse=True)


async def test_a_preview_is_one_complete_tensor_of_the_known_size(wire: Wire) -> None:
    async with Simulator(response_compression=False) as simulator:
        answer = await wire.run(simulator, startWidth=16, startHeight=16, steps=2)
    assert [len(payload) for payload in answer.previews.values()] == [524_356]
    assert struct.unpack_from("<I", answer.previews["sampling 1"]) == (0,)
