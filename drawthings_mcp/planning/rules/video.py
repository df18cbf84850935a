"""Rules about videos and their frames."""

from __future__ import annotations

from drawthings_mcp.generation import ImageGenerationConfig
from drawthings_mcp.planning.abilities import RESTORATION_VERSIONS
from drawthings_mcp.planning.context import Case
from drawthings_mcp.planning.rules.rule import Rule, warn

_DEFAULT_FRAMES = ImageGenerationConfig().num_frames
_CAUSAL_FAMILY = "wan_"
"""How the versions begin that infer causally (protocol §2.1, slot 79)."""


def batches_videos(case: Case) -> str | None:
    """A video comes alone, and so does a restored picture."""
    size = case.configuration.batch_size
    if size == 1 or not (case.makes_video or case.version in RESTORATION_VERSIONS):
        return None
    return f"batch_size {size} becomes 1 with {case.version}. Use batch_count for more than one."


def counts_frames_of_picture(case: Case) -> str | None:
    """Only videos have frames."""
    if case.facts is None or case.facts.makes_video or case.configuration.num_frames == _DEFAULT_FRAMES:
        return None
    return f"num_frames has no effect: {case.facts.name} makes pictures. Leave it out."


def rounds_frames(case: Case) -> str | None:
    """Frames come in groups."""
    if case.facts is None or not case.facts.makes_video:
        return None
    wanted = case.configuration.num_frames
    count = case.facts.count_frames(wanted)
    if count == wanted:
        return None
    group = case.facts.frame_group
    return f"num_frames {wanted} gives {count} frames; {case.facts.name} makes 1 more than a multiple of {group}."


def infers_causally(case: Case) -> str | None:
    """Causal inference is Wan's."""
    c = case.configuration
    if case.facts is None or not (c.causal_inference_enabled and c.causal_inference):
        return None
    if case.version.startswith(_CAUSAL_FAMILY):
        return None
    return f"causal_inference has no effect on {c.model}, only on Wan models. Leave it out."


VIDEO_RULES: tuple[Rule, ...] = (
    warn("§2.4", batches_videos),
    warn("§2.1", counts_frames_of_picture),
    warn("§3.6", rounds_frames),
    warn("§2.1", infers_causally),
)
