"""Rules about the canvas, its mask and the moodboard: is what the model needs there, does anything look at it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from drawthings_mcp.faces import Phrase, Text
from drawthings_mcp.generation import ColorCalibration, Hint, HintType
from drawthings_mcp.planning.abilities import (
    FROM_REFERENCES,
    LAYERED,
    MOST_REFERENCES,
    REFERENCE_VERSIONS,
    RESTORATION_VERSIONS,
    needs_references,
    reads_canvas,
    reads_references,
)
from drawthings_mcp.planning.context import IMAGE, Context, Source
from drawthings_mcp.planning.rules import Rule, refuse, warn
from drawthings_mcp.tensors.mask import GENERATE, REPAINT

_CLASS_BITS = 0x07
"""The part of a mask's byte that is its class (protocol §4.2)."""
_REPAINT_CLASSES = (REPAINT, 4)
_UNPROVEN_MASK_VERSIONS = frozenset({"hidream_o1"})
"""Besides videos, versions whose cells do not have the size that masks are reduced by (protocol §4.4)."""
_SHOWN = 3
_RGBA = 4
_REFERENCE_NAME = re.compile(r"<Picture (\d+)>", re.IGNORECASE)
"""How a prompt speaks of a reference (protocol §2.8)."""


_NEEDS: Mapping[str, tuple[frozenset[Source], str]] = {
    "editing": (frozenset({IMAGE}), "edits pictures: give {canvas}"),
    LAYERED: (frozenset({IMAGE}), "takes a picture apart: give {canvas}"),
    "double": (frozenset({IMAGE}), "works from a picture: give {canvas}"),
    "depth": (frozenset({IMAGE, HintType.Depth}), "works from depth: give {canvas} or a depth map"),
    "canny": (frozenset({IMAGE, HintType.Custom}), "works from edges: give {canvas} or a canny map"),
    "inpainting": (frozenset({IMAGE}), "repaints pictures: give {canvas} and {mask}"),
}
"""What models with a modifier need: sources of which one must be there, and how to say that."""


def lacks_picture(context: Context) -> str | None:
    """The model makes nothing, or anything, without the pictures that it was trained to work from."""
    if context.facts is None:
        return None
    sources, need = _find_need(context)
    if not need or context.sources & sources:
        return None
    return Text("{file} " + need + ".", file=context.configuration.model)


def _find_need(context: Context) -> tuple[frozenset[Source], str]:
    """Sources of which one must be there, and what to say when none is; empty when none need be there."""
    if needs_references(context.version, context.modifier):
        return frozenset({IMAGE, HintType.Shuffle}), "edits pictures: give {canvas} or {moodboard}"
    if context.version == "svd_i2v" or context.version in RESTORATION_VERSIONS:
        return frozenset({IMAGE}), "works from a picture: give {canvas}"
    if context.makes_video and context.modifier in _NEEDS:
        return frozenset({IMAGE}), "begins with a picture: give {canvas}, the first frame"
    return _NEEDS.get(context.modifier, (frozenset(), ""))


def lacks_mask(context: Context) -> str | None:
    """An inpainting model gets the picture with the marked part cut out; without a mask nothing is."""
    is_unmarked = context.request.canvas is not None and context.request.mask is None
    restores = context.version in RESTORATION_VERSIONS
    if context.modifier != "inpainting" or context.makes_video or restores or not is_unmarked:
        return None
    return Text(
        "{file} repaints what a mask marks, and there is none. Give {mask}; an all-white one repaints everything.",
        file=context.configuration.model,
    )


def has_idle_moodboard(context: Context) -> str | None:
    """Moodboard pictures that neither the model nor a control looks at are dropped silently."""
    if HintType.Shuffle not in context.sources or HintType.Shuffle in context.sources_in_use:
        return None
    if context.facts is None or context.has_unknown_control:
        return None
    if context.has_unknown_reader and context.version in REFERENCE_VERSIONS:
        return None
    return Text(
        "{file} does not look at further pictures. Take a model that edits, such as FLUX.1 Kontext, FLUX.2 or Qwen "
        "Image Edit{editors}, or add a control that looks at pictures, such as IP-Adapter, Redux, PuLID or "
        "VACE{readers}.",
        file=context.configuration.model,
        editors=_list_examples(
            [model.file for model in context.inventory.models if reads_references(model.version, model.modifier)]
        ),
        readers=_list_examples(
            [control.file for control in context.list_fitting_controls() if control.modifier == "shuffle"]
        ),
    )


def _list_examples(files: list[str]) -> Text:
    return Text(" (on the server: {files})", files=tuple(files[:_SHOWN])) if files else Text("")


def has_alpha_reference(context: Context) -> str | None:
    """A fourth channel takes a server down where the model does not look at alpha."""
    shapes = [item.tensor.shape for hint in _list_shuffles(context) for item in hint.tensors]
    if context.facts is None or context.makes_alpha or all(shape[2] != _RGBA for shape in shapes):
        return None
    return Text("{file} takes references without alpha. Give them three channels.", file=context.configuration.model)


def has_surplus_references(context: Context) -> str | None:
    """Models that make videos from references take only so many."""
    most = MOST_REFERENCES.get(context.modifier)
    count = sum(len(hint.tensors) for hint in _list_shuffles(context))
    if most is None or count <= most:
        return None
    what = "one picture, the last frame" if most == 1 else f"{most} pictures, the canvas included"
    text = "{file} takes {what}; {count} were given. Leave out the rest."
    return Text(text, file=context.configuration.model, what=Phrase(what), count=count)


def misnames_references(context: Context) -> str | None:
    """A prompt for a video from references calls each by its number."""
    count = sum(len(hint.tensors) for hint in _list_shuffles(context))
    if context.modifier != FROM_REFERENCES or not count:
        return None
    named = {int(number) for number in _REFERENCE_NAME.findall(context.request.prompt)}
    beyond = sorted(number for number in named if not 1 <= number <= count)
    if beyond:
        return f"The prompt names <Picture {beyond[0]}>, but there are {count}. Give it, or change the prompt."
    if named:
        return None
    return (
        f"{context.configuration.model} follows a prompt best that names its references: <Picture 1>"
        f"{f' to <Picture {count}>' if count > 1 else ''}."
    )


def _list_shuffles(context: Context) -> list[Hint]:
    return [hint for hint in context.request.hints if hint.type is HintType.Shuffle]


def shows_too_many_pictures(context: Context) -> str | None:
    """The first Qwen Image Edit shows its text encoder one picture only."""
    if (context.version, context.modifier) != ("qwen_image", "kontext"):
        return None
    shuffles = sum(len(hint.tensors) for hint in _list_shuffles(context))
    if shuffles + (context.request.canvas is not None) < 2:
        return None
    return (
        "The first Qwen Image Edit understands the prompt with one picture in view only. Qwen Image Edit 2509 and "
        "2511 see them all."
    )


def has_idle_canvas(context: Context) -> str | None:
    """At strength 1 the pixels of the canvas do not reach a model that has no other use for them."""
    c = context.configuration
    if context.request.canvas is None or context.request.mask is not None or c.strength < 1 or context.facts is None:
        return None
    if reads_canvas(context.version, context.modifier) or IMAGE in context.sources_in_use or context.has_unknown_reader:
        return None
    if c.color_calibration is not ColorCalibration.Disabled:
        return None
    return Text("At {strength} 1 nothing of {canvas} is used. Lower {strength}, to about 0.6, or leave {canvas} out.")


def has_idle_strength(context: Context) -> str | None:
    """Strength is about the canvas."""
    if context.request.canvas is not None or context.configuration.strength == 1:
        return None
    return Text("{strength} has no effect without {canvas}. Give one, or leave {strength} at 1.")


def returns_canvas(context: Context) -> str | None:
    """At strength 0 nothing is sampled."""
    c = context.configuration
    if context.request.canvas is None or c.strength > 0 or c.upscaler:
        return None
    return Text("At {strength} 0 {canvas} comes back as it is, at most upscaled. Raise {strength} to change it.")


def edits_weakly(context: Context) -> str | None:
    """Edit models see the canvas anyway; a lower strength additionally begins with it."""
    if context.request.canvas is None or not context.reads_references or context.configuration.strength in {0, 1}:
        return None
    return Text(
        "Models that edit are made for {strength} 1; below, the run also starts from {canvas} and follows the prompt "
        "less. Use {strength} 1."
    )


def marks_nothing(context: Context) -> str | None:
    """A mask that marks nothing is ignored, so that the whole canvas is repainted."""
    if context.request.mask is None:
        return None
    classes = context.request.mask & _CLASS_BITS
    # A transparent decoder leaves class 1 alone (protocol §4.2).
    marking = _REPAINT_CLASSES if context.has_alpha_decoder else (GENERATE, *_REPAINT_CLASSES)
    if np.isin(classes, marking).any():
        return None
    return "nothing is marked, so a server would repaint everything. Mark what is to change, or leave the mask out."


def keeps_nothing(context: Context) -> str | None:
    """A mask that says everywhere that nothing is there makes text-to-image of the run."""
    mask = context.request.mask
    if mask is None or context.has_alpha_decoder or not (mask & _CLASS_BITS == GENERATE).all():
        return None
    return Text("The mask says that nothing is there anywhere, so nothing of {canvas} is used. Leave both out.")


def has_unproven_mask(context: Context) -> str | None:
    """What masks do to videos is not known."""
    if context.request.mask is None or not (context.makes_video or context.version in _UNPROVEN_MASK_VERSIONS):
        return None
    return f"What a mask does with {context.version} is not known. Leave it out unless that is what you try."


def has_idle_calibration(context: Context) -> str | None:
    """Colours are matched to the canvas."""
    if context.request.canvas is not None or context.configuration.color_calibration is ColorCalibration.Disabled:
        return None
    return Text("{color_calibration} has no effect without {canvas}, whose colours it matches. Leave it out.")


PICTURE_RULES: tuple[Rule, ...] = (
    refuse("§5.4, §5.5", lacks_picture),
    refuse("§5.3, §5.4", has_idle_moodboard, "moodboard"),
    refuse("§2.8, §5.2", has_alpha_reference, "moodboard"),
    refuse("§2.8", has_surplus_references, "moodboard"),
    refuse("§4.2, §4.3", marks_nothing, "mask"),
    warn("§5.4", shows_too_many_pictures),
    warn("§2.8", misnames_references),
    warn("§5.5", lacks_mask),
    warn("§2.4, §6.1", has_idle_canvas),
    warn("§2.4", has_idle_strength),
    warn("§2.4", returns_canvas),
    warn("§5.4", edits_weakly),
    warn("§4.2", keeps_nothing),
    warn("§4.4", has_unproven_mask),
    warn("§2.1", has_idle_calibration),
)
