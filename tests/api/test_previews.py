"""What a client makes of the latents that a server streams: pictures that come to look like the finished ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from numpy.typing import NDArray

from drawthings_mcp.api.async_client import AsyncDrawThingsClient
from drawthings_mcp.events import Event, PreviewReceived
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.tensors.fitting import fit_pixels
from drawthings_mcp.tensors.latent import preview_pixels

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Shown:
    """What was shown of a run; None for a preview that nobody can look at."""

    previews: list[NDArray[np.uint8] | None]
    pictures: list[NDArray[np.uint8]]

    def distance(self, preview: int, place: int = 0, picture: int = 0) -> float:
        """Mean difference in levels between one picture of a preview and a finished one."""
        pixels = self.previews[preview]
        assert pixels is not None
        height, width = pixels.shape[1:3]
        finished = fit_pixels(self.pictures[picture], (width, height), "stretch")
        return float(np.abs(pixels[place].astype(int) - finished).mean())


async def show_run(folder: Path, model: str, **changes: Any) -> Shown:
    configuration = ImageGenerationConfig(
        **{"model": model, "width": 512, "height": 384, "steps": 30, "seed": 42, **changes}
    )
    request = GenerationRequest("a red boat on a teal sea", configuration)
    payloads: list[bytes] = []

    def keep(event: Event) -> None:
        if isinstance(event, PreviewReceived):
            payloads.append(event.payload)

    with anyio.fail_after(60):
        async with (
            Simulator() as simulator,
            AsyncDrawThingsClient(simulator.address, state_dir=folder, insecure=True) as client,
        ):
            version = (await client.catalog()).get_model(model).version
            images = await client.generate(request, keep)
    return Shown([preview_pixels(payload, version) for payload in payloads], [image.pixels for image in images])


@pytest.mark.parametrize(
    "model",
    [
        "z_image_turbo_1.0_q6p.ckpt",
        "flux_2_klein_9b_q6p.ckpt",
        "sd_xl_base_1.0_f16.ckpt",
        "sd_v1.5_f16.ckpt",
        "qwen_image_2512_q6p.ckpt",
    ],
)
async def test_previews_come_to_look_like_the_finished_picture(model: str, tmp_path: Path) -> None:
    shown = await show_run(tmp_path, model)
    assert len(shown.previews) > 10
    assert shown.distance(-1) < 6
    assert shown.distance(0) > 3 * shown.distance(-1)


async def test_every_picture_of_a_batch_has_its_preview(tmp_path: Path) -> None:
    shown = await show_run(tmp_path, "sd_v1.5_f16.ckpt", batch_size=2)
    assert len(shown.pictures) == 2
    for place in range(2):
        assert shown.distance(-1, place, place) < 6 < shown.distance(-1, place, 1 - place)


async def test_a_video_has_a_preview_for_each_of_its_latent_frames(tmp_path: Path) -> None:
    shown = await show_run(tmp_path, "wan_v2.2_5b_ti2v_q8p.ckpt", num_frames=9)
    assert len(shown.pictures) == 9
    last = shown.previews[-1]
    assert last is not None
    assert last.shape == (3, 24, 32, 3)
    assert shown.distance(-1, 0, 0) < 6


async def test_a_model_without_a_linear_map_shows_nothing(tmp_path: Path) -> None:
    shown = await show_run(tmp_path, "ltx_2.3_22b_distilled_1.1_q8p.ckpt", num_frames=9, width=128, height=128)
    assert shown.previews
    assert all(preview is None for preview in shown.previews)
