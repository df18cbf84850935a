"""Latents as pictures: recorded colours for every family, and what happens at the edges."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidInputError, TensorError
from drawthings_mcp.tensors.header import Codec
from drawthings_mcp.tensors.latent import encode_latent, preview_pixels
from drawthings_mcp.tensors.tensor import encode_tensor

GOLDEN = Path(__file__).parents[1] / "golden" / "tensors" / "latent_previews.json"


@dataclass(frozen=True)
class Recorded:
    """Latent cells of a version and their colours."""

    version: str
    latent: NDArray[np.float16]
    rgb: NDArray[np.uint8]


def list_recorded() -> list[Recorded]:
    return [
        Recorded(
            version,
            np.frombuffer(bytes.fromhex(group["latent"]), "<f2").reshape(2, 3, 4, group["channels"]),
            np.frombuffer(bytes.fromhex(group["rgb"]), np.uint8).reshape(2, 3, 4, 3),
        )
        for group in json.loads(GOLDEN.read_text())
        for version in group["versions"]
    ]


RECORDED = list_recorded()
BY_VERSION = {recorded.version: recorded for recorded in RECORDED}


def preview(latent: Any, version: str = "") -> NDArray[np.uint8]:
    pixels = preview_pixels(latent, version)
    assert pixels is not None
    return pixels


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.version)
def test_every_version_has_the_colours_that_were_recorded(recorded: Recorded) -> None:
    pixels = preview(recorded.latent, recorded.version)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, recorded.rgb)


def test_all_versions_with_a_linear_map_are_recorded() -> None:
    assert sorted(BY_VERSION) == sorted(
        [
            "v1",
            "v2",
            "svd_i2v",
            "kandinsky2.1",
            "sdxl_base_v0.9",
            "sdxl_refiner_v0.9",
            "ssd_1b",
            "pixart",
            "auraflow",
            "wurstchen_v3.0_stage_b",
            "sd3",
            "sd3_large",
            "flux1",
            "hunyuan_video",
            "wan_v2.1_1.3b",
            "wan_v2.1_14b",
            "hidream_i1",
            "qwen_image",
            "cosmos2.5_2b",
            "z_image",
            "seedvr2_3b",
            "seedvr2_7b",
            "krea_2",
            "longcat_video_avatar_v1.5",
            "ernie_image",
            "flux2",
            "flux2_9b",
            "flux2_4b",
            "ideogram_4",
            "wan_v2.2_5b",
        ]
    )


@pytest.mark.parametrize("codec", Codec)
def test_a_payload_gives_what_its_array_gives(codec: Codec) -> None:
    recorded = BY_VERSION["z_image"]
    payload = encode_latent(recorded.latent, codec=codec)
    np.testing.assert_array_equal(preview(payload, "z_image"), recorded.rgb)
    np.testing.assert_array_equal(preview(memoryview(payload), "z_image"), recorded.rgb)


def test_a_float32_latent_of_an_intel_mac_gives_the_same_colours() -> None:
    recorded = BY_VERSION["qwen_image"]
    np.testing.assert_array_equal(preview(recorded.latent.astype(np.float32), "qwen_image"), recorded.rgb)


def test_pixel_patches_become_pixels() -> None:
    latent = np.random.default_rng(1).uniform(-1.2, 1.2, (2, 3, 2, 3072)).astype(np.float16)
    pixels = preview(latent, "hidream_o1")
    assert pixels.shape == (2, 96, 64, 3)
    for image, y, x, channel in [(0, 0, 0, 0), (0, 31, 33, 1), (1, 95, 63, 2), (1, 40, 7, 0)]:
        value = latent[image, y // 32, x // 32, channel * 1024 + y % 32 * 32 + x % 32]
        assert pixels[image, y, x, channel] == min(max(int((float(value) + 1) * 127.5), 0), 255)


def test_both_stages_of_a_cascade_are_shown() -> None:
    shares = np.array([0.0, 0.25, 1.0, -0.5, 1.5, 0.999], np.float16).reshape(1, 1, 2, 3)
    first = preview(shares, "wurstchen_v3.0_stage_c")
    assert first.reshape(-1).tolist() == [0, 63, 255, 0, 255, 254]
    second = BY_VERSION["wurstchen_v3.0_stage_b"]
    np.testing.assert_array_equal(preview(second.latent, "wurstchen_v3.0_stage_c"), second.rgb)


def test_levels_are_truncated_and_clamped() -> None:
    latent = np.zeros((1, 1, 3, 4), np.float16)
    latent[0, :, 1, 0], latent[0, :, 2, 0] = 100, -100
    assert preview(latent, "v1").reshape(-1, 3).tolist() == [[99, 99, 99], [255, 255, 255], [0, 0, 0]]


@pytest.mark.parametrize("version", ["v1", "kandinsky2.1", "z_image", "flux2", "wurstchen_v3.0_stage_c"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_black_and_stays_where_it_is(version: str, value: float) -> None:
    channels = {"v1": 4, "kandinsky2.1": 4, "z_image": 16, "flux2": 32, "wurstchen_v3.0_stage_c": 3}[version]
    latent = np.full((1, 2, 2, channels), 0.5, np.float16)
    clean = preview(latent, version)
    latent[0, 1, 0] = value
    pixels = preview(latent, version)
    assert pixels[0, 1, 0].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(pixels[0, :, 1], clean[0, :, 1])
    assert clean[0, 1, 0].any()


def test_values_that_overflow_on_the_way_are_black() -> None:
    huge = np.full((1, 1, 1, 4), 3e38, np.float32) * np.array([1, 1, 0, -1], np.float32)
    assert preview(huge, "v1").tolist() == [[[[0, 0, 0]]]]


@pytest.mark.parametrize("version", ["flux2", "wan_v2.2_5b"])
def test_channels_alone_decide_where_they_can(version: str) -> None:
    recorded = BY_VERSION[version]
    np.testing.assert_array_equal(preview(recorded.latent), recorded.rgb)


@pytest.mark.parametrize(
    ("version", "channels"),
    [
        ("", 4),
        ("", 16),
        ("", 5),
        ("", 128),
        ("ltx2", 128),
        ("ltx2.3", 128),
        ("ltx2", 16),
        ("never_heard_of", 32),
        ("z_image", 4),
    ],
)
def test_nothing_is_shown_where_no_map_is_known(version: str, channels: int) -> None:
    latent = np.zeros((1, 2, 2, channels), np.float16)
    assert preview_pixels(latent, version) is None
    assert preview_pixels(encode_latent(latent), version) is None


def test_a_payload_that_cannot_be_shown_is_not_decoded() -> None:
    damaged = encode_latent(np.zeros((1, 8, 8, 128), np.float16))[:70]
    assert preview_pixels(damaged, "ltx2") is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        encode_latent(np.zeros((1, 8, 8, 16), np.float16))[:-1],
        encode_tensor(np.zeros((8, 8, 16), np.float16)),
        encode_tensor(np.zeros((1, 8, 8, 16), np.uint8)),
    ],
)
def test_a_payload_that_is_no_latent_is_refused(payload: bytes) -> None:
    with pytest.raises(TensorError):
        preview_pixels(payload, "z_image")


@pytest.mark.parametrize("latent", [np.zeros((4, 4, 16), np.float16), np.zeros((1, 4, 4, 16), np.uint8)])
def test_an_array_that_is_no_latent_is_refused(latent: Any) -> None:
    with pytest.raises(InvalidInputError, match="A latent is"):
        preview_pixels(latent, "z_image")
