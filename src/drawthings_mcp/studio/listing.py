"""What the server offers, as rows that can be searched and paged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from drawthings_mcp.catalog import Catalog, CatalogEntry, Control, Embedding, LoRA, Model, Upscaler, find_entry
from drawthings_mcp.limits import UNIT
from drawthings_mcp.presets import Recipe, find_family, list_recipes
from drawthings_mcp.studio.abilities import describe_abilities, list_modes
from drawthings_mcp.studio.connection import Connection
from drawthings_mcp.studio.results import CatalogListing, CatalogRow


async def list_catalog(
    connection: Connection,
    catalog: Catalog | None,
    kind: str,
    *,
    query: str = "",
    family: str = "",
    mode: str = "",
    offset: int = 0,
    limit: int = 25,
) -> CatalogListing:
    """A page of rows.

    Parameters
    ----------
    catalog
        None when the server does not let its models be browsed: then those of the built-in presets' models
        are listed that it turns out to have.
    kind
        ``models``, ``loras``, ``controls``, ``upscalers``, ``embeddings``, ``presets`` or ``all``.
    query
        Words that must all occur in a row's name, file or family.
    family, mode
        Keep what belongs to a family, and what serves a mode.
    """
    known = catalog or await _ask_for_known_files(connection)
    sections = _SECTIONS.values() if kind == "all" else [_SECTIONS[kind]]
    rows = [row for section in sections for row in section(known) if _matches(row, query, family, mode)]
    return CatalogListing(
        rows=tuple(rows[offset : offset + limit]),
        total=len(rows),
        offset=offset,
        server=connection.address,
        browsing=catalog is not None,
    )


async def _ask_for_known_files(connection: Connection) -> Catalog:
    wanted = sorted({file for recipe in list_recipes() for file in recipe.files})
    existing = await connection.client.files_exist(wanted)
    files = frozenset(file for file, there in existing.items() if there)
    models = {recipe.model: _known_model(recipe) for recipe in list_recipes() if recipe.model in files}
    return Catalog(models=tuple(models.values()), files=files)


def _known_model(recipe: Recipe) -> Model:
    checkpoint = recipe.checkpoint
    return Model(recipe.model, recipe.name, checkpoint.version, default_scale=checkpoint.native_side // UNIT)


def _matches(row: CatalogRow, query: str, family: str, mode: str) -> bool:
    text = f"{row.name} {row.file} {row.family}".lower()
    return (
        all(word in text for word in query.lower().split())
        and (not family or family.lower() == row.family.lower())
        and (not mode or mode in row.modes)
    )


def _row(kind: str, entry: CatalogEntry, detail: str) -> CatalogRow:
    modes = list_modes(entry) if isinstance(entry, Model) else frozenset()
    return CatalogRow(kind, entry.name, entry.file, find_family(entry.version), detail, modes=frozenset(modes))


def _describe_model(model: Model) -> str:
    where = "; runs in the vendor's cloud" if model.remote else ""
    return f"{model.native_side} px; {describe_abilities(model)}{where}"


def _describe_lora(lora: LoRA) -> str:
    weight = f"; weight {lora.default_weight:g}" if lora.default_weight is not None else ""
    trigger = f"; trigger words: {lora.prefix.strip()}" if lora.prefix.strip() else ""
    return f"for {lora.version}{weight}{trigger}"


def _describe_control(control: Control) -> str:
    return f"for {control.version}; {control.modifier or control.type}"


def _describe_upscaler(upscaler: Upscaler) -> str:
    return f"{upscaler.scale_factor}×"


def _describe_embedding(embedding: Embedding) -> str:
    return f"for {embedding.version}; keyword {embedding.keyword}"


def _preset_rows(catalog: Catalog) -> Iterator[CatalogRow]:
    for recipe in list_recipes():
        lacking = _list_lacking(recipe, catalog)
        detail = f"built in; lacks {', '.join(lacking)}" if lacking else "built in"
        model = find_entry(catalog.models, recipe.model)
        modes = frozenset(list_modes(model)) if model else frozenset()
        yield CatalogRow(
            "preset", recipe.name, recipe.model, find_family(recipe.checkpoint.version), detail, not lacking, modes
        )


def _list_lacking(recipe: Recipe, catalog: Catalog) -> list[str]:
    return [file for file in recipe.files if file not in catalog.files]


_SECTIONS: Mapping[str, Callable[[Catalog], Iterable[CatalogRow]]] = {
    "models": lambda catalog: (_row("model", entry, _describe_model(entry)) for entry in catalog.models),
    "loras": lambda catalog: (_row("LoRA", entry, _describe_lora(entry)) for entry in catalog.loras),
    "controls": lambda catalog: (_row("control", entry, _describe_control(entry)) for entry in catalog.controls),
    "upscalers": lambda catalog: (_row("upscaler", entry, _describe_upscaler(entry)) for entry in catalog.upscalers),
    "embeddings": lambda catalog: (
        _row("embedding", entry, _describe_embedding(entry)) for entry in catalog.embeddings
    ),
    "presets": _preset_rows,
}

KINDS = (*_SECTIONS, "all")
