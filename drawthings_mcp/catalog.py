"""What a server offers: models, LoRAs, controls, upscalers and embeddings, as typed values.

Knows nothing of messages or connections; ``wire.catalog`` makes these values from a reply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from drawthings_mcp.errors import UnknownNameError
from drawthings_mcp.limits import UNIT
from drawthings_mcp.validation import find_nearest


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """Something with a file on the server.

    Attributes
    ----------
    file
        Name of the file, the identity of an entry everywhere.
    name
        Display name.
    version
        Architecture such as ``z_image`` or ``flux1``; entries work together only when theirs are the same.
        Upscalers have none.
    specification
        The server's own JSON object, for a metadata override.
    """

    file: str
    name: str
    version: str = ""
    specification: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Model(CatalogEntry):
    """A checkpoint."""

    modifier: str = "none"
    """What the model does beside text-to-image, e.g. ``kontext`` or ``inpainting`` (protocol §8.3)."""
    default_scale: int = 8
    """Side of the native square, in units of 64 pixels."""
    guidance_embed: bool = False
    remote: bool = False
    """Runs in the vendor's cloud, not on this server."""

    @property
    def native_side(self) -> int:
        """Side in pixels of the square that the model is tuned for."""
        return self.default_scale * UNIT


@dataclass(frozen=True, slots=True)
class LoRA(CatalogEntry):
    """A LoRA."""

    prefix: str = ""
    """Trigger words."""
    modifier: str = "none"
    default_weight: float | None = None


@dataclass(frozen=True, slots=True)
class Control(CatalogEntry):
    """A ControlNet, adapter or the like."""

    type: str = ""
    modifier: str = ""


@dataclass(frozen=True, slots=True)
class Upscaler(CatalogEntry):
    """An upscaler."""

    scale_factor: int = 2


@dataclass(frozen=True, slots=True)
class Embedding(CatalogEntry):
    """A textual inversion."""

    keyword: str = ""


EntryT = TypeVar("EntryT", bound=CatalogEntry)

_LORA_HOSTS: Mapping[str, frozenset[str]] = {"v1": frozenset({"kandinsky2.1"})}
"""Versions of models that also take the LoRAs of another version (protocol §2.3)."""


def accepts_lora(model_version: str, lora_version: str) -> bool:
    """Whether a model of one version takes a LoRA of another; a server skips all others without a word."""
    return lora_version == model_version or model_version in _LORA_HOSTS.get(lora_version, ())


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything a server lists.

    Attributes
    ----------
    files
        Every checkpoint file in its folders, text encoders and the like included.
    """

    models: tuple[Model, ...] = ()
    loras: tuple[LoRA, ...] = ()
    controls: tuple[Control, ...] = ()
    upscalers: tuple[Upscaler, ...] = ()
    embeddings: tuple[Embedding, ...] = ()
    files: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[CatalogEntry]:
        for entries in (self.models, self.loras, self.controls, self.upscalers, self.embeddings):
            yield from entries

    def get_model(self, name: str) -> Model:
        """The model of a file or display name; see ``get_entry``."""
        return get_entry(self.models, name, "model")

    def get_lora(self, name: str) -> LoRA:
        """The LoRA of a file or display name; see ``get_entry``."""
        return get_entry(self.loras, name, "LoRA")

    def get_control(self, name: str) -> Control:
        """The control of a file or display name; see ``get_entry``."""
        return get_entry(self.controls, name, "control")

    def get_upscaler(self, name: str) -> Upscaler:
        """The upscaler of a file or display name; see ``get_entry``."""
        return get_entry(self.upscalers, name, "upscaler")

    def get_embedding(self, name: str) -> Embedding:
        """The embedding of a file, display name or keyword; see ``get_entry``."""
        by_keyword = (entry for entry in self.embeddings if entry.keyword.lower() == name.strip().lower())
        return next(by_keyword, None) or get_entry(self.embeddings, name, "embedding")

    def find_model(self, name: str) -> Model | None:
        """The model of a file or display name, or None; see ``find_entry``."""
        return find_entry(self.models, name)

    def find_lora(self, name: str) -> LoRA | None:
        """The LoRA of a file or display name, or None; see ``find_entry``."""
        return find_entry(self.loras, name)

    def find_control(self, name: str) -> Control | None:
        """The control of a file or display name, or None; see ``find_entry``."""
        return find_entry(self.controls, name)

    def compatible_loras(self, model: Model) -> tuple[LoRA, ...]:
        """The LoRAs that a model takes, in the server's order."""
        return tuple(lora for lora in self.loras if accepts_lora(model.version, lora.version))

    def compatible_controls(self, model: Model) -> tuple[Control, ...]:
        """The controls that a model takes, in the server's order."""
        return tuple(control for control in self.controls if control.version == model.version)


def find_entry(entries: Sequence[EntryT], name: str) -> EntryT | None:
    """The entry with this file or display name, without regard to case; the ending .ckpt may be left out."""
    wanted = name.strip().lower()
    for entry in entries:
        if wanted in {entry.file.lower(), entry.file.lower().removesuffix(".ckpt")}:
            return entry
    return next((entry for entry in entries if entry.name.lower() == wanted), None)


def get_entry(entries: Sequence[EntryT], name: str, what: str) -> EntryT:
    """The entry with this file or display name.

    Raises
    ------
    UnknownNameError
        There is none; the text names the nearest three.
    """
    found = find_entry(entries, name)
    if found is not None:
        return found
    if not entries:
        raise UnknownNameError(f"There is no {what} {name!r}: the server lists none at all.", name=name)
    labels = {label: entry for entry in entries for label in (entry.file, entry.name)}
    ranked = [labels[label] for label in find_nearest(name, labels, count=len(labels))]
    nearest = list(dict.fromkeys(entry.file for entry in ranked))[:3]
    raise UnknownNameError(
        f"There is no {what} {name!r} on the server. Name one of the nearest: {', '.join(nearest)}.",
        name=name,
        nearest=nearest,
    )
