"""What a real server silently leaves out or replaces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.tensors import encode_image
from drawthings_mcp.tensors.mask import encode_mask

if TYPE_CHECKING:
    from tests.simulator.conftest import Pixels, Wire

pytestmark = pytest.mark.anyio

SD = "sd_v1.5_f16.ckpt"
CANNY = "controlnet_canny_1.x_v1.1_f16.ckpt"
DEFAULT = "ltx_2.3_22b_distilled_1.1_q8p.ckpt"
ANOTHER_HASH = bytes(32)


def lora(file: str, weight: float = 1.0) -> list[Any]:
    return [fbs.LoRAT(file=file, weight=weight)]


def control(file: str | None, **fields: Any) -> list[Any]:
    return [fbs.ControlT(file=file, **fields)]


async def run_plain(wire: Wire, simulator: Simulator, **fields: Any) -> np.ndarray[Any, Any]:
    """The picture of the same request without what is ignored."""
    return (await wire.run(simulator, **fields)).picture


@pytest.mark.parametrize(
    ("reason", "ignored", "kept"),
    [
        ("LoRA 'gone.ckpt' is not there", {"loras": lora("gone.ckpt")}, {}),
        (
            "is for v1, the model is z_image",
            {"loras": lora("moxin_v1.0_lora_f16.ckpt")},
            {},
        ),
        ("control 'gone.ckpt' is not there", {"controls": control("gone.ckpt")}, {}),
        ("control None is not there", {"controls": control(None)}, {}),
        (f"control '{CANNY}' is for v1, not z_image", {"controls": control(CANNY)}, {}),
        (f"control '{CANNY}' has the weight 0", {"controls": control(CANNY, weight=0.0)}, {"model": SD}),
        (f"control '{CANNY}' (canny) has no input", {"controls": control(CANNY)}, {"model": SD}),
        ("upscaler 'gone.ckpt' is not there", {"upscaler": "gone.ckpt"}, {}),
        ("refiner 'gone.ckpt' is not there", {"refinerModel": "gone.ckpt"}, {}),
        ("sampler 99 is unknown", {"sampler": 99}, {"sampler": 0}),
        ("hires fix has no effect", {"hiresFix": True, "hiresFixStartWidth": 4, "hiresFixStartHeight": 4}, {}),
        ("a mask without an image is ignored", {"mask": encode_mask(np.full((128, 128), 2, np.uint8))}, {}),
        ("strength 0.5 without an image has no effect", {"strength": 0.5}, {}),
        ("hint type 'reference' is unknown", {"hints": [("reference", [b"x"])]}, {}),
        ("nothing reads hints of type 'canny'", {"hints": [("canny", [])]}, {}),
        ("is not among the contents", {"image": ANOTHER_HASH, "strength": 0.5}, {}),
        ("image cannot be decoded", {"image": b"short", "strength": 0.5}, {}),
        ("at strength 1 nothing of the image", {"image": encode_image(np.zeros((128, 128, 3), np.uint8))}, {}),
        (
            "a moodboard means nothing to z_image",
            {"hints": [("shuffle", [encode_image(np.zeros((64, 64, 3), np.uint8))])]},
            {},
        ),
    ],
)  # fmt: skip
async def test_what_is_missing_or_foreign_drops_out_and_the_run_goes_on(
    wire: Wire, simulator: Simulator, reason: str, ignored: dict[str, Any], kept: dict[str, Any]
) -> None:
    answer = await wire.run(simulator, **{**kept, **ignored})
    assert any(reason in noted for noted in simulator.degradations), simulator.degradations
    assert np.array_equal(answer.picture, await run_plain(wire, simulator, **kept))
    assert simulator.crashes == []


async def test_damaged_payloads_are_as_good_as_none(wire: Wire, simulator: Simulator) -> None:
    plain = await run_plain(wire, simulator)
    whole = encode_image(np.zeros((128, 128, 3), np.uint8))
    damaged = [
        whole[:5000],
        wire.header(1, 128, 128, 3, identifier=0x511) + whole[68:],
        wire.header(1, 128, 128, 3, identifier=0x217) + whole[68:],
        wire.header(1, 128, 128, 3, identifier=0xF7217) + b"fpy)\x87\x0e\xf1\x11" + bytes(100),
        wire.header(1, 128, 128, 3, datatype=0x10000) + bytes(100),
    ]
    for payload in damaged:
        answer = await wire.run(simulator, image=payload, strength=0.5)
        assert np.array_equal(answer.picture, plain)
    assert sum("image cannot be decoded" in noted for noted in simulator.degradations) == len(damaged)


async def test_a_missing_model_is_replaced_by_the_first_and_the_picture_says_so(
    wire: Wire, simulator: Simulator
) -> None:
    size = {"startWidth": 4, "startHeight": 4, "numFrames": 1}
    wanted = (await wire.run(simulator, **size, model=DEFAULT)).picture
    instead = (await wire.run(simulator, **size, model="z_image_turbo_q9p.ckpt")).picture
    assert DEFAULT in simulator.degradations[0]
    band = instead[:8].reshape(-1, 3).mean(axis=0)
    assert band[0] > 2 * band[1]  # the red band of a notice
    assert not np.array_equal(instead[:8], wanted[:8])
    assert np.array_equal(instead[128:], wanted[128:])


async def test_without_any_model_a_run_ends_well_and_empty(wire: Wire) -> None:
    async with Simulator(missing_files=[DEFAULT]) as simulator:
        answer = await wire.run(simulator, model="gone.ckpt")
    assert "not even the default model" in simulator.degradations[-1]
    assert_empty(answer.messages[len(answer.progress) :])
    assert answer.previews == {}


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("svd_i2v needs an image", {"model": "svd_i2v_xt_1.1_q6p_q8p.ckpt"}),
        ("1 steps with sampler 0", {"sampler": 0, "steps": 1}),
        ("0 steps", {"steps": 0}),
        ("shift 0", {"shift": 0.0}),
        ("infinite or NaN", {"guidanceScale": float("nan")}),
    ],
)
async def test_a_run_that_comes_to_nothing_ends_with_one_bare_message(
    wire: Wire, simulator: Simulator, reason: str, fields: dict[str, Any]
) -> None:
    answer = await wire.run(simulator, **fields)
    assert reason in simulator.degradations[-1]
    assert_empty(answer.messages[len(answer.progress) :])


def assert_empty(messages: list[pb.ImageGenerationResponse]) -> None:
    assert [message.SerializeToString() for message in messages] == [b"\x28\x01"]


async def test_a_mask_of_class_zero_only_repaints_the_whole_image(
    wire: Wire, simulator: Simulator, canvas: Pixels
) -> None:
    mask = np.zeros((128, 128), np.uint8)
    masked = await wire.run(simulator, image=canvas, mask=mask, strength=0.5)
    plain = await wire.run(simulator, image=canvas, strength=0.5)
    assert "the mask marks nothing: the whole image is repainted" in simulator.degradations
    assert masked.payloads == plain.payloads


async def test_an_override_lends_metadata_and_loses_incomplete_entries(wire: Wire, simulator: Simulator) -> None:
    spec = {"name": "Other", "file": "moxin_v1.0_lora_f16.ckpt", "prefix": "", "version": "z_image"}
    incomplete = {"file": "pixel_art_xl_v1.1_lora_f16.ckpt", "version": "z_image"}
    unknown = {**spec, "file": "papercut_sdxl_lora_f16.ckpt", "version": "flux9"}
    override = pb.MetadataOverride(loras=json.dumps([spec, incomplete, unknown]).encode(), models=b"no json")
    plain = await run_plain(wire, simulator)
    with_lora = await wire.run(simulator, override=override, loras=lora("moxin_v1.0_lora_f16.ckpt"))
    assert simulator.degradations == [
        "1 entries of the override's models lack required keys: dropped",
        "2 entries of the override's loras lack required keys: dropped",
    ]
    assert not np.array_equal(with_lora.picture, plain)


async def test_only_the_first_hint_of_a_type_counts(wire: Wire, simulator: Simulator) -> None:
    first, second = (encode_image(np.full((64, 64, 3), level, np.uint8)) for level in (40, 220))
    fields = {"model": "flux_2_klein_4b_q6p.ckpt", "startWidth": 4, "startHeight": 4}
    twice = await wire.run(simulator, **fields, hints=[("shuffle", [first]), ("shuffle", [second])])
    assert "a second hint of type 'shuffle' is ignored; put all tensors into one" in simulator.degradations
    once = await wire.run(simulator, **fields, hints=[("shuffle", [first])])
    assert twice.payloads == once.payloads


async def test_the_image_sets_the_size_when_the_run_begins_with_it(wire: Wire, simulator: Simulator) -> None:
    answer = await wire.run(simulator, image=np.zeros((192, 320, 3), np.uint8), strength=0.5)
    assert answer.picture.shape == (192, 320, 3)
    assert simulator.degradations == ["the image sets the size to 320x192, not 128x128"]
