"""What a server has of what is recommended, whether or not it lets its models be browsed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from drawthings_mcp.catalog import Catalog, Model
from drawthings_mcp.client.server_client import ServerClient
from drawthings_mcp.limits import UNIT
from drawthings_mcp.planning.modes import list_modes
from drawthings_mcp.presets.mode_table import list_preferred_models, list_recipes
from drawthings_mcp.presets.preset import Preset, find_family, list_checkpoints, strip_variant

FAMILIES = ("z-image", "qwen-image", "flux")
"""The families that a caller can ask for by name (contract §5)."""

_FEW_STEPS = 4


@dataclass(frozen=True, slots=True)
class Inventory:
    """Files of a server.

    Attributes
    ----------
    models
        Complete models that make pictures from text, on the server itself.
    files
        Every file; of a server that does not list them, those of the recommended ones that it turned out to have.
    """

    models: tuple[Model, ...]
    files: frozenset[str]


async def take_inventory(client: ServerClient, catalog: Catalog | None) -> Inventory:
    """What a server has.

    Parameters
    ----------
    catalog
        None when the server does not let its models be browsed: then it is asked for files by name.

    Raises
    ------
    ServerError
        The server, or the way to it, failed.
    """
    if catalog is not None:
        usable = (model for model in catalog.models if not model.remote and "text2image" in list_modes(model))
        return Inventory(tuple(usable), catalog.files)
    existing = await client.files_exist(_list_recommended_files())
    files = frozenset(file for file, there in existing.items() if there)
    return Inventory(tuple(map(_build_model, _list_known_models(files))), files)


@cache
def list_fast_recipes() -> tuple[Preset, ...]:
    """The recipes for pictures that need four steps, thanks to a LoRA."""
    return tuple(
        recipe
        for recipe in list_recipes()
        if recipe.loras
        and recipe.configuration["steps"] <= _FEW_STEPS
        and find_family(recipe.checkpoint.version) in FAMILIES
    )


def _list_recommended_files() -> list[str]:
    fast = [file for recipe in list_fast_recipes() for file in (*recipe.checkpoint.files, *recipe.loras)]
    return list(dict.fromkeys([*list_preferred_models(), *fast]))


def _list_known_models(files: Iterable[str]) -> list[str]:
    return [file for file in list_preferred_models() if file in files]


def _build_model(file: str) -> Model:
    checkpoint = list_checkpoints()[strip_variant(file)]
    return Model(file, file, checkpoint.version, default_scale=checkpoint.native_side // UNIT)
