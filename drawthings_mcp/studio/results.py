"""What the studio gives back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the library.

    Attributes
    ----------
    id
        Media id such as ``a1``.
    size
        Width and height in pixels, upright.
    story
        How it came about; empty when nothing is known, or told elsewhere.
    """

    id: str
    path: Path
    size: tuple[int, int]
    story: str = ""

    @property
    def source(self) -> Path:
        """What shows it."""
        return self.path


@dataclass(frozen=True, slots=True)
class FoundPictures:
    """What references lead to, each picture once.

    Attributes
    ----------
    notes
        Sentences about what the caller might not expect.
    """

    pictures: tuple[Picture, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MadePicture:
    """A picture that was made from others without a server.

    Attributes
    ----------
    sources
        Ids of the others, in order.
    """

    picture: Picture
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Original:
    """The file of a picture as it is on disk."""

    id: str
    data: bytes = field(repr=False)
    mime_type: str


@dataclass(frozen=True, slots=True)
class SavedVariant:
    """One picture on disk.

    Attributes
    ----------
    id
        Media id such as ``v3``; empty when the catalog could not be written, which a note then says.
    size
        Width and height in pixels of the file.
    """

    id: str
    path: Path
    size: tuple[int, int]
    seed: int


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """Everything there is to say about one call.

    Attributes
    ----------
    inputs
        The library's pictures that it started from.
    sources
        What they were to it: ``canvas a1``, ``moodboard a2 v3``.
    rendered_size
        Width and height that were rendered; larger than the files when they were cropped.
    simulated
        Whether the simulator drew the pictures.
    notes
        Sentences about what was decided for the caller and what went wrong on the side.
    """

    variants: tuple[SavedVariant, ...]
    mode: str
    model_file: str
    model_name: str
    family: str
    preset: str
    steps: int
    guidance_scale: float
    sampler: str
    rendered_size: tuple[int, int]
    seconds: float
    server: str
    simulated: bool = False
    inputs: tuple[Picture, ...] = ()
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The variants; one that got no id goes by its file's name."""
        return tuple(Picture(one.id or one.path.stem, one.path, one.size) for one in self.variants)


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a call would do.

    Attributes
    ----------
    size, rendered_size
        Width and height in pixels of the file, and of what is rendered for it.
    settings
        Key in the app's JSON, value and origin of every setting.
    """

    prompt: str
    negative_prompt: str
    mode: str
    model_file: str
    model_name: str
    family: str
    preset: str
    size: tuple[int, int]
    rendered_size: tuple[int, int]
    sampler: str
    settings: tuple[tuple[str, Any, str], ...]
    notes: tuple[str, ...] = ()


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
