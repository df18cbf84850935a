"""What a model can be used for, from its version and modifier (formats §6.4, §6.5)."""

from __future__ import annotations

from typing import Literal

from drawthings_mcp.catalog import Model
from drawthings_mcp.errors import InvalidInputError

Mode = Literal["text2image", "image2image", "edit", "inpaint"]

_REFERENCES_OPTIONAL = frozenset({"flux2", "flux2_9b", "flux2_4b"})
"""Versions whose models edit when they are given pictures and make pictures from text alone as well."""

_EDIT_MODIFIERS = frozenset({"kontext", "kontext_kv", "qwenimage_edit_plus", "qwenimage_edit_2511", "editing"})

_VIDEO_VERSIONS = frozenset(
    {
        "svd_i2v",
        "hunyuan_video",
        "wan_v2.1_1.3b",
        "wan_v2.1_14b",
        "wan_v2.2_5b",
        "ltx2",
        "ltx2.3",
        "longcat_video_avatar_v1.5",
    }
)

_RESTORATION_VERSIONS = frozenset({"seedvr2_3b", "seedvr2_7b"})


def list_modes(model: Model) -> frozenset[Mode]:
    """The modes that a model serves; empty for models that make no single pictures."""
    if makes_video(model) or model.version in _RESTORATION_VERSIONS:
        return frozenset()
    if model.version in _REFERENCES_OPTIONAL:
        return frozenset({"text2image", "image2image", "edit", "inpaint"})
    if model.modifier in _EDIT_MODIFIERS:
        return frozenset({"edit", "inpaint"})
    if model.modifier == "inpainting":
        return frozenset({"inpaint"})
    if model.modifier in {"", "none"}:
        return frozenset({"text2image", "image2image", "inpaint"})
    return frozenset({"image2image"})


def check_mode(model: Model, mode: str, *, has_picture: bool) -> None:
    """Refuses a mode that a model does not serve, or that lacks its picture.

    Raises
    ------
    InvalidInputError
        Says what the model does.
    """
    if mode not in list_modes(model):
        raise InvalidInputError(
            f"{model.file} does not do {mode} (it does: {describe_abilities(model)}). "
            "Leave model out to have one chosen, or pick another with list_models."
        )
    if mode != "text2image" and not has_picture:
        raise InvalidInputError(f"{mode} needs a picture: give a canvas.")


def makes_video(model: Model) -> bool:
    """Whether a run returns frames."""
    return model.version in _VIDEO_VERSIONS


def describe_abilities(model: Model) -> str:
    """In a few words, for a listing."""
    if makes_video(model):
        return "video"
    return ", ".join(sorted(list_modes(model))) or "restores pictures"
