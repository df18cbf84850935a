"""How fast videos and their sound are played."""

from __future__ import annotations

from typing import Any

import pytest

from drawthings_mcp.generation import find_audio_rate, frame_rate


@pytest.mark.parametrize(
    ("version", "rate"),
    [
        ("hunyuan_video", 30),
        ("longcat_video_avatar_v1.5", 25),
        ("wan_v2.1_1.3b", 16),
        ("wan_v2.1_14b", 16),
        ("wan_v2.2_5b", 24),
        ("ltx2", 25),
        ("ltx2.3", 25),
        ("svd_i2v", 30),
        ("never_heard_of", 30),
    ],
)
def test_every_version_has_a_frame_rate(version: str, rate: int) -> None:
    assert frame_rate(version) == rate
    assert frame_rate(version, {"name": "a model"}) == rate


def test_what_the_model_states_counts_first() -> None:
    assert frame_rate("wan_v2.1_14b", {"frames_per_second": 24}) == 24
    assert frame_rate("wan_v2.1_14b", {"frames_per_second": 29.97}) == 29.97


@pytest.mark.parametrize("stated", [0, -5, True, None, "24", float("nan"), float("inf")])
def test_a_rate_that_is_none_does_not_count(stated: Any) -> None:
    assert frame_rate("ltx2", {"frames_per_second": stated}) == 25


def test_only_some_versions_make_sound() -> None:
    assert find_audio_rate("ltx2") == 24_000
    assert find_audio_rate("ltx2.3") == 48_000
    assert find_audio_rate("minimax_h3") == 32_000
    assert find_audio_rate("wan_v2.2_5b") is None


def test_the_version_with_a_configured_rate_plays_at_it() -> None:
    assert frame_rate("svd_i2v", {}, 8) == 8
    assert frame_rate("wan_v2.1_14b", {}, 8) == 16
