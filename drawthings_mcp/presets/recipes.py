"""The recommended settings per model, and which of them fits a model.

Owns the app's rules of matching. Knows nothing of servers, nor of what a caller overrides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any

from drawthings_mcp.packaged import read_packaged
from drawthings_mcp.presets.checkpoints import strip_variant
from drawthings_mcp.presets.preset import Preset, parse_preset


@cache
def list_recipes() -> tuple[Preset, ...]:
    """The presets that ship with this package, in the app's order."""
    parsed = (parse_preset(element, "built in") for element in read_packaged("recommended.json"))
    return tuple(preset for preset in parsed if preset is not None)


def find_recipe(model_file: str, version: str = "", loras: Collection[str] = ()) -> Preset | None:
    """The recipe for a model by the app's rules; None when nothing is recommended for it.

    The same file counts before another variant of the model, that before a model whose name it extends,
    that before a recommendation for the version. Of several, the one counts that applies all requested
    LoRAs, otherwise the one that applies most of them and none beside (formats §2).

    Parameters
    ----------
    version
        The model's version as a server's catalog names it.
    loras
        Files of the LoRAs that will be applied.
    """
    requested = frozenset(loras)
    for matches in _list_rules(model_file, version):
        if candidates := [recipe for recipe in list_recipes() if matches(recipe)]:
            return max(candidates, key=lambda recipe: _rate(recipe, requested))
    return None


def _list_rules(model_file: str, version: str) -> tuple[Callable[[Preset], bool], ...]:
    base = strip_variant(model_file)
    extended = [b for recipe in list_recipes() if base.startswith((b := strip_variant(recipe.model)) + "_")]
    # The longest name is the nearest relative: "flux_2_klein_9b_kv" rather than "flux_2_klein_9b".
    nearest = max(extended, key=len, default=None)
    return (
        lambda recipe: recipe.model == model_file,
        lambda recipe: strip_variant(recipe.model) == base,
        lambda recipe: strip_variant(recipe.model) == nearest,
        lambda recipe: bool(version) and recipe.version == version,
    )


def _rate(recipe: Preset, requested: frozenset[str]) -> tuple[bool, bool, int]:
    return requested <= recipe.loras, recipe.loras <= requested, len(recipe.loras & requested)


def recommended_configuration(model_file: str, version: str = "", loras: Collection[str] = ()) -> dict[str, Any]:
    """The recommended fields of an ``ImageGenerationConfig`` for a model, with that model.

    Fields without a recommendation are absent; for a model without a recipe that is all but ``model``.
    Parameters as in ``find_recipe``.
    """
    recipe = find_recipe(model_file, version, loras)
    return {**(recipe.parse() if recipe else {}), "model": model_file}
