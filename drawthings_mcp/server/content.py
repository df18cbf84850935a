"""The texts of results with pictures: what is most useful first."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from drawthings_mcp.limits import MAX_VARIANTS
from drawthings_mcp.quoting import label, show_path
from drawthings_mcp.server.face import MCP
from drawthings_mcp.studio.results import (
    FoundPictures,
    GenerationResult,
    MadePicture,
    describe_axes,
    describe_model,
    describe_origin,
    join_ids,
)

if TYPE_CHECKING:
    from drawthings_mcp.generation import ImageGenerationConfig
    from drawthings_mcp.studio.export import ExportedPicture

MAX_TEXT = 800
"""Characters of the text block of a result with pictures."""
_MIN_NOTE = 60
"""Characters below which the beginning of a note says nothing."""
_NOTES = 300
"""Characters that are kept free for notes, so that long names of files do not crowd them out."""
_DECIDE_ALL = frozenset({"model", "preset", "mode", "configuration", "settings_from"})
"""Arguments of which each value brings settings of its own: of pictures that vary in them nothing is said for all."""
_RED = " (red on the canvas)"
"""How a mask among the inputs is shown; it comes last."""
_MAX_HELPERS = 5
"""LoRAs, and controls, that a result names."""

FileRow: TypeAlias = tuple[str, Path | None, str]
"""Id, path and what else is said of a picture."""


def describe_generation(result: GenerationResult, budget: str) -> str:
    """What a model reads: where from, files, what was shown, what it should know, then how the pictures came about.

    At most ``MAX_TEXT`` characters: what comes last gives way.

    Parameters
    ----------
    budget
        The line that says what is shown.
    """
    plan, c, varied = result.plan, result.plan.configuration, {axis.name for axis in result.axes}
    return join_lines(
        [f"from {', '.join(result.sources)}{_RED if result.masked else ''}"] if result.sources else [],
        _list_variants(result),
        budget,
        [*_note_circumstances(result), *describe_notes(result.notes)],
        [
            *([] if varied & _DECIDE_ALL else [describe_model(plan, MCP), *_describe_helpers(c, varied)]),
            *([] if varied & _DECIDE_ALL else _describe_sampling(c, varied)),
            f"{result.seconds:.1f} s on {', '.join(map(label, result.servers))}",
        ],
    )


def join_lines(
    before: Sequence[str],
    files: Sequence[FileRow],
    budget: str,
    notes: Sequence[str] = (),
    after: Sequence[str] = (),
) -> str:
    """Files, budget line, notes and all else, in this order, as far as a text block takes them.

    Files are named shorter to leave to the notes what these need, but no more than ``_NOTES``.
    """
    room = MAX_TEXT - len(budget) - _measure(before)
    reserved = min(_measure(notes), _NOTES)
    listed = _take_lines(_describe_files(files, room - reserved), room)
    room -= _measure(listed)
    noted = _take_notes(notes, room)
    return "\n".join([*before, *listed, budget, *noted, *_take_lines(after, room - _measure(noted))])[:MAX_TEXT]


def _measure(lines: Iterable[str]) -> int:
    """Characters of lines, each with its end."""
    return sum(len(line) + 1 for line in lines)


def _take_lines(lines: Sequence[str], room: int) -> list[str]:
    """Those that fit, each with the end of a line."""
    taken = []
    for line in lines:
        if len(line) < room:
            room -= len(line) + 1
            taken.append(line)
    return taken


def _take_notes(notes: Sequence[str], room: int) -> list[str]:
    """Notes that fit; half a note is better than none, and half of each better than a few whole ones."""
    taken: list[str] = []
    for place, note in enumerate(notes):
        share = room if _measure(notes[place:]) <= room else max(room // (len(notes) - place), _MIN_NOTE)
        if share <= room:
            taken.append(note if len(note) < share else f"{note[: share - 2]}…")
            room -= len(taken[-1]) + 1
    return taken


def describe_made(made: MadePicture, operation: str, budget: str) -> str:
    """What was made of which pictures, and where it is."""
    sources = " ".join(parent.id for parent in made.picture.parents)
    detail = f"{_describe_size(made.picture.size)}, {operation} of {sources}"
    return join_lines([], [(made.picture.id, made.picture.path, detail)], budget, describe_notes(made.notes))


def describe_exported(pictures: Sequence[ExportedPicture], notes: Sequence[str]) -> str:
    """Where the copies are, and what became of their metadata."""
    rows = [
        (copy.id, copy.path, f"{_describe_size(copy.size)} {copy.format}, {max(1, copy.size_bytes // 1000)} kB")
        for copy in pictures
    ]
    said = dict.fromkeys(note for copy in pictures for note in copy.notes)
    return join_lines([], rows, "exported; the user can open the files", describe_notes([*said, *notes]))


def describe_found(found: FoundPictures, verdict: str, budget: str, recipes: Sequence[str] = ()) -> str:
    """Which pictures these are, where, and how they came about; first the outcome of a vision check, if any.

    Parameters
    ----------
    recipes
        Lines that say in full how they came about, in place of a few words.
    """
    rows = [(picture.id, picture.path, _describe_size(picture.size)) for picture in found.pictures]
    stories = [f"{picture.id}: {story}" for picture in found.pictures if (story := describe_origin(picture))]
    before, notes = list(filter(None, [verdict])), describe_notes(found.notes)
    return "\n".join([join_lines(before, rows, budget, notes, () if recipes else stories), *recipes])


def _list_variants(result: GenerationResult) -> list[FileRow]:
    """A row for each picture; of more than can be shown one for all; then the sheet."""
    variants = result.variants
    sheet = [] if result.sheet is None else [(result.sheet.id, result.sheet.path, f"sheet, {_describe_grid(result)}")]
    if len(variants) > MAX_VARIANTS:
        sizes, seeds = ({_describe_size(image.size) for image in variants}, {image.seed for image in variants})
        detail = [*(sizes if len(sizes) == 1 else ()), *(f"seed {seed}" for seed in seeds if len(seeds) == 1)]
        together = (join_ids([image.id for image in variants]), variants[0].path.parent, " ".join(detail))
        return [together, *sheet]
    singles = [
        (variant.record.id or "without id", variant.path, f"{_describe_size(variant.size)} seed {variant.seed}")
        for variant in variants
    ]
    return [*singles, *sheet]


def _describe_grid(result: GenerationResult) -> str:
    return MCP.word(describe_axes(result.axes))


def _describe_sampling(c: ImageGenerationConfig, varied: Set[str]) -> Iterator[str]:
    """Steps, guidance and sampler, as far as all pictures have them in common, and something is sampled at all."""
    if c.strength == 0:
        return
    parts = {
        "steps": f"{c.steps} steps",
        "guidance_scale": f"guidance {c.guidance_scale:g}",
        "sampler": c.sampler.display_name,
    }
    yield ", ".join(part for name, part in parts.items() if name not in varied)


def _describe_files(rows: Sequence[FileRow], room: int) -> list[str]:
    """A line for each id, path and detail; what lies in one folder is listed below it when the paths are long.

    When there is no room for names either, ids lead to the files.
    """
    lines = [f"{name}: {show_path(path) if path else ''} {detail}" for name, path, detail in rows]
    if len(rows) < 2 or _measure(lines) <= min(MAX_TEXT // 2, room):
        return lines
    grouped = _group(rows, with_names=True)
    return grouped if _measure(grouped) <= room else _group(rows, with_names=False)


def _group(rows: Sequence[FileRow], *, with_names: bool) -> list[str]:
    grouped = []
    for folder, files in itertools.groupby(rows, lambda row: row[1].parent if row[1] else None):
        grouped.append(f"in {show_path(folder)}:" if folder else "no files:")
        for name, path, detail in files:
            shown = f" {show_path(path.name)}" if path and with_names else ""
            grouped.append(f"{name}:{shown} {detail}")
    return grouped


def _describe_size(size: tuple[int, int]) -> str:
    return "×".join(map(str, size))


def describe_notes(notes: Sequence[str]) -> list[str]:
    """A line for each note, in the words of this face."""
    return [f"note: {MCP.word(note)}" for note in notes]


def _note_circumstances(result: GenerationResult) -> Iterator[str]:
    if result.simulated:
        yield "note: simulated: no real model drew this"
    width, height = result.plan.size.rendered
    if result.plan.region is None and result.variants and (size := result.variants[-1].size) != (width, height):
        change = "upscaled" if size[0] > width else "cropped"
        yield f"note: rendered at {width}×{height} and {change}"


def _describe_helpers(c: ImageGenerationConfig, varied: Set[str]) -> Iterator[str]:
    """LoRAs and controls that took part in all pictures, with their weights."""
    for what, settings in (("LoRAs", c.loras if "loras" not in varied else ()), ("controls", c.controls)):
        parts = [f"{label(setting.file)}@{setting.weight:g}" for setting in settings[:_MAX_HELPERS]]
        more = f" and {len(settings) - len(parts)} more" if len(settings) > len(parts) else ""
        if parts:
            yield f"{what}: {', '.join(parts)}{more}"
