"""How pictures of the library were made, by their files, projects and the catalog: in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio.to_thread
import numpy as np

from drawthings_mcp.errors import DrawThingsError, MissingFileError
from drawthings_mcp.faces import Face, Phrase, Text
from drawthings_mcp.generation.recipe import PictureRecipe
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import open_unchanged, read_pixels, read_record_metadata
from drawthings_mcp.library.records import ImageRecord, parse_id
from drawthings_mcp.metadata.dialect import ImageMetadata, complete_metadata
from drawthings_mcp.metadata.reading import read_image_metadata_from, read_metadata_from
from drawthings_mcp.metadata.recipe import build_recipe
from drawthings_mcp.planning.recipe import (
    find_recommendation,
    list_deviations,
    list_differences,
    list_loras,
    word_value,
)
from drawthings_mcp.references.policy import ImportPolicy
from drawthings_mcp.references.resolve import resolve_reference
from drawthings_mcp.search.projects.project_file import ProjectFile, parse_reference
from drawthings_mcp.studio.results import list_sources

_PROJECT = "project://"
_MAX_PROMPTS = 20_000
"""Characters of all prompts in one text; each may have 10,000, and a result holds some more."""
_MAIN = ("steps", "guidance_scale", "sampler", "strength")
_LEAST_SHARE = 0.001
_VISIBLE = 8
"""Levels of 255 from which on a channel differs to the eye; files with losses differ by less everywhere."""


@dataclass(frozen=True, slots=True)
class RecordedRecipe:
    """A picture of the library and its recipe.

    Attributes
    ----------
    metadata
        What its file or project says, completed by the library.
    notes
        Sentences about what the caller might not expect.
    region
        What of the canvas was rendered; None when that was all.
    """

    record: ImageRecord
    metadata: ImageMetadata
    recipe: PictureRecipe
    notes: tuple[str, ...] = ()
    region: Text | None = None


async def find_recipe(reference: str, catalog: ImageCatalog, policy: ImportPolicy) -> RecordedRecipe:
    """The recipe of the picture that a reference leads to; of one whose file is gone, what the library knows.

    Raises
    ------
    DrawThingsError
        As ``resolve_reference``.
    """
    try:
        resolved = await resolve_reference(reference, catalog, policy)
    except MissingFileError:
        if parse_id(reference) is None:
            raise
        record = await anyio.to_thread.run_sync(catalog.get, reference)
        notes: tuple[str, ...] = (Text("the file of {id} is gone; this is what the library knows of it", id=record.id),)
    else:
        record, notes = resolved.record, resolved.notes
    return replace(await anyio.to_thread.run_sync(read_recipe, record), notes=notes)


def read_recipe(record: ImageRecord) -> RecordedRecipe:
    """The recipe of a picture of the library. Blocks."""
    found, own = _read_file(record)
    if record.origin.startswith(_PROJECT):
        found = complete_metadata(_read_project(record.origin) or found, found)
    metadata = complete_metadata(found, read_record_metadata(record))
    return RecordedRecipe(record, metadata, build_recipe(record.id, metadata, own), region=_explain_region(own))


def _explain_region(own: Mapping[str, Any]) -> Text | None:
    """That a part of the canvas was rendered and put back."""
    match own.get("region"):
        case [int(left), int(top), int(right), int(bottom)]:
            text = "of the canvas only {left},{top} to {right},{bottom} was rendered, and put back"
            return Text(text, left=left, top=top, right=right, bottom=bottom)
        case _:
            return None


def _read_file(record: ImageRecord) -> tuple[ImageMetadata, Mapping[str, Any]]:
    """What the file of a picture says, and our own record in it."""
    if record.path is None:
        return read_record_metadata(record), {}
    try:
        with open_unchanged(record) as file:
            found = read_image_metadata_from(file, name=record.id)
            file.seek(0)
            own = read_metadata_from(file)
    except DrawThingsError:
        return read_record_metadata(record), {}
    return found, own.record if own is not None else {}


def _read_project(origin: str) -> ImageMetadata | None:
    path, entry_id = parse_reference(origin)
    try:
        with ProjectFile(path) as project:
            entry = next(project.list_entries(entry_id - 1), None)
    except DrawThingsError:
        return None
    return entry.metadata if entry is not None and entry.id == entry_id else None


def describe_recipes(recipes: Sequence[RecordedRecipe], face: Face) -> list[str]:
    """The recipes as lines: of one or many, each in full; of two, the first and what is different about the second."""
    total = sum(len(one.recipe.prompt) + len(one.recipe.negative_prompt) for one in recipes)
    most = _MAX_PROMPTS if total <= _MAX_PROMPTS else _MAX_PROMPTS // (2 * len(recipes))
    if len(recipes) != 2:
        return [line for one in recipes for line in _describe(one, face, most)]
    first, second = recipes
    return [*_describe(first, face, most), *_describe_differences(first, second, face, most)]


def _to_json(picture: RecordedRecipe) -> dict[str, Any]:
    """As JSON-serialisable dict; ``differs`` has each value and the recommended one."""
    record, recipe, found = picture.record, picture.recipe, picture.metadata
    preset = find_recommendation(recipe)
    return {
        "id": record.id,
        "path": str(record.path or ""),
        "width": record.width,
        "height": record.height,
        "created": (found.created or record.created).isoformat(),
        "dialect": found.dialect,
        "software": found.software,
        "simulated": record.simulated,
        "server": record.server,
        "mode": recipe.mode,
        "preset": recipe.preset,
        "prompt": found.prompt,
        "negative_prompt": found.negative_prompt,
        "model": found.model,
        "seed": found.seed,
        "requested_size": list(recipe.size),
        "loras": list_loras(recipe),
        "controls": word_value(recipe.settings.fields.get("controls", ())),
        **{name: word_value(recipe.settings.fields.get(name)) for name in _MAIN},
        "recommendation": preset.name if preset else "",
        "differs": {name: list(pair) for name, pair in list_deviations(recipe).items()},
        "not_known": list(recipe.settings.unknown),
        "configuration": dict(found.configuration),
        "parents": [parent._asdict() for parent in record.parents],
        "notes": list(map(str, picture.notes)),
    }


def recipes_to_json(recipes: Sequence[RecordedRecipe]) -> dict[str, Any]:
    """As JSON-serialisable dict: the recipe of one picture, or of two with what differs. Blocks."""
    if len(recipes) == 1:
        return _to_json(recipes[0])
    first, second = recipes
    return {
        "pictures": list(map(_to_json, recipes)),
        "differences": {name: list(pair) for name, pair in list_differences(first.recipe, second.recipe).items()},
        "share_of_pixels_that_differ": compare_pixels(first.record, second.record),
    }


def _describe(picture: RecordedRecipe, face: Face, most: int) -> Iterator[str]:
    record, recipe, found = picture.record, picture.recipe, picture.metadata
    if recipe.tells_nothing:
        origin = ", ".join(list_sources(record.parents))
        known = f"made from {origin} without drawing" if origin else "does not tell how it was made"
        yield f"{record.id}: {known}"
        return
    yield f"{record.id}: {_describe_origin(picture, face)}"
    yield f"prompt: {face.quote(found.prompt, most)}" if found.prompt else "no prompt"
    if found.negative_prompt:
        yield f"negative prompt: {face.quote(found.negative_prompt, most)}"
    size = f", size {recipe.size[0]}×{recipe.size[1]}" if all(recipe.size) else ""
    seed = "" if found.seed is None else f", seed {found.seed}"
    yield f"model {face.label(found.model) if found.model else 'not named'}{seed}{size}"
    yield from _describe_settings(recipe, face)
    if loras := list_loras(recipe):
        yield f"LoRAs: {', '.join(map(face.label, loras))}"
    if controls := recipe.settings.fields.get("controls", ()):
        yield f"controls: {', '.join(face.label(str(word_value(control))) for control in controls)}"
    if record.parents:
        yield f"from {', '.join(list_sources(record.parents))}"
    if picture.region is not None:
        yield face.word(picture.region)


def _describe_origin(picture: RecordedRecipe, face: Face) -> str:
    record, recipe, found = picture.record, picture.recipe, picture.metadata
    made = found.created or record.created
    parts = (
        recipe.mode or ("" if record.kind == "v" else f"metadata of {face.quote(found.software or found.dialect)}"),
        f"preset {face.quote(recipe.preset)}" if recipe.preset else "",
        f"{made.astimezone():%Y-%m-%d %H:%M}",
        f"on {face.label(record.server)}" if record.server else "",
        "simulated" if record.simulated else "",
    )
    return ", ".join(filter(None, parts))


def _describe_settings(recipe: PictureRecipe, face: Face) -> Iterator[str]:
    """All settings that differ from the recommendation, each with the recommended value."""
    preset = find_recommendation(recipe)
    usual = f"what is recommended ({face.quote(preset.name)})" if preset else "the app's defaults"
    fields = recipe.settings.fields
    told = [name for name in _MAIN if name in fields]
    if told:
        yield ", ".join(f"{name} {_word(word_value(fields[name]), face)}" for name in told)
    deviations = list_deviations(recipe)
    if preset is None:
        # The app's defaults say nothing about a model; what is above need not be said twice.
        deviations = {name: pair for name, pair in deviations.items() if name not in told}
    if deviations:
        listed = (f"{name} {_word(value, face)} ({_word(other, face)})" for name, (value, other) in deviations.items())
        yield f"differs from {usual}, in brackets: {', '.join(listed)}"
    elif told and preset is not None:
        yield f"all settings as in {usual}"
    if recipe.settings.unknown:
        yield f"not known here: {recipe.settings.describe_unknown()}"


def _word(value: Any, face: Face, most: int = 200) -> str:
    if isinstance(value, str) and not isinstance(value, Phrase):
        return face.quote(value, most) if " " in value else face.label(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(_word(item, face) for item in value) or "none"
    return "not told" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _describe_differences(first: RecordedRecipe, second: RecordedRecipe, face: Face, most: int) -> Iterator[str]:
    names = f"{first.record.id} → {second.record.id}"
    if first.recipe.tells_nothing or second.recipe.tells_nothing:
        yield from _describe(second, face, most)
        yield f"{names}: {describe_share(compare_pixels(first.record, second.record))}"
        return
    pairs = list_differences(first.recipe, second.recipe)
    changes = [
        f"{name} {_word(a, face, most)} → {_word(b, face, most)}"
        for name, (a, b) in pairs.items()
        if a is not None and b is not None
    ]
    sources = [", ".join(list_sources(one.record.parents)) or "nothing" for one in (first, second)]
    if sources[0] != sources[1]:
        changes.append(f"from {sources[0]} → from {sources[1]}")
    changes.append(describe_share(compare_pixels(first.record, second.record)))
    yield f"{names}: {'; '.join(changes)}"
    for place, one in enumerate((first, second)):
        if untold := sum(pair[place] is None for pair in pairs.values()):
            yield f"{one.record.id} does not tell {untold} settings that the other tells"


def compare_pixels(first: ImageRecord, second: ImageRecord) -> float | None:
    """The share of pixels that differ visibly; None when the sizes differ or a file cannot be read. Blocks."""
    try:
        one, other = (read_pixels(record)[..., :3] for record in (first, second))
    except DrawThingsError:
        return None
    if one.shape != other.shape:
        return None
    distance = np.abs(one.astype(np.int16) - other).max(axis=2)
    return float((distance >= _VISIBLE).mean())


def describe_share(share: float | None) -> str:
    """``4.1 % of pixels differ``."""
    if share is None:
        return "pixels cannot be compared"
    if not share:
        return "no pixel differs visibly"
    return f"{100 * share:.1f} % of pixels differ" if share >= _LEAST_SHARE else "under 0.1 % of pixels differ"
