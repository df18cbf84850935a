"""How a picture of the library was made: read from its file or project and from the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, get_args

import anyio.to_thread

from drawthings_mcp.errors import DrawThingsError, InvalidInputError, MissingFileError, UnknownNameError
from drawthings_mcp.faces import Text
from drawthings_mcp.generation import ImageGenerationConfig, SamplerType
from drawthings_mcp.generation.configuration import AppSettings, parse_app_json
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import open_unchanged
from drawthings_mcp.library.records import ImageRecord, parse_id
from drawthings_mcp.limits import UNIT
from drawthings_mcp.metadata.dialect import ImageMetadata, complete_metadata, find_text
from drawthings_mcp.metadata.draw_things_keys import parse_size
from drawthings_mcp.metadata.reading import read_image_metadata_from, read_metadata_from
from drawthings_mcp.params import GenerationMode
from drawthings_mcp.planning.recipe import PictureRecipe
from drawthings_mcp.references.policy import ImportPolicy
from drawthings_mcp.references.resolve import resolve_reference
from drawthings_mcp.search.projects.project_file import ProjectFile, parse_reference
from drawthings_mcp.validation import shorten

_PROJECT = "project://"
_WEB = "https://"
_TOLD = ("prompt", "negative_prompt", "model", "seed", "loras")
"""What a recipe has as its picture's metadata have it."""


@dataclass(frozen=True, slots=True)
class RecordedRecipe:
    """A picture of the library and its recipe.

    Attributes
    ----------
    metadata
        What its file or project says, completed by the library.
    notes
        Sentences about what the caller might not expect.
    """

    record: ImageRecord
    metadata: ImageMetadata
    recipe: PictureRecipe
    notes: tuple[str, ...] = ()


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
    metadata = complete_metadata(found, _read_record(record))
    return RecordedRecipe(record, metadata, _build_recipe(record.id, metadata, own))


def _read_file(record: ImageRecord) -> tuple[ImageMetadata, Mapping[str, Any]]:
    """What the file of a picture says, and our own record in it."""
    if record.path is None:
        return _read_record(record), {}
    try:
        with open_unchanged(record) as file:
            found = read_image_metadata_from(file, name=record.id)
            file.seek(0)
            own = read_metadata_from(file)
    except DrawThingsError:
        return _read_record(record), {}
    return found, own.record if own is not None else {}


def _read_record(record: ImageRecord) -> ImageMetadata:
    dialect = "draw-things" if record.configuration else "plain"
    names = ("width", "height", "prompt", "negative_prompt", "model", "seed", "created", "configuration")
    told = {name: getattr(record, name) for name in names}
    # What was found on the web is recorded with its title.
    return ImageMetadata(dialect, **{**told, "prompt": ""} if record.origin.startswith(_WEB) else told)


def _read_project(origin: str) -> ImageMetadata | None:
    path, entry_id = parse_reference(origin)
    try:
        with ProjectFile(path, follows_links=False) as project:
            entry = next(project.list_entries(entry_id - 1), None)
    except DrawThingsError:
        return None
    return entry.metadata if entry is not None and entry.id == entry_id else None


def _build_recipe(image_id: str, metadata: ImageMetadata, own: Mapping[str, Any]) -> PictureRecipe:
    """The recipe that metadata tell; ``own`` is this package's record in the file, empty for those from elsewhere."""
    settings = _read_settings(metadata)
    mode, preset = (find_text(own.get(name)) for name in ("mode", "preset"))
    return PictureRecipe(
        image_id,
        settings,
        **{name: getattr(metadata, name) for name in _TOLD},
        size=_find_size(metadata, settings, own),
        mode=mode if mode in get_args(GenerationMode) else "",
        preset=preset,
    )


def _read_settings(metadata: ImageMetadata) -> AppSettings:
    try:
        found = parse_app_json(metadata.configuration)
    except InvalidInputError as error:
        found = AppSettings({}, (shorten(str(error)),))
    fields, unknown = dict(found.fields), list(found.unknown)
    # Should the two disagree, what stands by itself was rendered (formats §3.5).
    told = {name: getattr(metadata, name) for name in ("steps", "guidance_scale", "strength")}
    fields.update({name: value for name, value in told.items() if value is not None})
    if metadata.sampler:
        fields.pop("sampler", None)
        sampler = _find_sampler(metadata.sampler)
        fields.update({} if sampler is None else {"sampler": sampler})
        is_whole = sampler is not None and _means(sampler, metadata.sampler)
        unknown += [] if is_whole else [f"sampler {shorten(metadata.sampler)}"]
    for name in ImageGenerationConfig.list_unsendable(fields):
        unknown.append(f"{name} {shorten(fields.pop(name))}")
    whole = ImageGenerationConfig.from_saved(**fields)
    return AppSettings({name: getattr(whole, name) for name in fields}, tuple(unknown))


def _find_sampler(name: str) -> SamplerType | None:
    """The sampler of a name of any program, or of that without a schedule that is not known here."""
    words = name.replace("_", " ").split()
    for count in range(len(words), 0, -1):
        with suppress(UnknownNameError):
            return SamplerType.parse(" ".join(words[:count]))
    return None


def _means(sampler: SamplerType, name: str) -> bool:
    try:
        return SamplerType.parse(name.replace("_", " ")) is sampler
    except UnknownNameError:
        return False


def _find_size(metadata: ImageMetadata, settings: AppSettings, own: Mapping[str, Any]) -> tuple[int, int]:
    """What was asked for: the file's size, unless that is not what the canvas can have been cropped to."""
    asked = parse_size(own.get("requested_size"))
    if asked is not None:
        return asked
    size = metadata.width, metadata.height
    canvas = tuple(settings.fields.get(name, 0) for name in ("width", "height"))
    is_of_canvas = all(0 <= side - kept < UNIT for side, kept in zip(canvas, size, strict=True))
    return size if is_of_canvas or not all(canvas) else (canvas[0], canvas[1])
