"""How a picture of the library was made: read from its file or project and from the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import anyio.to_thread

from drawthings_mcp.errors import DrawThingsError, MissingFileError
from drawthings_mcp.faces import Text
from drawthings_mcp.generation.recipe import PictureRecipe
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import open_unchanged, read_record_metadata
from drawthings_mcp.library.records import ImageRecord, parse_id
from drawthings_mcp.metadata.dialect import ImageMetadata, complete_metadata
from drawthings_mcp.metadata.reading import read_image_metadata_from, read_metadata_from
from drawthings_mcp.metadata.recipe import build_recipe
from drawthings_mcp.references.policy import ImportPolicy
from drawthings_mcp.references.resolve import resolve_reference
from drawthings_mcp.search.projects.project_file import ProjectFile, parse_reference

_PROJECT = "project://"


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
        with ProjectFile(path, follows_links=False) as project:
            entry = next(project.list_entries(entry_id - 1), None)
    except DrawThingsError:
        return None
    return entry.metadata if entry is not None and entry.id == entry_id else None
