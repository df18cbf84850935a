"""Which recipe goes with a mode and a family, and which is next when its files are not there.

Owns the table, as data: a row of recipes per mode and family, the best first. Knows nothing of servers: what is
installed is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from drawthings_mcp.errors import UnknownNameError
from drawthings_mcp.packaged import read_packaged
from drawthings_mcp.presets.checkpoints import list_checkpoints, strip_variant
from drawthings_mcp.presets.preset import Preset
from drawthings_mcp.presets.recipes import list_recipes
from drawthings_mcp.validation import strip_separators, suggest

CUSTOM = "custom"
"""The family that is made of the user's presets alone."""

_MIN_BEGINNING = 3
"""Letters from which on the beginning of a family's name is taken for it."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A recipe that can be followed, and the variant of its model to follow it with."""

    recipe: Preset
    model: str


@cache
def _read_modes() -> Mapping[str, Mapping[str, Any]]:
    modes: dict[str, Mapping[str, Any]] = read_packaged("modes.json")
    return modes


@cache
def list_recipes_for(mode: str, family: str) -> tuple[Preset, ...]:
    """The recipes of a cell, the best first; none when the family does not serve the mode, or is ``custom``."""
    by_name = {recipe.name: recipe for recipe in list_recipes()}
    return tuple(by_name[name] for name in _read_modes()[mode]["families"].get(family, ()))


@cache
def list_families(mode: str | None = None) -> tuple[str, ...]:
    """The families that a caller can name, or those that serve a mode; ``custom`` serves what presets are made for."""
    modes = _read_modes().values() if mode is None else [_read_modes()[mode]]
    return (*dict.fromkeys(family for facts in modes for family in facts["families"]), CUSTOM)


def match_family(name: str) -> str:
    """The family that a name means: ``z-image`` for ``Z_Image``, ``qwen-image`` for ``qwen``; empty when none does."""
    wanted = strip_separators(name)
    families = {strip_separators(family): family for family in list_families()}
    begun = [family for plain, family in families.items() if plain.startswith(wanted)]
    is_plain = len(wanted) >= _MIN_BEGINNING and len(begun) == 1
    return families.get(wanted) or (begun[0] if is_plain else "")


def parse_cell_name(name: str) -> tuple[str, str]:
    """Mode and family of a preset that is named for a cell, such as ``edit.flux``; both empty for any other."""
    mode, dot, family = name.strip().lower().partition(".")
    return (mode, family) if dot and mode in _read_modes() else ("", "")


def find_strength(mode: str) -> float | None:
    """The strength that a mode wants, whatever the recipe; None when it does not care."""
    strength: float | None = _read_modes()[mode].get("strength")
    return strength


def choose_recipe(models: Collection[str], loras: Collection[str], family: str, mode: str) -> Chosen | None:
    """The best recipe of a cell whose files are all there; None when there is none.

    Parameters
    ----------
    models, loras
        Files that the server has.
    family
        ``auto``, ``z-image``, ``qwen-image``, ``flux`` and so on, see ``list_families``.
    mode
        ``text2image``, ``image2image``, ``edit`` or ``inpaint``.

    Raises
    ------
    UnknownNameError
        The family does not serve the mode; names those that do.
    """
    return next(_list_possible(models, loras, family, mode), None)


def _list_possible(models: Collection[str], loras: Collection[str] | None, family: str, mode: str) -> Iterator[Chosen]:
    for recipe in _get_cell(family, mode):
        model = choose_variant(recipe.model, models)
        if model is not None and (loras is None or recipe.loras <= set(loras)):
            yield Chosen(recipe, model)


def _get_cell(family: str, mode: str) -> tuple[Preset, ...]:
    recipes = list_recipes_for(mode, family)
    if not recipes:
        raise UnknownNameError(explain_gap(family, mode), name=family, nearest=_list_named_families(mode))
    return recipes


def explain_gap(family: str, mode: str) -> str:
    """Why there is no recipe in a cell, and what to do instead."""
    served = [other for other in _read_modes() if list_recipes_for(other, family)]
    if not served:
        return f"There is no family {family!r}.{suggest(family, _list_named_families(mode))} Or name a model file."
    return (
        f"{family} does not do {mode}. For {mode} use model {' or '.join(_list_named_families(mode))}; {family} does "
        f"{', '.join(served)}."
    )


def _list_named_families(mode: str) -> tuple[str, ...]:
    return tuple(family for family in list_families(mode) if family not in {"auto", CUSTOM})


def choose_variant(model: str, installed: Collection[str]) -> str | None:
    """The preferred one of the installed variants of a model, other precisions of it; None when there is none."""
    base = strip_variant(model)
    unlisted = sorted(file for file in installed if strip_variant(file) == base)
    known = list_checkpoints().get(base)
    listed = known.files if known else ()
    return next((file for file in (*listed, *unlisted) if file in installed), None)


def choose_model(installed: Collection[str], family: str = "auto", mode: str = "text2image") -> str | None:
    """The preferred one of the installed models for a mode; None when none of the preferred ones is there.

    The preferred file of a model counts before its other variants, those before the next model. Parameters as in
    ``choose_recipe``.

    Raises
    ------
    UnknownNameError
        The family does not serve the mode.
    """
    chosen = next(_list_possible(installed, None, family, mode), None)
    return None if chosen is None else chosen.model


def list_preferred_models(family: str = "auto", mode: str = "text2image") -> tuple[str, ...]:
    """Files to look for on a server that does not list its models.

    The preferred file of every model comes first, so that the first few are what to recommend; their other
    variants follow.
    """
    by_base = {strip_variant(recipe.model): recipe.checkpoint.files for recipe in _get_cell(family, mode)}
    variants = by_base.values()
    return tuple([files[0] for files in variants] + [file for files in variants for file in files[1:]])
