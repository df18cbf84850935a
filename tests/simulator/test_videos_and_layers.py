"""Frames, sound, layers and cut-outs."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.tensors.tensor import decode_tensor

if TYPE_CHECKING:
    from tests.simulator.conftest import Pixels, Wire

pytestmark = pytest.mark.anyio

SVD = "svd_i2v_xt_1.1_q6p_q8p.ckpt"
WAN = "wan_v2.2_5b_ti2v_q8p.ckpt"
LTX = "ltx_2.3_22b_distilled_1.1_q8p.ckpt"
LAYERED = "qwen_image_layered_1.0_bf16_q8p.ckpt"


@pytest.mark.parametrize(
    ("model", "wanted", "count"),
    [(WAN, 14, 13), (WAN, 13, 13), (WAN, 1, 1), (WAN, 0, 1), (LTX, 14, 9), (LTX, 17, 17), (SVD, 6, 6)],
)
async def test_videos_have_as_many_frames_as_their_version_makes(
    wire: Wire, simulator: Simulator, canvas: Pixels, model: str, wanted: int, count: int
) -> None:
    fields: dict[str, Any] = {"image": canvas} if model == SVD else {}
    answer = await wire.run(simulator, model=model, numFrames=wanted, batchSize=3, **fields)
    assert len(answer.pictures) == count
    assert all(picture.shape == (128, 128, 3) for picture in answer.pictures)


async def test_frames_move_and_come_in_order(wire: Wire, simulator: Simulator) -> None:
    frames = (await wire.run(simulator, model=WAN, numFrames=9)).pictures
    first = frames[0].astype(int)
    distances = [np.abs(frame - first).mean() for frame in frames]
    assert distances[0] == 0
    assert all(distance > 0 for distance in distances[1:])
    assert distances[-1] > distances[1]


async def test_a_video_of_a_canvas_begins_with_the_canvas_itself(
    wire: Wire, simulator: Simulator, canvas: Pixels
) -> None:
    for model in (SVD, "wan_v2.1_14b_i2v_480p_q6p_svd.ckpt", LTX):
        frames = (await wire.run(simulator, model=model, image=canvas, numFrames=9)).pictures
        assert np.array_equal(frames[0], canvas)
        assert not np.array_equal(frames[1], canvas)


async def test_svd_works_on_its_image_even_at_full_strength(wire: Wire, simulator: Simulator, canvas: Pixels) -> None:
    wide = np.concatenate([canvas, canvas], axis=1)
    answer = await wire.run(simulator, model=SVD, image=wide, numFrames=2)
    assert answer.pictures[0].shape == (128, 256, 3)
    assert answer.totals["imageEncoded"] == 0


@pytest.mark.parametrize(("fps", "rate", "frames"), [(25, 48_000, 9)])
async def test_ltx_sends_sound_after_the_images(
    wire: Wire, simulator: Simulator, fps: int, rate: int, frames: int
) -> None:
    answer = await wire.run(simulator, model=LTX, numFrames=frames)
    (sound,) = answer.sounds
    header = struct.unpack_from("<I4i12i", sound)
    assert header[2:4] == (1, 0x4000)
    samples = decode_tensor(sound)
    assert samples.shape == (2, round(frames / fps * rate))
    assert samples.dtype == np.float32
    assert 0.05 < np.abs(samples).max() <= 1
    kinds = ["image" if m.generatedImages else "sound" if m.generatedAudio else "" for m in answer.messages]
    assert kinds[-frames - 1 :] == ["image"] * frames + ["sound"]
    announced = next(m.downloadSize for m in answer.messages if m.HasField("downloadSize"))
    assert announced == sum(map(len, answer.payloads))


async def test_pictures_have_no_sound(wire: Wire, simulator: Simulator) -> None:
    assert (await wire.run(simulator)).sounds == []
    assert (await wire.run(simulator, model=WAN, numFrames=5)).sounds == []


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
async def test_layers_have_alpha_first_on_the_wire(wire: Wire, simulator: Simulator, count: int) -> None:
    answer = await wire.run(simulator, model=LAYERED, batchSize=count, startWidth=4, startHeight=4)
    assert len(answer.payloads) == count
    back = decode_tensor(answer.payloads[0])
    assert back.shape == (1, 256, 256, 4)
    assert (back[..., 0] == 1).all()  # alpha 0…1 comes first, and the rear layer is opaque
    assert back[..., 1:].min() < -0.2


async def test_layers_put_together_look_like_a_picture(wire: Wire, simulator: Simulator) -> None:
    layers = (await wire.run(simulator, "a bear", model=LAYERED, batchSize=4, startWidth=4, startHeight=4)).pictures
    opaque = [(layer[..., 3] > 128).mean() for layer in layers]
    assert opaque[0] == 1
    assert 0.02 < opaque[1] < 0.6  # the bear
    assert 0.002 < opaque[2] < 0.3  # the letters
    whole = (await wire.run(simulator, "a bear", model=LAYERED, batchSize=1, startWidth=4, startHeight=4)).picture
    stacked = layers[0][..., :3].astype(float)
    for layer in layers[1:]:
        share = layer[..., 3:] / 255
        stacked = stacked * (1 - share) + layer[..., :3] * share
    lower = np.s_[64:]  # below the plates, which every layer has
    assert np.abs(stacked[lower] - whole[lower, :, :3]).mean() < 2


async def test_a_canvas_is_the_rear_layer(wire: Wire, simulator: Simulator, canvas: Pixels) -> None:
    layers = (await wire.run(simulator, model=LAYERED, image=canvas, strength=0.0, batchSize=2)).pictures
    assert np.array_equal(layers[0][40:, :, :3], canvas[40:])


async def test_a_transparent_decoder_cuts_the_subject_out(wire: Wire, simulator: Simulator) -> None:
    loras = [fbs.LoRAT(file="layer_flux_1_transparent_lora_f16.ckpt", weight=1.0)]
    answer = await wire.run(
        simulator, "a bear", model="flux_1_dev_q8p.ckpt", sampler=10, loras=loras, startWidth=4, startHeight=4
    )
    alpha = answer.picture[..., 3]
    assert answer.picture.shape == (256, 256, 4)
    assert 0.02 < (alpha > 128).mean() < 0.6
    assert (alpha == 0).mean() > 0.3
