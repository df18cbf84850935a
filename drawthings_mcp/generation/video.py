"""How fast the frames and the sound of a video run are to be played: the wire does not say (protocol §3.6)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

FRAME_RATES: Mapping[str, int] = MappingProxyType(
    {
        "hunyuan_video": 30,
        "longcat_video_avatar_v1.5": 25,
        "wan_v2.1_1.3b": 16,
        "wan_v2.1_14b": 16,
        "wan_v2.2_5b": 24,
        "ltx2": 25,
        "ltx2.3": 25,
        "minimax_h3": 24,
    }
)
"""Frames per second by the version of the model."""

OTHER_FRAME_RATE = 30
"""Frames per second of all other versions."""

AUDIO_RATES: Mapping[str, int] = MappingProxyType({"ltx2": 24_000, "ltx2.3": 48_000, "minimax_h3": 32_000})
"""Samples per second by the version of the model; no other makes sound."""

_NO_SPECIFICATION: Mapping[str, Any] = MappingProxyType({})


_FOLLOWS_CONFIGURATION = "svd_i2v"
"""The version whose configuration says for which frame rate to draw (formats §6.4)."""


def frame_rate(
    version: str, specification: Mapping[str, Any] = _NO_SPECIFICATION, configured: int | None = None
) -> float:
    """Frames per second of a model's videos.

    Parameters
    ----------
    version
        Of the model, such as ``wan_v2.2_5b``.
    specification
        The model's own, as the server lists it; its ``frames_per_second`` counts when it is a positive number.
    configured
        ``fps`` of the configuration, which only one version reads.
    """
    if version == _FOLLOWS_CONFIGURATION and configured:
        return float(configured)
    stated = specification.get("frames_per_second")
    if isinstance(stated, int | float) and not isinstance(stated, bool) and 0 < stated < math.inf:
        return float(stated)
    return float(FRAME_RATES.get(version, OTHER_FRAME_RATE))


def find_audio_rate(version: str) -> int | None:
    """Samples per second of the sound that comes with a model's videos; None when none comes."""
    return AUDIO_RATES.get(version)
