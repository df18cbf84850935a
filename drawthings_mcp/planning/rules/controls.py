"""Rules about controls and the hints that they look at."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from drawthings_mcp.faces import Step, Text
from drawthings_mcp.generation import ControlInputType, HintType
from drawthings_mcp.planning.abilities import FROM_REFERENCES
from drawthings_mcp.planning.context import IMAGE, Context
from drawthings_mcp.planning.known import DEPTH_ESTIMATOR, EDGE_DETECTOR
from drawthings_mcp.planning.rules import Rule, refuse, warn
from drawthings_mcp.tensors.pixels import Pixels

_DETECTORS: Mapping[str, str] = {"depth": DEPTH_ESTIMATOR, "scribble": EDGE_DETECTOR, "softedge": EDGE_DETECTOR}
"""What a server needs to make the map of a control from the canvas, by kind; the others need nothing."""
_AUDIO_VERSION = "longcat_video_avatar_v1.5"
"""Its models listen, and so do those that make videos from references (protocol §2.8, §5.6)."""
_SOUND_BLOCK = 800
"""Samples of which a reference of sound has a multiple (protocol §2.8)."""


def has_idle_hint(context: Context) -> str | None:
    """A hint that nothing looks at is dropped silently."""
    if context.facts is None or context.has_unknown_reader:
        return None
    heard = {HintType.Audio} if _listens(context) else set()
    used = context.sources_in_use | heard
    idle = next((hint.type for hint in context.request.hints if hint.type not in used), None)
    return None if idle is None else _explain_idle_hint(context, idle)


def _listens(context: Context) -> bool:
    return context.version == _AUDIO_VERSION or context.modifier == FROM_REFERENCES


def has_uneven_sound(context: Context) -> str | None:
    """A reference of sound comes in whole blocks of samples."""
    if context.modifier != FROM_REFERENCES:
        return None
    hints = (hint for hint in context.request.hints if hint.type is HintType.Audio)
    lengths = [max(item.tensor.shape) for hint in hints for item in hint.tensors]
    uneven = next((length for length in lengths if length % _SOUND_BLOCK), None)
    if uneven is None:
        return None
    return f"a sound of {uneven} samples is no multiple of {_SOUND_BLOCK}. Pad it with {-uneven % _SOUND_BLOCK} zeros."


def _explain_idle_hint(context: Context, kind: HintType) -> str:
    distracted = tuple(
        Text("{file} ({kind})", file=chosen.setting.file, kind=context.find_kind(chosen))
        for chosen in context.active_controls
        if kind in context.list_sources(chosen)
    )
    if distracted or (context.modifier == "canny" and kind is HintType.Custom):
        who = distracted or context.configuration.model
        return Text(
            "{who} makes a map of {canvas} and does not look at the {kind} map. Leave {canvas} out, since a map needs "
            "none, or leave the map out.",
            who=who,
            kind=kind,
        )
    return f"nothing looks at the {kind} map. Add a control that does, or leave the map out."


def has_starved_control(context: Context) -> str | None:
    """A control without anything to look at is skipped silently."""
    for chosen in context.active_controls:
        if chosen.entry and context.find_source(chosen) is None:
            sources = context.list_sources(chosen)
            if not sources:
                text = "{file} reads colours, which only T2I adapters do. Leave it out."
                return Text(text, file=chosen.entry.file)
            is_exact = any(source not in (IMAGE, HintType.Custom) for source in sources)
            wanted = " or ".join(_WANTED[one] for one in sources if not (is_exact and one is HintType.Custom))
            unread = " ({canvas} does not count)" if context.request.canvas is not None else ""
            text = "{file} ({kind}) has nothing to look at. Give it " + wanted + unread + ", or leave it out."
            return Text(text, file=chosen.entry.file, kind=context.find_kind(chosen))
    return None


_WANTED: Mapping[str, str] = {
    IMAGE: "{canvas}",
    HintType.Custom: "a map in {hints}",
    HintType.Depth: "a depth map in {hints}",
    HintType.Scribble: "a scribble in {hints}",
    HintType.Pose: "a pose in {hints}",
    HintType.Color: "colours in {hints}",
    HintType.Shuffle: "moodboard pictures",
}


def lacks_detector(context: Context) -> str | None:
    """Some maps can be made of the canvas only with a further file on the server."""
    for chosen in context.active_controls:
        kind = context.find_kind(chosen)
        file = _DETECTORS.get(kind, "")
        if file and context.find_source(chosen) == IMAGE and context.inventory.has(file) is False:
            return Text(
                "the server lacks {file}, without which it cannot make a {kind} map of {canvas}. {download:C}, or "
                "give a {kind} map in {hints} and no {canvas}.",
                file=file,
                kind=kind,
                download=Step("download"),
            )
    return None


def has_misfit_pose(context: Context) -> str | None:
    """A pose is not resized: the first tensor serves the first pass, the last one the last."""
    c = context.configuration
    passes = [context.first_pass or (c.width, c.height), (c.width, c.height)]
    for hint in context.request.hints:
        sizes = [(item.tensor.shape[1], item.tensor.shape[0]) for item in (hint.tensors[0], hint.tensors[-1])]
        if hint.type is HintType.Pose and sizes != passes:
            return f"the poses are {_name(sizes)}, the passes {_name(passes)}. Give one tensor per pass."
    return None


def _name(sizes: list[tuple[int, int]]) -> str:
    return " and ".join(dict.fromkeys(f"{width}x{height}" for width, height in sizes))


def names_no_control(context: Context) -> str | None:
    """A control without a file is skipped silently."""
    for named in context.controls:
        if not named.setting.file:
            is_inpaint = named.setting.input_override is ControlInputType.Inpaint
            advice = "To inpaint, {mask} alone is enough." if is_inpaint else "Name one, or leave it out."
            return Text("A control without a file has no effect. " + advice)
    return None


def contradicts_control(context: Context) -> str | None:
    """What a control reads is its own; only those that read several kinds of maps take a kind (protocol §2.3)."""
    for named in context.active_controls:
        override = named.setting.input_override
        kind = context.find_kind(named)
        if override is not ControlInputType.Unspecified and kind and kind != override.name.lower():
            return Text(
                "{input_override} {given} has no effect: {file} reads {kind} maps. Leave it out, or take another "
                "control.",
                given=override.name.lower(),
                file=named.setting.file,
                kind=kind,
            )
    return None


def maps_a_map(context: Context) -> str | None:
    """A server makes the map of the canvas itself; of a canvas that is a map already it makes none that is any good."""
    canvas = context.request.canvas
    if canvas is None:
        return None
    for named in context.active_controls:
        kind = context.find_kind(named)
        if kind in _DETECTED and context.find_source(named) == IMAGE and _looks_like_a_map(canvas, kind):
            return Text(
                "{canvas} looks like a ready {kind} map, of which the server would make a map again. Give it in "
                "{hints} "
                "as {kind}, and no {canvas}.",
                kind=kind,
            )
    return None


_DETECTED = frozenset({"canny", "mlsd", "softedge", "scribble", "depth"})
_GREY, _DARK, _LIGHT = 4, 48, 208


def _looks_like_a_map(canvas: Pixels, kind: str) -> bool:
    """Without any colour, and but for depth, mostly black with white lines."""
    sample = canvas[::4, ::4].astype(np.int16)
    if int((sample.max(axis=2) - sample.min(axis=2)).max()) > _GREY:
        return False
    light = sample[..., 0]
    return kind == "depth" or bool((light < _DARK).mean() > 0.7 and (light > _LIGHT).any())


def ignores_prompt_in_vain(context: Context) -> str | None:
    """The field ``no_prompt`` is not read by the open server."""
    files = [chosen.setting.file for chosen in context.controls if chosen.setting.no_prompt]
    return f"no_prompt of {', '.join(files)} has no effect on a stand-alone server. Leave it out." if files else None


CONTROL_RULES: tuple[Rule, ...] = (
    refuse("§5.2, §6.5", has_misfit_pose, "hints"),
    refuse("§5.2, §5.3", has_idle_hint, "hints"),
    refuse("§2.8", has_uneven_sound, "hints"),
    refuse("§5.3", has_starved_control, "controls"),
    refuse("§5.3", lacks_detector, "controls"),
    warn("§2.3", names_no_control),
    warn("§2.3", contradicts_control),
    warn("§5.3", maps_a_map),
    warn("§2.4", ignores_prompt_in_vain),
)
