"""What models do with pictures, by version and modifier (protocol §2.8, §5.4, §5.5; formats §6.4, §6.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from drawthings_mcp.catalog import Model
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Phrase, Step, Text
from drawthings_mcp.params import GenerationMode
from drawthings_mcp.planning.known import load_known
from drawthings_mcp.presets.mode_table import CUSTOM, list_families

if TYPE_CHECKING:
    from drawthings_mcp.tensors.pixels import Pixels

REFERENCE_MODIFIERS = frozenset({"kontext", "kontext_kv", "qwenimage_edit_plus", "qwenimage_edit_2511"})
REFERENCE_VERSIONS = frozenset({"flux1", "qwen_image", "qwen_image_2.1", "flux2", "flux2_9b", "flux2_4b"})
"""Under a reference modifier these read the canvas and all moodboard pictures; others read nothing, or one frame."""

_OPTIONAL_REFERENCE_VERSIONS = frozenset({"qwen_image_2.1", "flux2", "flux2_9b", "flux2_4b"})
"""Versions whose models edit when they are given pictures, and make pictures from text alone as well."""

FIRST_AND_LAST = "fl2va"
"""Modifier of models that make a video from its first frame, the canvas, to its last, the moodboard (protocol §2.8)."""
FROM_REFERENCES = "ref2va"
"""Modifier of models that make a video with what the moodboard shows (protocol §2.8)."""

MOST_REFERENCES: Mapping[str, int] = {FIRST_AND_LAST: 1, FROM_REFERENCES: 4}
"""Moodboard pictures that a model with this modifier takes."""

RESTORATION_VERSIONS = frozenset({"seedvr2_3b", "seedvr2_7b"})
STARTING_VERSIONS = frozenset({"svd_i2v", *RESTORATION_VERSIONS})
"""Versions that start from the canvas at any strength (protocol §6.2)."""

CASCADE = "wurstchen_v3.0_stage_c"
LAYERED = "qwenimage_layered"
"""Modifier of models that take a picture apart; the batch size is the number of layers."""

_CONDITION_MODIFIERS = frozenset(
    {"editing", "inpainting", "double", "depth", "canny", "kontext", LAYERED, FIRST_AND_LAST, FROM_REFERENCES}
)
"""Modifiers under which the canvas is a condition, whatever the strength."""

_OPAQUE = 255

MODEL_HINTS: Mapping[str, str] = {"depth": "depth", "canny": "custom"}
"""Hint that a model with this modifier reads without any control (protocol §5.2)."""


def is_new(version: str) -> bool:
    """Whether a server names a version of which nothing is known here: its specification is all there is to go by."""
    return bool(version) and version not in load_known().versions


def reads_references(version: str, modifier: str) -> bool:
    """Whether canvas and moodboard are given to the model as pictures to work from (protocol §2.8, §5.4)."""
    if modifier in MOST_REFERENCES:
        return True
    return modifier in REFERENCE_MODIFIERS and (version in REFERENCE_VERSIONS or is_new(version))


def needs_references(version: str, modifier: str) -> bool:
    """Whether the model does nothing but edit."""
    has_choice = version in _OPTIONAL_REFERENCE_VERSIONS or modifier in MOST_REFERENCES or is_new(version)
    return reads_references(version, modifier) and not has_choice


def reads_canvas(version: str, modifier: str) -> bool:
    """Whether the canvas counts at strength 1 without a mask and without controls (protocol §5.4, §5.5)."""
    return version in STARTING_VERSIONS or modifier in _CONDITION_MODIFIERS or reads_references(version, modifier)


def list_modes(model: Model) -> frozenset[GenerationMode]:
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
    if is_new(model.version) and model.modifier not in _CONDITION_MODIFIERS:
        return frozenset({"text2image", "image2image", "edit", "inpaint"})
    return frozenset({"image2image"})


def check_mode(model: Model, mode: str, preset: str = "") -> None:
    """Refuses a mode that a model does not serve; ``preset`` is the one that names the model, empty when none does."""
    if mode not in list_modes(model):
        text = "{file} does not do {mode} (it does: {abilities})."
        if makes_video(model):
            text += " Films are made from Python, by generate_video."
        done = Text(
            text,
            file=model.file,
            mode=mode,
            abilities=Phrase(describe_abilities(model)),
        )
        if preset:
            text = "The preset {preset!r} is not for {mode}: {done} Name another, or another mode."
            raise InvalidInputError(Text(text, preset=preset, mode=mode, done=done))
        raise InvalidInputError(
            Text(
                "{done} Leave {model} out to have one chosen, or {list} and name another.",
                done=done,
                list=Step("list_models"),
            )
        )


def check_picture(mode: str, *, has_picture: bool) -> None:
    """Refuses a mode that lacks its picture."""
    if mode != "text2image" and not has_picture:
        raise InvalidInputError(Text("{mode} needs a picture: give {canvas}.", mode=mode))


def check_text_only(mode: str, *, has_picture: bool, has_controls: bool) -> None:
    """Refuses pictures where nothing would look at them; controls may."""
    if mode == "text2image" and has_picture and not has_controls:
        raise InvalidInputError(
            Text(
                "text2image looks at no picture: use mode image2image to start from it, edit to change it, inpaint to "
                "repaint what a mask marks; or leave {canvas}, {moodboard} and {mask} out."
            )
        )


def check_mask(mode: str, canvas: Pixels | None, *, has_mask: bool) -> None:
    """Refuses to repaint when nothing says what: neither a mask nor clear parts of the canvas, ``(H, W, 3 or 4)``."""
    is_clear_somewhere = canvas is not None and canvas.shape[2] == 4 and bool((canvas[..., 3] < _OPAQUE).any())
    if mode == "inpaint" and not has_mask and not is_clear_somewhere:
        raise InvalidInputError(
            Text(
                "inpaint needs a {mask}: a picture of the canvas's size, white where it is to be repainted. To change "
                "the picture without one use mode edit."
            )
        )


def check_references(model: Model, count: int, *, has_controls: bool) -> None:
    """Refuses moodboard pictures that nothing would look at; controls may."""
    if count and not has_controls and not reads_references(model.version, model.modifier):
        families = [name for name in list_families("edit") if name not in {"auto", CUSTOM}]
        raise InvalidInputError(
            Text(
                "{file} looks at the canvas only. For several pictures use model {families}, in mode edit.",
                file=model.file,
                families=Phrase(" or ".join(families)),
            ),
            parameter="moodboard",
        )


def makes_video(model: Model) -> bool:
    """Whether a run returns frames; a model of a version that is new says so by its frames per second."""
    facts = load_known().versions.get(model.version)
    return facts.makes_video if facts is not None else bool(model.specification.get("frames_per_second"))


def describe_new_version(model: Model) -> Text | None:
    """That a model's version is new here, and what that means; None when it is not."""
    if not is_new(model.version):
        return None
    return Text(
        "{file} is of the version {version}, which is new to this program: what the server says of it is trusted, and "
        "little can be checked.",
        file=model.file,
        version=model.version,
    )


def describe_abilities(model: Model) -> str:
    """In a few words, for a listing."""
    if makes_video(model):
        return "video"
    return ", ".join(sorted(list_modes(model))) or "restores pictures"
