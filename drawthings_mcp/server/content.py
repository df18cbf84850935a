"""The texts of results with pictures: what is most useful first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from drawthings_mcp.server.face import MCP
from drawthings_mcp.studio.results import FoundPictures, GenerationResult, MadePicture, SavedImage, describe_origin

MAX_TEXT = 800
"""Characters of the text block of a result with pictures."""
_MIN_NOTE = 60
"""Characters below which the beginning of a note says nothing."""


def describe_generation(result: GenerationResult, budget: str) -> str:
    """What a model reads: where from, files, then what was shown, then how they came about.

    At most ``MAX_TEXT`` characters: what does not fit is left out.

    Parameters
    ----------
    budget
        The line that says what is shown.
    """
    plan = result.plan
    family = f", {plan.family}" if plan.family else ""
    c = plan.configuration
    return join_lines(
        [*([f"from {', '.join(result.sources)}"] if result.sources else []), *_describe_variants(result.variants)],
        budget,
        [
            f"{plan.mode} with {plan.model.file} ({plan.model.name}{family}); preset {plan.preset or 'none'}",
            f"{c.steps} steps, guidance {c.guidance_scale:g}, {c.sampler.display_name}",
            _describe_time(result),
            *describe_notes(result.notes),
        ],
    )


def join_lines(before: Sequence[str], budget: str, after: Sequence[str]) -> str:
    """The budget line, and as many of the others, the most useful first, as a text block takes."""
    ahead = _take_lines(before, MAX_TEXT - len(budget))
    behind = _take_lines(after, MAX_TEXT - len(budget) - sum(len(line) + 1 for line in ahead))
    return "\n".join([*ahead, budget, *behind])[:MAX_TEXT]


def _take_lines(lines: Sequence[str], room: int) -> list[str]:
    """Those that fit, each with the end of a line; half a note is better than none."""
    taken = []
    for line in lines:
        fitting = f"{line[: room - 2]}…" if line.startswith("note: ") and _MIN_NOTE <= room <= len(line) else line
        if len(fitting) < room:
            room -= len(fitting) + 1
            taken.append(fitting)
    return taken


def describe_made(made: MadePicture, operation: str, budget: str) -> str:
    """What was made of which pictures, and where it is."""
    sources = " ".join(parent.id for parent in made.picture.parents)
    detail = f"{_describe_size(made.picture.size)}, {operation} of {sources}"
    files = _describe_files([(made.picture.id, made.picture.path, detail)])
    return join_lines(files, budget, describe_notes(made.notes))


def describe_found(found: FoundPictures, verdict: str, budget: str) -> str:
    """Which pictures these are, where, and how they came about; first the outcome of a vision check, if any."""
    rows = [(picture.id, picture.path, _describe_size(picture.size)) for picture in found.pictures]
    stories = [f"{picture.id}: {story}" for picture in found.pictures if (story := describe_origin(picture))]
    before = [*filter(None, [verdict]), *_describe_files(rows)]
    return join_lines(before, budget, [*stories, *describe_notes(found.notes)])


def _describe_variants(variants: Sequence[SavedImage]) -> list[str]:
    return _describe_files(
        [
            (variant.record.id or "without id", variant.path, f"{_describe_size(variant.size)} seed {variant.seed}")
            for variant in variants
        ]
    )


def _describe_files(rows: Sequence[tuple[str, Path | None, str]]) -> list[str]:
    """A line for each id, path and detail; what lies in one folder is listed below it when the paths are long."""
    lines = [f"{label}: {path} {detail}" for label, path, detail in rows]
    if len(rows) < 2 or sum(map(len, lines)) <= MAX_TEXT // 2:
        return lines
    grouped = []
    for folder, files in itertools.groupby(rows, lambda row: row[1].parent if row[1] else None):
        names = ((label, path.name if path else "", detail) for label, path, detail in files)
        grouped += [f"in {folder}:", *(f"{label}: {name} {detail}" for label, name, detail in names)]
    return grouped


def _describe_size(size: tuple[int, int]) -> str:
    return "×".join(map(str, size))


def describe_notes(notes: Sequence[str]) -> list[str]:
    """A line for each note, in the words of this face."""
    return [f"note: {MCP.word(note)}" for note in notes]


def _describe_time(result: GenerationResult) -> str:
    simulated = " (simulated: no real model drew this)" if result.simulated else ""
    return f"{result.seconds:.1f} s on {result.server}{simulated}{_describe_rendering(result)}"


def _describe_rendering(result: GenerationResult) -> str:
    width, height = result.plan.size.rendered
    if result.variants[0].size == (width, height):
        return ""
    change = "upscaled" if result.variants[0].size[0] > width else "cropped"
    return f", rendered at {width}×{height} and {change}"
