"""What the studio gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from drawthings_mcp.library.records import ImageRecord, Parent
    from drawthings_mcp.planning.compose import Plan
    from drawthings_mcp.tensors.pixels import ImageLike


@dataclass(frozen=True, slots=True)
class FoundPictures:
    """What references lead to, each picture once.

    Attributes
    ----------
    notes
        Sentences about what the caller might not expect.
    """

    pictures: tuple[ImageRecord, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MadePicture:
    """A picture that was made from others without a server; the others are its parents."""

    picture: ImageRecord
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Original:
    """The file of a picture as it is on disk."""

    id: str
    data: bytes = field(repr=False)
    mime_type: str


@dataclass(frozen=True, slots=True)
class SavedImage:
    """One generated picture on disk.

    Attributes
    ----------
    record
        Its id is empty when the catalog could not be written, which a note then says.
    pixels
        ``(H, W, C)`` uint8, to make previews of; None once the result was shown.
    """

    record: ImageRecord
    pixels: NDArray[np.uint8] | None = field(default=None, compare=False, repr=False)

    @property
    def id(self) -> str:
        """Media id such as ``v3``; the name of the file when it has none."""
        return self.record.id or self.path.stem

    @property
    def path(self) -> Path:
        """The file."""
        assert self.record.path is not None
        return self.record.path

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the file."""
        return self.record.size

    @property
    def seed(self) -> int:
        """The one that was used."""
        assert self.record.seed is not None
        return self.record.seed

    @property
    def source(self) -> ImageLike:
        """What shows it."""
        return self.path if self.pixels is None else self.pixels


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """What came of one call.

    Attributes
    ----------
    plan
        What was sent.
    inputs
        The library's pictures that it started from.
    parents
        What they were to it.
    simulated
        Whether the simulator drew the pictures.
    notes
        Sentences about what was decided for the caller and what went wrong on the side.
    """

    plan: Plan
    variants: tuple[SavedImage, ...]
    seconds: float
    server: str
    simulated: bool = False
    inputs: tuple[ImageRecord, ...] = ()
    parents: tuple[Parent, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """``canvas a1``, ``moodboard a2 v3``: each role once."""
        return list_sources(self.parents)

    def without_pixels(self) -> GenerationResult:
        """The same for keeping: pictures are in memory only until they are shown."""
        return replace(self, variants=tuple(replace(image, pixels=None) for image in self.variants))


def list_sources(parents: Sequence[Parent]) -> tuple[str, ...]:
    """``canvas a1``, ``moodboard a2 v3``: each role once."""
    roles = dict.fromkeys(parent.role for parent in parents)
    ids = {role: [parent.id for parent in parents if parent.role == role] for role in roles}
    return tuple(f"{role} {' '.join(names)}" for role, names in ids.items())


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One line of a listing.

    Attributes
    ----------
    installed
        False for a preset whose files the server lacks; ``detail`` names them.
    modes
        What a model or preset serves; empty where that means nothing.
    """

    kind: str
    name: str
    file: str
    family: str
    detail: str = ""
    installed: bool = True
    modes: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, object]:
        """For programs that read listings."""
        return {**asdict(self), "modes": sorted(self.modes)}


@dataclass(frozen=True, slots=True)
class CatalogListing:
    """A page of what the server offers.

    Attributes
    ----------
    total
        Rows that match, on all pages.
    browsing
        Whether the server lists its files; without it only files of presets are known by name.
    notes
        Sentences about presets that could not be read.
    """

    rows: tuple[CatalogRow, ...]
    total: int
    offset: int
    server: str
    browsing: bool
    notes: tuple[str, ...] = ()
