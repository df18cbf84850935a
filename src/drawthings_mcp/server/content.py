"""The texts of results with pictures: what is most useful first."""

from __future__ import annotations

from collections.abc import Sequence

from drawthings_mcp.server.viewer import MAX_TEXT, join_lines
from drawthings_mcp.studio import GenerationResult, MadePicture, SavedVariant


def describe_generation(result: GenerationResult, budget: str) -> str:
    """What a model reads: where from, files, then what was shown, then how they came about.

    At most ``MAX_TEXT`` characters: what does not fit is left out.

    Parameters
    ----------
    budget
        The line that says what is shown.
    """
    family = f", {result.family}" if result.family else ""
    return join_lines(
        [
            *([f"from {', '.join(result.sources)}"] if result.sources else []),
            *_describe_files(result.variants),
            budget,
            f"{result.mode} with {result.model_file} ({result.model_name}{family}); preset {result.preset or 'none'}",
            f"{result.steps} steps, guidance {result.guidance_scale:g}, {result.sampler}",
            _describe_time(result),
            *(f"note: {note}" for note in result.notes),
        ]
    )


def describe_made(made: MadePicture, operation: str, budget: str) -> str:
    """What was made of which pictures, and where it is."""
    width, height = made.picture.size
    return join_lines(
        [
            f"{made.picture.id}: {made.picture.path} {width}×{height}, {operation} of {' '.join(made.sources)}",
            budget,
            *(f"note: {note}" for note in made.notes),
        ]
    )


def _describe_files(variants: Sequence[SavedVariant]) -> list[str]:
    lines = [_describe_file(variant, str(variant.path)) for variant in variants]
    if len(variants) < 2 or sum(map(len, lines)) <= MAX_TEXT // 2:
        return lines
    return [f"in {variants[0].path.parent}:", *(_describe_file(variant, variant.path.name) for variant in variants)]


def _describe_file(variant: SavedVariant, name: str) -> str:
    width, height = variant.size
    return f"{variant.id or 'without id'}: {name} {width}×{height} seed {variant.seed}"


def _describe_time(result: GenerationResult) -> str:
    simulated = " (simulated: no real model drew this)" if result.simulated else ""
    return f"{result.seconds:.1f} s on {result.server}{simulated}{_describe_rendering(result)}"


def _describe_rendering(result: GenerationResult) -> str:
    width, height = result.rendered_size
    if result.variants[0].size == (width, height):
        return ""
    change = "upscaled" if result.variants[0].size[0] > width else "cropped"
    return f", rendered at {width}×{height} and {change}"
