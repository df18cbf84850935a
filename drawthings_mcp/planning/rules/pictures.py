"""Rules about the canvas, its mask and the moodboard: is what the model needs there, does anything look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from drawthings_mcp.generation import ColorCalibration, HintType
from drawthings_mcp.planning.abilities import (
    LAYERED,
    REFERENCE_VERSIONS,
    RESTORATION_VERSIONS,
    needs_references,
    reads_canvas,
    reads_references,
)
from drawthings_mcp.planning.context import Case
from drawthings_mcp.planning.rules.rule import Rule, refuse, warn
from drawthings_mcp.planning.sources import IMAGE
from drawthings_mcp.tensors.mask import GENERATE, REPAINT

_CLASS_BITS = 0x07
"""The part of a mask's byte that is its class (protocol §4.2)."""
_REPAINT_CLASSES = (REPAINT, 4)
_UNPROVEN_MASK_VERSIONS = frozenset({"hidream_o1"})
"""Beside videos, versions whose cells do not have the size that masks are reduced by (protocol §4.4)."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Need:
    """What a modifier needs: sources of which one must be there, and whether a mask must."""

    sources: frozenset[str]
    text: str


_NEEDS: Mapping[str, _Need] = {
    "editing": _Need(frozenset({IMAGE}), "edits pictures: give input_image"),
    LAYERED: _Need(frozenset({IMAGE}), "takes a picture apart: give input_image"),
    "double": _Need(frozenset({IMAGE}), "works from a picture: give input_image"),
    "depth": _Need(frozenset({IMAGE, HintType.Depth}), "works from depth: give input_image or a depth map"),
    "canny": _Need(frozenset({IMAGE, HintType.Custom}), "works from edges: give input_image or a canny map"),
    "inpainting": _Need(frozenset({IMAGE}), "repaints pictures: give input_image and mask_image"),
}  # fmt: skip


def lacks_picture(case: Case) -> str | None:
    """The model makes nothing, or anything, without the pictures that it was trained to work from."""
    if case.facts is None:
        return None
    if needs_references(case.version, case.modifier):
        is_met = case.sources & {IMAGE, HintType.Shuffle}
        return None if is_met else f"{case.configuration.model} edits pictures: give input_image or moodboard."
    if case.version == "svd_i2v" or case.version in RESTORATION_VERSIONS:
        is_met = case.sources & {IMAGE}
        return None if is_met else f"{case.configuration.model} works from a picture: give input_image."
    return _explain_need(case, case.configuration.model)


def _explain_need(case: Case, file: str) -> str | None:
    need = _NEEDS.get(case.modifier)
    if need is None:
        return None
    if case.makes_video:
        is_met = IMAGE in case.sources
        return None if is_met else f"{file} begins with a picture: give input_image, the first frame."
    is_met = bool(case.sources & need.sources)
    return None if is_met else f"{file} {need.text}."


def lacks_mask(case: Case) -> str | None:
    """An inpainting model gets the picture with the marked part cut out; without a mask nothing is."""
    if (
        case.modifier != "inpainting"
        or case.makes_video
        or case.request.canvas is None
        or case.request.mask is not None
    ):
        return None
    return (
        f"{case.configuration.model} repaints what a mask marks, and there is none. Give mask_image; an all-white one "
        "repaints everything."
    )


def has_idle_moodboard(case: Case) -> str | None:
    """Moodboard pictures that neither the model nor a control looks at are dropped silently."""
    if HintType.Shuffle not in case.sources or HintType.Shuffle in case.sources_in_use:
        return None
    if case.facts is None or case.has_unknown_control:
        return None
    if case.has_unknown_reader and case.version in REFERENCE_VERSIONS:
        return None
    return (
        f"moodboard: {case.configuration.model} does not look at further pictures. Take a model that edits, such as "
        f"FLUX.1 Kontext, FLUX.2 or Qwen Image Edit{_list_examples(_list_editors(case))}, or add a control that looks "
        f"at pictures, such as IP-Adapter, Redux, PuLID or VACE{_list_examples(_list_readers(case))}."
    )


def _list_editors(case: Case) -> list[str]:
    models = case.installed.catalog.models if case.installed.catalog else ()
    return [model.file for model in models if reads_references(model.version, model.modifier)]


def _list_readers(case: Case) -> list[str]:
    if case.installed.catalog is None or case.model is None:
        return []
    controls = case.installed.catalog.compatible_controls(case.model)
    return [control.file for control in controls if control.modifier == "shuffle"]


def _list_examples(files: list[str]) -> str:
    return f" (on the server: {', '.join(files[:_SHOWN])})" if files else ""


def shows_too_many_pictures(case: Case) -> str | None:
    """The first Qwen Image Edit shows its text encoder one picture only."""
    if (case.version, case.modifier) != ("qwen_image", "kontext"):
        return None
    shuffles = sum(len(hint.tensors) for hint in case.request.hints if hint.type is HintType.Shuffle)
    if shuffles + (case.request.canvas is not None) < 2:
        return None
    return (
        "The first Qwen Image Edit understands the prompt with one picture in view only. "
        "Qwen Image Edit 2509 and 2511 see them all."
    )


def has_idle_canvas(case: Case) -> str | None:
    """At strength 1 the pixels of the canvas do not reach a model that has no other use for them."""
    c = case.configuration
    if case.request.canvas is None or case.request.mask is not None or c.strength < 1 or case.facts is None:
        return None
    if reads_canvas(case.version, case.modifier) or IMAGE in case.sources_in_use or case.has_unknown_reader:
        return None
    if c.color_calibration is not ColorCalibration.Disabled:
        return None
    return "At strength 1 nothing of input_image is used. Lower strength, to about 0.6, or leave the image out."


def has_idle_strength(case: Case) -> str | None:
    """Strength is about the canvas."""
    if case.request.canvas is not None or case.configuration.strength == 1:
        return None
    return "strength has no effect without input_image. Give one, or leave strength at 1."


def returns_canvas(case: Case) -> str | None:
    """At strength 0 nothing is sampled."""
    if case.request.canvas is None or case.configuration.strength > 0:
        return None
    return "At strength 0 input_image comes back as it is, at most upscaled. Raise strength to change it."


def edits_weakly(case: Case) -> str | None:
    """Edit models see the canvas anyway; a lower strength additionally begins with it."""
    if case.request.canvas is None or not case.reads_references or case.configuration.strength in {0, 1}:
        return None
    return (
        "Models that edit are made for strength 1; below, the run also starts from input_image and follows the prompt "
        "less. Use strength 1."
    )


def marks_nothing(case: Case) -> str | None:
    """A mask that marks nothing is ignored, so that the whole canvas is repainted."""
    if case.request.mask is None:
        return None
    classes = case.request.mask & _CLASS_BITS
    # A transparent decoder leaves class 1 alone (protocol §4.2).
    marking = _REPAINT_CLASSES if case.has_alpha_decoder else (GENERATE, *_REPAINT_CLASSES)
    if np.isin(classes, marking).any():
        return None
    return (
        "mask: nothing is marked, so a server would repaint everything. Mark what is to change, or leave the mask out."
    )


def keeps_nothing(case: Case) -> str | None:
    """A mask that says everywhere that nothing is there makes text-to-image of the run."""
    if case.request.mask is None or case.has_alpha_decoder or not (case.request.mask & _CLASS_BITS == GENERATE).all():
        return None
    return "The mask says that nothing is there anywhere, so nothing of input_image is used. Leave both out."


def has_unproven_mask(case: Case) -> str | None:
    """What masks do to videos is not known."""
    if case.request.mask is None or not (case.makes_video or case.version in _UNPROVEN_MASK_VERSIONS):
        return None
    return f"What a mask does with {case.version} is not known. Leave it out unless that is what you try."


def has_idle_calibration(case: Case) -> str | None:
    """Colours are matched to the canvas."""
    if case.request.canvas is not None or case.configuration.color_calibration is ColorCalibration.Disabled:
        return None
    return "color_calibration has no effect without input_image, whose colours it matches. Leave it out."


PICTURE_RULES: tuple[Rule, ...] = (
    refuse("§5.4, §5.5", lacks_picture),
    refuse("§5.3, §5.4", has_idle_moodboard),
    refuse("§4.2, §4.3", marks_nothing),
    warn("§5.4", shows_too_many_pictures),
    warn("§5.5", lacks_mask),
    warn("§2.4, §6.1", has_idle_canvas),
    warn("§2.4", has_idle_strength),
    warn("§2.4", returns_canvas),
    warn("§5.4", edits_weakly),
    warn("§4.2", keeps_nothing),
    warn("§4.4", has_unproven_mask),
    warn("§2.1", has_idle_calibration),
)
