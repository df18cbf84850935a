"""What the server has, as rows that can be searched and paged."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from typing import get_args

import anyio.to_thread

from drawthings_mcp.catalog import (
    Catalog,
    CatalogEntry,
    Control,
    Embedding,
    LoRA,
    Model,
    ServerInventory,
    Upscaler,
    find_entry,
)
from drawthings_mcp.faces import Text, join_texts
from drawthings_mcp.limits import UNIT
from drawthings_mcp.params import GenerationMode
from drawthings_mcp.planning.abilities import describe_abilities, list_modes, makes_video
from drawthings_mcp.planning.known import load_known
from drawthings_mcp.presets.collection import PresetCollection, read_presets
from drawthings_mcp.presets.mode_table import (
    choose_recipe,
    choose_variant,
    list_recipes,
    match_family,
    parse_mode_name,
)
from drawthings_mcp.presets.preset import Preset, PresetSource, find_family, list_checkpoints, strip_variant
from drawthings_mcp.search.word_forms import FILLERS
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.servers import Reached

_WORDS = re.compile(r"[^\W_]{3,}")
_PHOTOS = frozenset({"photo", "photos", "photograph", "photographs"})
"""What says nothing about a picture that is looked for, but does about a model."""
_SHORT_WORD = 3


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One line of a listing.

    Attributes
    ----------
    installed
        False for a preset whose files the server lacks; ``detail`` names them.
    modes
        What a model or preset serves; empty where that means nothing.
    purpose
        Speed and what a known model is best for, in at most five words.
    default_for
        Modes for which this is taken when the call names neither model nor preset.
    servers
        Those that have the file, where others have not.
    """

    kind: str
    name: str
    file: str
    family: str
    detail: str = ""
    installed: bool = True
    modes: frozenset[str] = frozenset()
    purpose: str = ""
    default_for: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()

    def describe(self) -> Text:
        """What it is for and what it can do, most telling first."""
        default = f"default for {', '.join(self.default_for)}" if self.default_for else ""
        where = f"on {', '.join(self.servers)}" if self.servers else ""
        return join_texts(default, where, self.purpose, self.detail, by="; ")

    def to_json(self) -> dict[str, object]:
        """As JSON-serialisable dict."""
        row = {**asdict(self), "modes": sorted(self.modes), "default_for": list(self.default_for)}
        return row if row.pop("servers") == () else {**row, "servers": list(self.servers)}


@dataclass(frozen=True, slots=True)
class CatalogListing:
    """A page of what the server has.

    Attributes
    ----------
    total
        Rows that match, on all pages.
    browsing
        Whether the server lists its files; without it only files of presets are known by name.
    notes
        Sentences about presets that could not be read, and that no row has all words.
    """

    rows: tuple[CatalogRow, ...]
    total: int
    offset: int
    server: str
    browsing: bool
    notes: tuple[str, ...] = ()


async def list_catalog(
    reached: Reached,
    settings: Settings,
    kind: str,
    *,
    query: str = "",
    family: str = "",
    mode: str = "",
    offset: int = 0,
    limit: int = 25,
) -> CatalogListing:
    """A page of rows: models that are taken by default first, those for films last; of the
    user's presets, and then of ours, those that can run first, and of these the defaults.

    Of a server that cannot be browsed, those models of the presets that it turns out to have.

    Parameters
    ----------
    kind
        One of ``KINDS``.
    query
        Words in a row's name, file, family or purpose: all of them, or the most where no row has all.
    family, mode
        Keep what belongs to a family, and what serves a mode.
    """
    presets = await anyio.to_thread.run_sync(read_presets, settings.custom_configs, settings.state_dir)
    inventory = reached.inventory
    known = inventory.catalog
    if known is None:
        known = await reached.work_out(partial(_describe_known, inventory, presets))
    family = match_family(family) or family
    defaults = _find_defaults(known, presets)
    listed = chain(
        _list_entries(known, kind, defaults),
        _list_presets(known, presets, defaults) if kind in {"presets", "all"} else (),
    )
    served = [row for row in listed if _serves(row, family, mode)]
    rows, loose = _find_rows(served, query)
    shown = rows[offset : offset + limit]
    await reached.ask(row.file for row in shown)
    return CatalogListing(
        rows=tuple(replace(row, servers=reached.locate(row.file)) for row in shown),
        total=len(rows),
        offset=offset,
        server=reached.name,
        browsing=inventory.catalog is not None,
        notes=(*loose, *(presets.problems if kind in {"presets", "all"} else ())),
    )


def _describe_known(inventory: ServerInventory, presets: PresetCollection) -> Catalog:
    """A catalog of those files of recipes and presets that the server turns out to have."""
    variants = {file for recipe in list_recipes() for file in recipe.checkpoint.files}
    files = frozenset(inventory.list_existing(sorted(variants.union(*(preset.files for preset in presets.presets)))))
    models = {model.file: model for recipe in list_recipes() for model in _list_known_models(recipe, files)}
    return Catalog(models=tuple(models.values()), files=files)


def _list_known_models(recipe: Preset, files: Collection[str]) -> Iterator[Model]:
    known, checkpoint = load_known().models, recipe.checkpoint
    scale = checkpoint.native_side // UNIT
    for file in checkpoint.files:
        if file in files:
            yield known.get(file) or Model(file, recipe.name, checkpoint.version, default_scale=scale)


def _serves(row: CatalogRow, family: str, mode: str) -> bool:
    return (not family or family.lower() == row.family.lower()) and (not mode or mode in row.modes)


def _find_rows(rows: Sequence[CatalogRow], query: str) -> tuple[list[CatalogRow], tuple[Text, ...]]:
    """The rows with all words of a query; without any, those with the most of what it tells, and that said."""
    texts = [(row, f"{row.name} {row.file} {row.family} {row.purpose}".lower()) for row in rows]
    words = query.lower().split()
    if found := [row for row, text in texts if all(word in text for word in words)]:
        return found, ()
    telling = [_cut(word) for word in _WORDS.findall(query.lower()) if word not in FILLERS or word in _PHOTOS]
    counts = [sum(word in text for word in telling) for _, text in texts]
    best = max(counts, default=0)
    if not best:
        return [], ()
    kept = [row for (row, _), count in zip(texts, counts, strict=True) if count == best]
    return kept, (Text("no row has all of {query!r}; these have the most of it", query=query),)


def _cut(word: str) -> str:
    """A word without the ending of a plural: ``photos`` is in ``photographs``."""
    return word[:-1] if len(word) > _SHORT_WORD and word.endswith("s") else word


@dataclass(frozen=True, slots=True)
class _Default:
    """What a mode takes when a call names neither model nor preset."""

    mode: str
    preset: str
    model: str


def _find_defaults(catalog: Catalog, presets: PresetCollection) -> list[_Default]:
    models = {model.file for model in catalog.models}
    found = []
    for mode in get_args(GenerationMode):
        own = presets.find(f"{mode}.auto", own=True)
        recipe = choose_recipe(models, catalog.files, "auto", mode)
        if own is not None and own.model:
            model = find_entry(catalog.models, own.model)
            found.append(_Default(mode, own.name, model.file if model else own.model))
        elif recipe is not None:
            found.append(_Default(mode, own.name if own else recipe.recipe.name, recipe.model))
    return found


def _list_entries(catalog: Catalog, section: str, defaults: Sequence[_Default] = ()) -> Iterator[CatalogRow]:
    models = sorted(catalog.models, key=partial(_rank, defaults))
    for entry in chain(models, (entry for entry in catalog if not isinstance(entry, Model))):
        listed_in, kind = _SECTIONS[type(entry)]
        if section in {listed_in, "all"}:
            family = find_family(entry.version)
            row = CatalogRow(kind, entry.name, entry.file, family, _describe(entry))
            yield _add_purpose(row, entry, defaults) if isinstance(entry, Model) else row


def _rank(defaults: Sequence[_Default], model: Model) -> tuple[int, bool]:
    """The defaults in the order of their modes, then what makes pictures, then what makes films."""
    first = next((place for place, default in enumerate(defaults) if default.model == model.file), len(defaults))
    return first, makes_video(model)


def _add_purpose(row: CatalogRow, model: Model, defaults: Sequence[_Default]) -> CatalogRow:
    known = list_checkpoints().get(strip_variant(model.file))
    return replace(
        row,
        modes=frozenset(list_modes(model)),
        purpose=known.purpose if known else "",
        default_for=tuple(default.mode for default in defaults if default.model == model.file),
    )


def _describe(entry: CatalogEntry) -> Text:
    match entry:
        case Model():
            where = "; runs in the vendor's cloud" if entry.remote else ""
            return Text(f"{entry.native_side} px; {describe_abilities(entry)}{where}")
        case LoRA():
            weight = f"; weight {entry.default_weight:g}" if entry.default_weight is not None else ""
            trigger = "; trigger words: {trigger}" if entry.prefix.strip() else ""
            return Text(
                f"fits {{version}}{weight}{trigger}", version=_name_version(entry), trigger=entry.prefix.strip()
            )
        case Control():
            return Text("fits {version}; {kind}", version=_name_version(entry), kind=entry.modifier or entry.type)
        case Upscaler():
            return Text(f"{entry.scale_factor}×")
        case Embedding():
            return Text("fits {version}; keyword {keyword}", version=_name_version(entry), keyword=entry.keyword)
        case _:
            return Text("")


def _name_version(entry: CatalogEntry) -> Text | str:
    """The models that something fits, by the name that people know."""
    known = load_known().versions.get(entry.version)
    return Text(known.name) if known is not None else entry.version


def _list_presets(
    catalog: Catalog, presets: PresetCollection, defaults: Sequence[_Default] = ()
) -> Iterator[CatalogRow]:
    own = {preset.name for preset in presets.presets if preset.is_own}
    rows = _describe_presets(catalog, presets, defaults)
    yield from sorted(rows, key=lambda row: (row.name not in own, not row.installed, not row.default_for))


def _describe_presets(
    catalog: Catalog, presets: PresetCollection, defaults: Sequence[_Default]
) -> Iterator[CatalogRow]:
    for preset in presets.presets:
        found = _find_model(preset, catalog)
        files = [file for file in preset.files if file != preset.model or found is None]
        lacking = [file for file in files if file not in catalog.files]
        model = found or load_known().models.get(preset.model)
        yield CatalogRow(
            kind="preset",
            name=preset.name,
            file=preset.model,
            family=find_family(model.version) if model else "",
            detail=Text(_ORIGINS[preset.source] + ("; lacks {files}" if lacking else ""), files=tuple(lacking)),
            installed=not lacking,
            modes=_list_preset_modes(preset, model),
            default_for=tuple(default.mode for default in defaults if default.preset == preset.name),
        )


def _find_model(preset: Preset, catalog: Catalog) -> Model | None:
    """The model that would be used for a preset: for ours another precision of it will do."""
    found = find_entry(catalog.models, preset.model)
    if found is not None or preset.is_own:
        return found
    variant = choose_variant(preset.model, {model.file for model in catalog.models})
    return find_entry(catalog.models, variant) if variant is not None else None


_ORIGINS: Mapping[PresetSource, str] = {
    "own": "yours, in the presets folder",
    "app": "yours, from the app",
    "built in": "built in",
}


def _list_preset_modes(preset: Preset, model: Model | None) -> frozenset[str]:
    """The mode that the name of a user's preset stands for, or else the modes of its model."""
    mode, _ = parse_mode_name(preset.name)
    if preset.is_own and mode:
        return frozenset({mode})
    return frozenset(list_modes(model)) if model else frozenset()


_SECTIONS: Mapping[type[CatalogEntry], tuple[str, str]] = {
    Model: ("models", "model"),
    LoRA: ("loras", "LoRA"),
    Control: ("controls", "control"),
    Upscaler: ("upscalers", "upscaler"),
    Embedding: ("embeddings", "embedding"),
}
"""What can be listed, and what a row of it is called."""

KINDS = (*(section for section, _ in _SECTIONS.values()), "presets", "all")
