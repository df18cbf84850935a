"""Rules about videos and their frames."""

from __future__ import annotations

from drawthings_mcp.faces import Text
from drawthings_mcp.generation import ImageGenerationConfig
from drawthings_mcp.planning.abilities import RESTORATION_VERSIONS
from drawthings_mcp.planning.context import Context
from drawthings_mcp.planning.rules import Rule, warn

_DEFAULT_FRAMES = ImageGenerationConfig().num_frames
_CAUSAL_FAMILY = "wan_"
"""How the versions begin that infer causally (protocol §2.1, slot 79)."""


def batches_videos(context: Context) -> str | None:
    """A video comes alone, and so does a restored picture."""
    size = context.configuration.batch_size
    if size == 1 or not (context.makes_video or context.version in RESTORATION_VERSIONS):
        return None
    text = "{batch_size} {size} becomes 1 with {version}. Use {batch_count} for more than one."
    return Text(text, size=size, version=context.version)


def counts_frames_of_picture(context: Context) -> str | None:
    """Only videos have frames."""
    if context.facts is None or context.facts.makes_video or context.configuration.num_frames == _DEFAULT_FRAMES:
        return None
    return Text("{num_frames} has no effect: {name} makes pictures. Leave it out.", name=context.facts.name)


def rounds_frames(context: Context) -> str | None:
    """Frames come in groups."""
    if context.facts is None or not context.facts.makes_video:
        return None
    wanted = context.configuration.num_frames
    count = context.facts.count_frames(wanted)
    if count == wanted:
        return None
    group, first = context.facts.frame_group, context.facts.first_group
    if first > 1:
        text = (
            "{num_frames} {wanted} is no length of a video by {name}, which is {first} and a multiple of {group}. Use "
            "{count} or {next}."
        )
    else:
        text = "{num_frames} {wanted} gives {count} frames; {name} makes 1 more than a multiple of {group}."
    following = count + group if count >= first else first
    return Text(text, wanted=wanted, count=count, next=following, name=context.facts.name, group=group, first=first)


def infers_causally(context: Context) -> str | None:
    """Causal inference is Wan's."""
    c = context.configuration
    if context.facts is None or not (c.causal_inference_enabled and c.causal_inference):
        return None
    if context.version.startswith(_CAUSAL_FAMILY):
        return None
    return Text("{causal_inference} has no effect on {file}, only on Wan models. Leave it out.", file=c.model)


VIDEO_RULES: tuple[Rule, ...] = (
    warn("§2.4", batches_videos),
    warn("§2.1", counts_frames_of_picture),
    warn("§2.8, §3.6", rounds_frames),
    warn("§2.1", infers_causally),
)
