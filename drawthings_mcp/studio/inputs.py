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
from drawthings_mcp.tensors.pixels import ImageLike


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
    """The call with pictures in place of references, and what they are. Errors name the parameter.

    Canvas and mask are read here, since their sizes decide about the call. Of the others, which may be many, come the
    files: the plan reads one after the other and keeps them as small as the request has them.
    """
    inputs, count = Inputs(), len(params.moodboard)

    async def read(role: ParentRole, picture: Any, place: str = "") -> Any:
        if not isinstance(picture, str) or not picture:
            return picture
        try:
            resolved = await resolve_reference(picture, catalog, policy)
            record, source = await anyio.to_thread.run_sync(_read, resolved.record, role)
        except DrawThingsError as error:
            if place:
                error.problem = Text("{place}{problem}", place=place, problem=error.problem)
            error.about("hints" if role == "control" else role)
            raise
        inputs.pictures[record.id] = record
        inputs.parents.append(Parent(role, record.id))
        inputs.notes += [note for note in resolved.notes if note not in inputs.notes]
        return source

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


def _read(record: ImageRecord, role: ParentRole) -> tuple[ImageRecord, ImageLike]:
    """The record with the size of its picture, and the picture."""
    if role not in {"canvas", "mask"} and record.width:
        return record, record.source
    pixels = read_pixels(record)
    sized = replace(record, width=pixels.shape[1], height=pixels.shape[0])
    return sized, pixels if role in {"canvas", "mask"} else record.source
