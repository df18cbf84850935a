"""Facts about model versions, from ``versions.json`` (protocol §2.5, §3.6, §7.4, §8.4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

UNKNOWN_FILE_VERSION = "v1"
"""What a file without a specification is taken for."""

_REFERENCE_MODIFIERS = frozenset({"kontext", "kontext_kv", "qwenimage_edit_plus", "qwenimage_edit_2511"})
_REFERENCE_VERSIONS = frozenset({"flux1", "qwen_image", "flux2", "flux2_9b", "flux2_4b"})
_FIRST_FRAME_MODIFIERS = frozenset({"inpainting", "kontext"})


@dataclass(frozen=True)
class VersionFacts:
    """What the wire shows of a model version.

    Attributes
    ----------
    name
        The version string.
    channels, cell
        Channels of a latent, and pixels per side of one of its cells.
    latent_map
        Name of the linear map from latents to colours, or None where there is none.
    is_flow
        Trained on rectified flow, so that ``shift`` bends its schedule.
    auto_shift
        ``resolution_dependent_shift`` applies.
    video
        How frames are counted: ``wan``, ``ltx``, ``svd``, or None for pictures.
    audio_hz
        Sample rate of the sound, 0 for none.
    fps
        Frames per second of a video whose model does not say.
    """

    name: str
    channels: int
    cell: int
    latent_map: str | None
    is_flow: bool
    auto_shift: bool
    video: str | None
    audio_hz: int
    fps: int

    def count_frames(self, wanted: int) -> int:
        """How many frames are returned for ``num_frames`` (protocol §3.6)."""
        group = _FRAME_GROUPS[self.video]
        return max(1, wanted) if group == 1 else group * ((max(1, wanted) - 1) // group) + 1

    def count_latent_frames(self, frames: int) -> int:
        """How many frames a latent of ``frames`` frames has."""
        return (frames - 1) // _FRAME_GROUPS[self.video] + 1


_FRAME_GROUPS: Mapping[str | None, int] = {"wan": 4, "ltx": 8, "svd": 1, None: 1}


@cache
def _load() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(resources.files(__package__).joinpath("versions.json").read_text("utf-8"))
    return loaded


@cache
def find_version(name: str) -> VersionFacts | None:
    """The facts of a version, or None when it is unknown."""
    entry = _load()["versions"].get(name)
    if entry is None:
        return None
    return VersionFacts(
        name=name,
        channels=entry["channels"],
        cell=entry["cell"],
        latent_map=entry["map"],
        is_flow=entry["is_flow"],
        auto_shift=entry["auto_shift"],
        video=entry.get("video"),
        audio_hz=entry.get("audio_hz", 0),
        fps=entry.get("fps", 30),
    )


def fits_modifier(version: str, modifier: str) -> bool:
    """Whether a model of this version can have this modifier; the others abort the server's process."""
    versions: list[str] | None = _load()["modifier_versions"].get(modifier)
    return versions is None or version in versions


def reads_references(version: str, modifier: str) -> bool:
    """Whether canvas and moodboard are given to the model as pictures (protocol §5.4)."""
    return modifier in _REFERENCE_MODIFIERS and version in _REFERENCE_VERSIONS


def starts_from_canvas(version: VersionFacts, modifier: str) -> bool:
    """Whether a video begins with the canvas, whatever the strength (protocol §5.5)."""
    return version.video == "svd" or modifier in _FIRST_FRAME_MODIFIERS
