"""Rules about controls and the hints that they look at."""

from __future__ import annotations

from collections.abc import Mapping

from drawthings_mcp.generation import HintType
from drawthings_mcp.planning.context import Case
from drawthings_mcp.planning.installed import DEPTH_ESTIMATOR, EDGE_DETECTOR
from drawthings_mcp.planning.rules.rule import Rule, refuse, warn
from drawthings_mcp.planning.sources import IMAGE

_DETECTORS: Mapping[str, str] = {"depth": DEPTH_ESTIMATOR, "scribble": EDGE_DETECTOR, "softedge": EDGE_DETECTOR}
"""What a server needs to make the map of a control from the canvas, by kind; the others need nothing."""
_AUDIO_VERSION = "longcat_video_avatar_v1.5"
"""The only models that listen (protocol §5.6)."""


def has_idle_hint(case: Case) -> str | None:
    """A hint that nothing looks at is dropped silently."""
    if case.facts is None or case.has_unknown_reader:
        return None
    idle = [hint.type for hint in case.request.hints if hint.type not in case.sources_in_use]
    for kind in idle:
        if kind is HintType.Audio and case.version == _AUDIO_VERSION:
            continue
        return _explain_idle_hint(case, kind)
    return None


def _explain_idle_hint(case: Case, kind: HintType) -> str:
    distracted = [
        f"{chosen.setting.file} ({case.find_kind(chosen)})"
        for chosen in case.active_controls
        if kind in case.list_sources(chosen)
    ]
    if distracted or (case.modifier == "canny" and kind is HintType.Custom):
        who = ", ".join(distracted) or case.configuration.model
        return (
            f"hints: {who} makes a map of input_image and does not look at the {kind} map. Leave input_image out, "
            "since a map needs none, or leave the map out."
        )
    return f"hints: nothing looks at the {kind} map. Add a control that does, or leave the map out."


def has_starved_control(case: Case) -> str | None:
    """A control without anything to look at is skipped silently."""
    for chosen in case.active_controls:
        if chosen.entry and case.find_source(chosen) is None:
            sources = case.list_sources(chosen)
            if not sources:
                return f"controls: {chosen.entry.file} reads colours, which only T2I adapters do. Leave it out."
            return (
                f"controls: {chosen.entry.file} ({case.find_kind(chosen)}) has nothing to look at. "
                f"Give it {' or '.join(_WANTED[source] for source in sources)}, or leave it out."
            )
    return None


_WANTED: Mapping[str, str] = {
    IMAGE: "input_image",
    HintType.Custom: "a map in hint_images",
    HintType.Depth: "a depth map in hint_images",
    HintType.Scribble: "a scribble in hint_images",
    HintType.Pose: "a pose in hint_images",
    HintType.Color: "colours in hint_images",
    HintType.Shuffle: "moodboard pictures",
}


def lacks_detector(case: Case) -> str | None:
    """Some maps can be made of the canvas only with a further file on the server."""
    for chosen in case.active_controls:
        kind = case.find_kind(chosen)
        file = _DETECTORS.get(kind, "")
        if file and case.find_source(chosen) == IMAGE and case.installed.has(file) is False:
            return (
                f"controls: the server lacks {file}, without which it cannot make a {kind} map of input_image. "
                f"Download it in Draw Things, or give a {kind} map in hint_images and no input_image."
            )
    return None


def has_misfit_pose(case: Case) -> str | None:
    """A pose is not resized: the first tensor serves the first pass, the last one the last."""
    c = case.configuration
    passes = [case.first_pass or (c.width, c.height), (c.width, c.height)]
    for hint in case.request.hints:
        sizes = [(item.tensor.shape[1], item.tensor.shape[0]) for item in (hint.tensors[0], hint.tensors[-1])]
        if hint.type is HintType.Pose and sizes != passes:
            return f"hints: the poses are {_name(sizes)}, the passes {_name(passes)}. Give one tensor per pass."
    return None


def _name(sizes: list[tuple[int, int]]) -> str:
    return " and ".join(dict.fromkeys(f"{width}x{height}" for width, height in sizes))


def ignores_prompt_in_vain(case: Case) -> str | None:
    """The field ``no_prompt`` is not read by the open server."""
    files = [chosen.setting.file for chosen in case.controls if chosen.setting.no_prompt]
    return f"no_prompt of {', '.join(files)} has no effect on a stand-alone server. Leave it out." if files else None


CONTROL_RULES: tuple[Rule, ...] = (
    refuse("§5.2, §6.5", has_misfit_pose),
    refuse("§5.2, §5.3", has_idle_hint),
    refuse("§5.3", has_starved_control),
    refuse("§5.3", lacks_detector),
    warn("§2.4", ignores_prompt_in_vain),
)
