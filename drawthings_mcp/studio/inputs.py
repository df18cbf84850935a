"""The pictures that a call names → their pixels, and which of the library's pictures they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import read_pixels
from drawthings_mcp.library.records import Parent, ParentRole
from drawthings_mcp.params import GenerateArguments
from drawthings_mcp.references.policy import ImportPolicy
from drawthings_mcp.references.resolve import resolve_reference
from drawthings_mcp.studio.lineage import list_sources
from drawthings_mcp.studio.results import Picture

if TYPE_CHECKING:
    from drawthings_mcp.tensors.pixels import ImageLike


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What a call starts from.

    Attributes
    ----------
    arguments
        Those of the call, with pixels in place of references.
    pictures
        The library's pictures among them, each once, in the order of the call: canvas, moodboard, mask, maps.
    parents
        Which picture was what; pictures that were given as pixels have no id and are left out.
    notes
        Sentences about what the caller might not expect.
    """

    arguments: GenerateArguments
    pictures: tuple[Picture, ...] = ()
    parents: tuple[Parent, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """``canvas a1``, ``moodboard a2 v3``: each role once."""
        return list_sources(self.parents)


async def resolve_inputs(arguments: GenerateArguments, catalog: ImageCatalog, policy: ImportPolicy) -> Inputs:
    """Follows the references of a call: texts; pictures that are given as such are left as they are.

    Raises
    ------
    DrawThingsError
        A reference leads nowhere, or to what cannot be used; names the argument.
    """
    reader = _Reader(catalog, policy)
    canvas = await reader.read("canvas", arguments.canvas)
    moodboard = [await reader.read("moodboard", picture) for picture in arguments.moodboard]
    mask = await reader.read("mask", arguments.mask)
    hints = [(kind, await reader.read("control", picture), weight) for kind, picture, weight in arguments.hints]
    return Inputs(
        replace(arguments, canvas=canvas, moodboard=tuple(moodboard), mask=mask, hints=tuple(hints)),
        tuple(reader.pictures.values()),
        tuple(reader.parents),
        tuple(dict.fromkeys(reader.notes)),
    )


class _Reader:
    def __init__(self, catalog: ImageCatalog, policy: ImportPolicy) -> None:
        self._catalog = catalog
        self._policy = policy
        self.pictures: dict[str, Picture] = {}
        self.parents: list[Parent] = []
        self.notes: list[str] = []

    async def read(self, role: ParentRole, picture: ImageLike | None) -> Any:
        if not isinstance(picture, str):
            return picture
        try:
            resolved = await resolve_reference(picture, self._catalog, self._policy)
            pixels = await anyio.to_thread.run_sync(read_pixels, resolved.record)
        except DrawThingsError as error:
            error.about(role)
            raise
        record = resolved.record
        assert record.path is not None  # read_pixels refuses what has no file
        self.pictures[record.id] = Picture(record.id, record.path, (pixels.shape[1], pixels.shape[0]))
        self.parents.append(Parent(role, record.id))
        self.notes += resolved.notes
        return pixels
