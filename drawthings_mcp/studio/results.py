"""What the studio gives back, and how that is described in a few words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO

from drawthings_mcp.faces import Face, Phrase, Text
from drawthings_mcp.limits import MAX_VARIANTS
from drawthings_mcp.quoting import MAX_PROMPT, change_texts, quote

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from drawthings_mcp.attachments.preview import PreparedPicture
    from drawthings_mcp.library.records import ImageRecord, Parent
    from drawthings_mcp.planning.compose import Plan
    from drawthings_mcp.planning.sweep import Axis
    from drawthings_mcp.tensors.pixels import ImageLike

_MAX_PROMPT = 60
_NAMED = frozenset({"preset", "recipe", "recommended"})
"""Places where settings come from that have names."""


@dataclass(frozen=True, slots=True)
class FoundPictures:
    """The pictures that references lead to, each once, and notes about what the caller might not expect."""

    pictures: tuple[ImageRecord, ...]
    notes: tuple[str, ...] = ()

    def with_notes(self, shown: Sequence[object]) -> FoundPictures:
        """The same, with what is said of pictures that are shown otherwise."""
        return replace(self, notes=(*self.notes, *_list_notes(shown)))


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """A picture as it is to be seen, where that is not the picture itself: a part of it, or what it is a mask of.

    Attributes
    ----------
    note
        Which of both.
    """

    id: str
    pixels: NDArray[np.uint8] = field(repr=False)
    note: Text

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def source(self) -> ImageLike:
        """What shows it."""
        return self.pixels


@dataclass(frozen=True, slots=True)
class MadePicture:
    """A picture that was made from others without a server; the others are its parents."""

    picture: ImageRecord
    notes: tuple[str, ...] = ()

    def with_notes(self, shown: Sequence[object]) -> MadePicture:
        """The same, with what is said of a picture that is shown otherwise."""
        return replace(self, notes=(*self.notes, *_list_notes(shown)))


def _list_notes(shown: Sequence[object]) -> list[Text]:
    return [picture.note for picture in shown if isinstance(picture, ShownPicture)]


_MIME_TYPES: Mapping[str, str] = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "HEIF": "image/heic"}
"""Formats whose media type is not their name in lower case."""


def find_mime_type(file_format: str) -> str:
    """The media type of a format by Pillow's name."""
    return _MIME_TYPES.get(file_format, f"image/{file_format.lower() or 'png'}")


@dataclass(frozen=True, slots=True)
class OpenedPicture:
    """The file of a picture, open for reading and checked to be what was recorded."""

    id: str
    path: Path
    file: BinaryIO = field(repr=False)
    mime_type: str
    size_bytes: int
    sha256: str


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
    prepared: PreparedPicture | None = field(default=None, compare=False, repr=False)
    """The same, ready to be shown, where that was asked for."""

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
    def source(self) -> ImageLike | PreparedPicture:
        """What shows it."""
        if self.prepared is not None:
            return self.prepared
        return self.record.source if self.pixels is None else self.pixels


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """What one call made.

    Attributes
    ----------
    plan
        Of the last picture.
    inputs, parents
        The library's pictures that it started from, and the role of each.
    axes
        What varies among the pictures, across first, then down; they come row by row.
    sheet
        All of them on one labelled picture, where something varies.
    servers
        Who rendered, each once.
    simulated
        Whether the simulator drew the pictures.
    notes
        Sentences about what was decided for the caller and what did not go as planned.
    """

    plan: Plan
    variants: tuple[SavedImage, ...]
    seconds: float
    servers: tuple[str, ...]
    simulated: bool = False
    inputs: tuple[ImageRecord, ...] = ()
    parents: tuple[Parent, ...] = ()
    notes: tuple[str, ...] = ()
    axes: tuple[Axis, ...] = ()
    sheet: ImageRecord | None = None

    @property
    def shown(self) -> Sequence[SavedImage | ImageRecord]:
        """What stands for the result: the sheet, or else the pictures."""
        return self.variants if self.sheet is None else (self.sheet,)

    @property
    def server(self) -> str:
        """All of them."""
        return ", ".join(self.servers)

    @property
    def masked(self) -> dict[str, ImageRecord]:
        """The canvas by the id of its mask; empty when the call had none of the library's."""
        by_id = {picture.id: picture for picture in self.inputs}
        roles = {parent.role: by_id[parent.id] for parent in self.parents if parent.id in by_id}
        return {roles["mask"].id: roles["canvas"]} if {"mask", "canvas"} <= roles.keys() else {}

    @property
    def sources(self) -> tuple[str, ...]:
        """See ``list_sources``."""
        return list_sources(self.parents)

    def without_pixels(self) -> GenerationResult:
        """The same to be kept: pixels stay in memory only until they are shown."""
        region = self.plan.region.without_pixels() if self.plan.region is not None else None
        variants = tuple(replace(image, pixels=None, prepared=None) for image in self.variants)
        return replace(self, plan=replace(self.plan, region=region, alpha=None), variants=variants)


def describe_saved(images: Sequence[SavedImage]) -> Text:
    """Ids and paths of the pictures of a call that ended before its time."""
    if not images:
        return Text("No picture was finished before that.")
    if len(images) > MAX_VARIANTS:
        text = "Saved before that: {ids} in {folder}."
        return Text(text, ids=Phrase(join_ids([image.id for image in images])), folder=images[0].path.parent)
    pictures = tuple(Text("{path} ({id})", id=image.id, path=image.path) for image in images)
    return Text("Saved before that: {pictures}.", pictures=pictures)


def join_ids(ids: Sequence[str]) -> str:
    """Ids in a few characters: ``v1–v9``, ``v1–v3 v5``."""
    runs: list[tuple[str, str]] = []
    for name in ids:
        if runs and name[1:].isdecimal() and name == f"{runs[-1][1][0]}{int(runs[-1][1][1:] or 0) + 1}":
            runs[-1] = runs[-1][0], name
        else:
            runs.append((name, name))
    return " ".join(first if first == last else f"{first}–{last}" for first, last in runs)


def describe_axes(axes: Sequence[Axis]) -> str:
    """What a sheet shows: ``steps 4, 8 across; seed 1, 2 down``; how many panels when each has a prompt of its own."""
    if not axes:
        return ""
    if len(axes) == 1 and axes[0].name == "prompt":
        return f"{len(axes[0].labels)} prompts in turn"
    places = ("across", "down") if len(axes) > 1 else ("in turn",)
    return "; ".join(f"{axis.name} {', '.join(axis.labels)} {place}" for axis, place in zip(axes, places, strict=True))


def list_sources(parents: Sequence[Parent]) -> tuple[str, ...]:
    """``canvas a1``, ``moodboard a2 v3``: each role once."""
    roles = dict.fromkeys(parent.role for parent in parents)
    ids = {role: [parent.id for parent in parents if parent.role == role] for role in roles}
    return tuple(f"{role} {' '.join(names)}" for role, names in ids.items())


def describe_model(plan: Plan, face: Face) -> str:
    """``edit with flux.ckpt (FLUX, flux); preset none``."""
    family = f", {plan.family}" if plan.family else ""
    preset = face.quote(plan.preset) if plan.preset else "none"
    return f"{plan.mode} with {face.label(plan.model.file)} ({face.quote(plan.model.name)}{family}); preset {preset}"


def describe_plan(plan: Plan, face: Face) -> str:
    """Every setting of a call, one line for each place where settings came from, the app's defaults last."""
    size, rendered_size = (plan.size.width, plan.size.height), plan.size.rendered
    rendered = "" if size == rendered_size else f", rendered at {_join(rendered_size)} and cropped"
    negative_prompt = plan.requests[0].negative_prompt
    return "\n".join(
        [
            "dry run: nothing was rendered",
            describe_model(plan, face),
            f"size {_join(size)}{rendered}; sampler {plan.configuration.sampler.display_name}",
            *([f"negative prompt: {face.quote(negative_prompt, MAX_PROMPT)}"] if negative_prompt else []),
            *_describe_settings(plan, face),
            *(f"note: {face.word(note)}" for note in plan.notes),
        ]
    )


def _describe_settings(plan: Plan, face: Face) -> list[str]:
    by_origin: dict[str, list[str]] = {}
    for key, value, origin in plan.list_settings():
        shown = json.dumps(change_texts(value, face.label), ensure_ascii=False)
        by_origin.setdefault(origin, []).append(f"{key} {shown}")
    defaults = by_origin.pop("default", [])
    lines = [f"{_describe_source(origin, face)}: {', '.join(settings)}" for origin, settings in by_origin.items()]
    return [*lines, f"default: {', '.join(defaults)}"]


def _describe_source(origin: str, face: Face) -> str:
    """Where a setting came from; what follows the kind of place is a name, ``preset Mine``."""
    below, plus, call = origin.partition(" + ")
    kind, _, name = below.partition(" ")
    return f"{kind} {face.quote(name)}{plus}{call}" if kind in _NAMED and name else origin


def _join(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def describe_origin(record: ImageRecord) -> str:
    """How a picture came about: ``“make it night” seed 7 from canvas v2``; empty when nothing is known."""
    sources = list_sources(record.parents)
    parts = (
        quote(record.prompt, _MAX_PROMPT) if record.prompt.strip() else "",
        f"seed {record.seed}" if record.seed is not None else "",
        f"from {', '.join(sources)}" if sources else "",
    )
    return " ".join(filter(None, parts))
