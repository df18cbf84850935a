"""What a server has: its catalog of models, LoRAs, controls, upscalers and embeddings, and its answers about files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from drawthings_mcp.errors import UnknownNameError
from drawthings_mcp.faces import Text
from drawthings_mcp.limits import UNIT
from drawthings_mcp.quoting import key_of
from drawthings_mcp.validation import find_nearest, strip_separators


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
    """What the model does besides text-to-image, e.g. ``kontext`` or ``inpainting`` (protocol §8.3)."""
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

    def compatible_loras(self, model: Model) -> tuple[LoRA, ...]:
        """The LoRAs that a model takes, in the server's order."""
        return tuple(lora for lora in self.loras if accepts_lora(model.version, lora.version))

    def compatible_controls(self, model: Model) -> tuple[Control, ...]:
        """The controls that a model takes, in the server's order."""
        return tuple(control for control in self.controls if control.version == model.version)


class UnansweredError(Exception):
    """A server has to be asked about files before work can go on.

    Attributes
    ----------
    files
        Names to ask about with ``files_exist``; the answers belong into ``ServerInventory.answers``.
    """

    def __init__(self, files: Sequence[str]) -> None:
        super().__init__(*files)
        self.files = tuple(files)


@dataclass(slots=True)
class ServerInventory:
    """What one server has.

    It comes from the reply to an echo when the server lets its models be browsed, and from answers about single files
    otherwise, asked when they are needed and remembered.

    Attributes
    ----------
    catalog
        None when the server does not let its models be browsed. Proxies list files without saying what they are.
    answers
        Whether the server has single files, as far as it was asked; counts before the catalog.
    can_ask
        Whether it can be asked about more files.
    """

    catalog: Catalog | None = None
    answers: dict[str, bool] = field(default_factory=dict)
    can_ask: bool = False

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that the server lists; none without browsing."""
        return self.catalog.models if self.catalog else ()

    @property
    def loras(self) -> tuple[LoRA, ...]:
        """The LoRAs that the server lists; none without browsing."""
        return self.catalog.loras if self.catalog else ()

    @property
    def controls(self) -> tuple[Control, ...]:
        """The controls that the server lists; none without browsing."""
        return self.catalog.controls if self.catalog else ()

    @property
    def upscalers(self) -> tuple[Upscaler, ...]:
        """The upscalers that the server lists; none without browsing."""
        return self.catalog.upscalers if self.catalog else ()

    def has(self, file: str) -> bool | None:
        """Whether the server has a file; None when that is not known and cannot be asked.

        Raises
        ------
        UnansweredError
            It has to be asked first.
        """
        self.ask([file])
        if file in self.answers:
            return self.answers[file]
        if self.catalog is None:
            return None
        return file in self.catalog.files or any(entry.file == file for entry in self.catalog)

    def list_existing(self, files: Iterable[str]) -> list[str]:
        """Those of some files that the server has, in their order; raises as ``has``, once for all."""
        wanted = list(files)
        self.ask(wanted)
        return [file for file in wanted if self.has(file)]

    def ask(self, files: Iterable[str]) -> None:
        """Sees to it that all answers about files are there.

        Raises
        ------
        UnansweredError
            They are not; names the files that have to be asked about.
        """
        if self.catalog is None and self.can_ask:
            unanswered = [file for file in dict.fromkeys(files) if file and file not in self.answers]
            if unanswered:
                raise UnansweredError(unanswered)


def merge_inventories(inventories: Sequence[ServerInventory]) -> ServerInventory:
    """What several servers have together, in the words of the first that lists a file; of one its own."""
    if len(inventories) == 1:
        return inventories[0]
    catalogs = [inventory.catalog for inventory in inventories if inventory.catalog is not None]
    answers = {
        file: any(inventory.answers.get(file) for inventory in inventories)
        for file in dict.fromkeys(file for inventory in inventories for file in inventory.answers)
    }
    can_ask = any(inventory.can_ask for inventory in inventories)
    if not catalogs:
        return ServerInventory(None, answers, can_ask)
    merged = Catalog(
        models=_join(*(catalog.models for catalog in catalogs)),
        loras=_join(*(catalog.loras for catalog in catalogs)),
        controls=_join(*(catalog.controls for catalog in catalogs)),
        upscalers=_join(*(catalog.upscalers for catalog in catalogs)),
        embeddings=_join(*(catalog.embeddings for catalog in catalogs)),
        files=frozenset[str]().union(*(catalog.files for catalog in catalogs)),
    )
    return ServerInventory(merged, {file: True for file, is_there in answers.items() if is_there}, can_ask)


def _join(*lists: Sequence[EntryT]) -> tuple[EntryT, ...]:
    by_file: dict[str, EntryT] = {}
    for entry in (entry for entries in lists for entry in entries):
        by_file.setdefault(entry.file, entry)
    return tuple(by_file.values())


def find_entry(entries: Sequence[EntryT], name: str) -> EntryT | None:
    """The entry with this file or display name, without regard to case; the ending .ckpt may be left out.

    When there is none, punctuation and blanks do not count either, as long as one file remains.
    A name as a model reads it, quoted and cut, is found in the same way.
    """
    wanted = name.strip().lower()
    for entry in entries:
        if wanted in {entry.file.lower(), entry.file.lower().removesuffix(".ckpt")}:
            return entry
    named = next((entry for entry in entries if entry.name.lower() == wanted), None)
    return named or _find_alike(entries, _strip(name))


def _find_alike(entries: Sequence[EntryT], plain: str) -> EntryT | None:
    labels = ((entry, (entry.name, entry.file, entry.file.removesuffix(".ckpt"))) for entry in entries)
    alike = {entry.file: entry for entry, names in labels if plain and plain in map(_strip, names)}
    return next(iter(alike.values())) if len(alike) == 1 else None


def _strip(name: str) -> str:
    return strip_separators(key_of(name))


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
        text = Text("There is no {what} {name!r}: the server lists none at all.", what=what, name=name)
        raise UnknownNameError(text, name=name)
    labels = {label: entry for entry in entries for label in (entry.file, entry.name)}
    ranked = [labels[label] for label in find_nearest(name, labels, count=len(labels))]
    nearest = list(dict.fromkeys(entry.file for entry in ranked))[:3]
    raise UnknownNameError(
        Text(
            "There is no {what} {name!r} on the server. Name one of the nearest: {nearest}.",
            what=what,
            name=name,
            nearest=tuple(nearest),
        ),
        name=name,
        nearest=nearest,
    )
