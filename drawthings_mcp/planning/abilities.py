"""What models do with pictures, by version and modifier (protocol §5.4, §5.5; formats §6.5). Tables only."""

from __future__ import annotations

from collections.abc import Mapping

REFERENCE_MODIFIERS = frozenset({"kontext", "kontext_kv", "qwenimage_edit_plus", "qwenimage_edit_2511"})
REFERENCE_VERSIONS = frozenset({"flux1", "qwen_image", "flux2", "flux2_9b", "flux2_4b"})
"""Under a reference modifier these read the canvas and all moodboard pictures; others read nothing, or one frame."""

_OPTIONAL_REFERENCE_VERSIONS = frozenset({"flux2", "flux2_9b", "flux2_4b"})
"""Versions whose models edit when they are given pictures, and make pictures from text alone as well."""

RESTORATION_VERSIONS = frozenset({"seedvr2_3b", "seedvr2_7b"})
STARTING_VERSIONS = frozenset({"svd_i2v", *RESTORATION_VERSIONS})
"""Versions that start from the canvas at any strength (protocol §6.2)."""

CASCADE = "wurstchen_v3.0_stage_c"
LAYERED = "qwenimage_layered"
"""Modifier of models that take a picture apart; the batch size is the number of layers."""

_CONDITION_MODIFIERS = frozenset({"editing", "inpainting", "double", "depth", "canny", "kontext", LAYERED})
"""Modifiers under which the canvas is a condition, whatever the strength."""

MODEL_HINTS: Mapping[str, str] = {"depth": "depth", "canny": "custom"}
"""Hint that a model with this modifier reads without any control (protocol §5.2)."""


def reads_references(version: str, modifier: str) -> bool:
    """Whether canvas and moodboard are given to the model as pictures to work from (protocol §5.4)."""
    return modifier in REFERENCE_MODIFIERS and version in REFERENCE_VERSIONS


def needs_references(version: str, modifier: str) -> bool:
    """Whether the model does nothing but edit."""
    return reads_references(version, modifier) and version not in _OPTIONAL_REFERENCE_VERSIONS


def reads_canvas(version: str, modifier: str) -> bool:
    """Whether the canvas counts at strength 1 without a mask and without controls (protocol §5.4, §5.5)."""
    return (
        version in STARTING_VERSIONS or modifier in _CONDITION_MODIFIERS or reads_references(version, modifier)
    )  # fmt: skip
