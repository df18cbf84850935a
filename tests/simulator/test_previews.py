"""Latents on the way: their shapes, and what the known linear maps make of them."""

from __future__ import annotations

import json
import struct
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from drawthings_mcp.simulator import Simulator
from drawthings_mcp.tensors import decode_tensor

if TYPE_CHECKING:
    from tests.simulator.conftest import Wire

pytestmark = pytest.mark.anyio

FLUX_RED = [
    -0.0346, 0.0034, 0.0275, -0.0174, 0.0859, 0.0004, 0.0405, -0.0236,
    -0.0245, 0.1008, -0.0515, 0.0428, 0.0817, -0.1264, -0.028, -0.1262,
]  # fmt: skip
"""First row of the map for z_image, as the protocol has it."""


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
    ("model", "map_name"),
    [
        ("sd_v1.5_f16.ckpt", "sd"),
        ("sd_xl_base_1.0_f16.ckpt", "sdxl"),
        ("z_image_turbo_1.0_q6p.ckpt", "flux"),
        ("qwen_image_2512_bf16_q8p.ckpt", "wan"),
        ("flux_2_klein_4b_q6p.ckpt", "flux2"),
    ],
)
async def test_the_linear_map_of_a_late_preview_gives_roughly_the_picture(
    wire: Wire, simulator: Simulator, model: str, map_name: str
) -> None:
    answer = await wire.run(simulator, "a red boat, teal sea", model=model, startWidth=8, startHeight=8, steps=40)
    entry = load_maps()[map_name]
    colors = last_preview(answer)[0].astype(np.float64) @ np.array(entry["weights"]).T + entry["bias"]
    if entry["output"] == "signed":
        colors = colors * 127.5 + 127.5
    wanted = np.asarray(Image.fromarray(answer.picture).reduce(8), np.float64)
    assert np.corrcoef(np.clip(colors, 0, 255).ravel(), wanted.ravel())[0, 1] > 0.9
    assert np.abs(np.clip(colors, 0, 255) - wanted).mean() < 16


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


def test_the_maps_are_those_of_the_protocol() -> None:
    maps = load_maps()
    assert maps["flux"]["weights"][0] == FLUX_RED
    assert maps["flux"]["bias"] == [-0.0329, -0.0718, -0.0851]
    sizes = {name: [len(row) for row in entry["weights"]] for name, entry in maps.items()}
    assert sizes == {
        "sd": [4] * 3, "sdxl": [4] * 3, "cascade": [4] * 3, "kandinsky": [4] * 3, "sd3": [16] * 3, "flux": [16] * 3,
        "hunyuan": [16] * 3, "wan": [16] * 3, "flux2": [32] * 3, "wan22": [48] * 3,
    }  # fmt: skip


def load_maps() -> dict[str, Any]:
    text = resources.files("drawthings_mcp.simulator").joinpath("latent_maps.json").read_text("utf-8")
    maps: dict[str, Any] = json.loads(text)
    return maps
