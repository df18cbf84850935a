"""What a model can be used for, from its version and modifier (formats §6.4, §6.5)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.catalog import Model
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.limits import MAX_MOODBOARD
from drawthings_mcp.planning import load_known
from drawthings_mcp.planning.abilities import RESTORATION_VERSIONS, needs_references, reads_references
from drawthings_mcp.presets.mode_table import CUSTOM, list_families

Mode = Literal["text2image", "image2image", "edit", "inpaint"]

_OPAQUE = 255


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


def check_mode(model: Model, mode: str, preset: str = "") -> None:
    """Refuses a mode that a model does not serve.

    Parameters
    ----------
    preset
        Name of the preset that names the model; empty when the call does, or nobody.

    Raises
    ------
    InvalidInputError
        Says what the model does.
    """
    if mode not in list_modes(model):
        done = f"{model.file} does not do {mode} (it does: {describe_abilities(model)})."
        if preset:
            raise InvalidInputError(f"The preset {preset!r} is not for {mode}: {done} Name another, or another mode.")
        raise InvalidInputError(f"{done} Leave model out to have one chosen, or pick another with list_models.")


def check_picture(mode: str, *, has_picture: bool) -> None:
    """Refuses a mode that lacks its picture.

    Raises
    ------
    InvalidInputError
        Says how to give one.
    """
    if mode != "text2image" and not has_picture:
        raise InvalidInputError(f"{mode} needs a picture: give a canvas.")


def check_text_only(mode: str, *, has_picture: bool, has_controls: bool) -> None:
    """Refuses pictures where nothing would look at them.

    Parameters
    ----------
    has_controls
        Whether there are controls, which may look at them.

    Raises
    ------
    InvalidInputError
        Says which modes do.
    """
    if mode == "text2image" and has_picture and not has_controls:
        raise InvalidInputError(
            "text2image looks at no picture: use mode image2image to start from it, edit to change it, inpaint to "
            "repaint what a mask marks; or leave canvas, moodboard and mask out."
        )


def check_mask(mode: str, canvas: NDArray[np.uint8] | None, *, has_mask: bool) -> None:
    """Refuses to repaint when nothing says what: neither a mask nor clear parts of the canvas.

    Parameters
    ----------
    canvas
        ``(H, W, 3 or 4)`` uint8.

    Raises
    ------
    InvalidInputError
        Says how to mark it.
    """
    is_clear_somewhere = canvas is not None and canvas.shape[2] == 4 and bool((canvas[..., 3] < _OPAQUE).any())
    if mode == "inpaint" and not has_mask and not is_clear_somewhere:
        raise InvalidInputError(
            "inpaint needs a mask: a picture of the canvas's size, white where it is to be repainted. To change the "
            "picture without one use mode edit."
        )


def check_references(model: Model, count: int, *, has_controls: bool) -> None:
    """Refuses moodboard pictures that nothing would look at, and more than make sense.

    Parameters
    ----------
    count
        Pictures on the moodboard.
    has_controls
        Whether there are controls, which may look at them too.

    Raises
    ------
    InvalidInputError
        Says which families look at several pictures.
    """
    if count > MAX_MOODBOARD:
        raise InvalidInputError(
            f"moodboard: takes at most {MAX_MOODBOARD} pictures, got {count}. Keep those that matter most."
        )
    if count and not has_controls and not reads_references(model.version, model.modifier):
        families = [name for name in list_families("edit") if name not in {"auto", CUSTOM}]
        raise InvalidInputError(
            f"moodboard: {model.file} looks at the canvas only. For several pictures use model "
            f"{' or '.join(families)}, in mode edit."
        )


def makes_video(model: Model) -> bool:
    """Whether a run returns frames."""
    facts = load_known().versions.get(model.version)
    return facts is not None and facts.makes_video


def describe_abilities(model: Model) -> str:
    """In a few words, for a listing."""
    if makes_video(model):
        return "video"
    return ", ".join(sorted(list_modes(model))) or "restores pictures"
