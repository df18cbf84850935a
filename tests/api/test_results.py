from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drawthings_mcp.api.async_client import AsyncDrawThingsClient
from drawthings_mcp.api.results import list_result_configurations
from drawthings_mcp.errors import DrawThingsWarning
from drawthings_mcp.generation import ImageGenerationConfig, SeedMode, list_batch_seeds
from drawthings_mcp.limits import MAX_SEED
from drawthings_mcp.planning.compose import list_passes
from drawthings_mcp.tensors.tensor import encode_tensor
from tests.strict_server import StrictServer

MODEL = {"name": "Z", "file": "z_image_turbo_1.0_q8p.ckpt", "version": "z_image", "default_scale": 16}


def test_each_pass_begins_with_the_seed_after_the_last_image_of_the_one_before() -> None:
    configuration = ImageGenerationConfig(seed=7, batch_count=3, batch_size=2)
    passes = list_passes(configuration)
    seeds = list_batch_seeds(7, 6)
    assert [one.seed for one in passes] == [seeds[0], seeds[2], seeds[4]]
    assert {(one.batch_count, one.batch_size) for one in passes} == {(1, 2)}


def test_a_seed_of_minus_one_is_drawn_again_each_time() -> None:
    drawn = {list_passes(ImageGenerationConfig(seed=-1))[0].seed for _ in range(5)}
    assert len(drawn) == 5
    assert all(0 <= seed <= MAX_SEED for seed in drawn)


def test_an_image_of_a_batch_is_reproduced_alone_by_its_own_seed() -> None:
    sent = ImageGenerationConfig(seed=7, batch_size=3)
    assert list_result_configurations(sent, 3) == [
        sent.replace(seed=seed, batch_size=1) for seed in list_batch_seeds(7, 3)
    ]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        pytest.param({"seed_mode": SeedMode.Legacy}, 3, id="one generator for the whole batch"),
        pytest.param({}, 14, id="frames of a video"),
        pytest.param({"model": "qwen_image_layered_1.0_bf16_q6p.ckpt"}, 3, id="layers of one picture"),
    ],
)
def test_what_only_the_whole_pass_reproduces_keeps_its_configuration(changes: dict[str, Any], count: int) -> None:
    sent = ImageGenerationConfig(seed=7, batch_size=3, **changes)
    assert list_result_configurations(sent, count) == [sent] * count


@pytest.mark.anyio
async def test_values_that_are_no_numbers_are_warned_of() -> None:
    payload = encode_tensor(np.full((1, 128, 128, 3), np.nan, np.float16))
    async with (
        StrictServer([MODEL], payload=payload) as strict,
        AsyncDrawThingsClient(strict.address, insecure=True) as client,
    ):
        with pytest.warns(DrawThingsWarning, match=r"no numbers \(NaN\)"):
            await client.generate_image("fox", ImageGenerationConfig(model=str(MODEL["file"]), width=128, height=128))
