"""What a model can be used for, from its version and modifier (formats §6.4, §6.5)."""

from __future__ import annotations

from typing import Literal

from drawthings_mcp.catalog import Model
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.requests import load_known
from drawthings_mcp.requests.abilities import RESTORATION_VERSIONS, needs_references, reads_references

Mode = Literal["text2image", "image2image", "edit", "inpaint"]


def list_modes(model: Model) -> frozenset[Mode]:
    """The modes that a model serves; empty for models that make no single pictures."""
    if makes_video(model) or model.version in RESTORATION_VERSIONS:
        return frozenset()
    if needs_references(model.version, model.modifier) or model.modifier == "editing":
        return frozenset({"edit", "inpaint"})
    if reads_references(model.version, model.modifier):
        return frozenset({"text2image", "image2image", "edit", "inpaint"})
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
    facts = load_known().versions.get(model.version)
    return facts is not None and facts.makes_video


def describe_abilities(model: Model) -> str:
    """In a few words, for a listing."""
    if makes_video(model):
        return "video"
    return ", ".join(sorted(list_modes(model))) or "restores pictures"
