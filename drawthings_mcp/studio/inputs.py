"""The pictures that a call names → their pixels, and which of the library's pictures they are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import anyio.to_thread

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.faces import Text
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import read_pixels
from drawthings_mcp.library.records import ImageRecord, Parent, ParentRole
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.references.policy import ImportPolicy
from drawthings_mcp.references.resolve import resolve_reference


@dataclass(slots=True)
class Inputs:
    """What a call starts from.

    Attributes
    ----------
    pictures
        The library's pictures, each once, by id, in the order of the call: canvas, moodboard, mask, maps.
    parents
        The role of each; pictures that were given as pixels have no id and are left out.
    notes
        Sentences about what the caller might not expect.
    """

    pictures: dict[str, ImageRecord] = field(default_factory=dict)
    parents: list[Parent] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


async def resolve_inputs(
    params: GenerateParams, catalog: ImageCatalog, policy: ImportPolicy
) -> tuple[GenerateParams, Inputs]:
    """The call with pixels in place of references, and what they are. Errors name the parameter."""
    inputs, count = Inputs(), len(params.moodboard)

    async def read(role: ParentRole, picture: Any, place: str = "") -> Any:
        if not isinstance(picture, str) or not picture:
            return picture
        try:
            resolved = await resolve_reference(picture, catalog, policy)
            pixels = await anyio.to_thread.run_sync(read_pixels, resolved.record)
        except DrawThingsError as error:
            if place:
                error.problem = Text("{place}{problem}", place=place, problem=error.problem)
            error.about("hints" if role == "control" else role)
            raise
        record = replace(resolved.record, width=pixels.shape[1], height=pixels.shape[0])
        inputs.pictures[record.id] = record
        inputs.parents.append(Parent(role, record.id))
        inputs.notes += [note for note in resolved.notes if note not in inputs.notes]
        return pixels

    resolved = params.replace(
        canvas=await read("canvas", params.canvas),
        moodboard=tuple(
            [
                await read("moodboard", picture, f"picture {place} of {count}: " if count > 1 else "")
                for place, picture in enumerate(params.moodboard, 1)
            ]
        ),
        mask=await read("mask", params.mask),
        hints=tuple([(kind, await read("control", picture), weight) for kind, picture, weight in params.hints]),
    )
    return resolved, inputs
