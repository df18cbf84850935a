"""The recommended settings per model, and which of them fits a model.

Owns the app's rules of matching. Knows nothing of servers, nor of what a caller overrides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from drawthings_mcp.generation.app_json import parse_app_json
from drawthings_mcp.presets.checkpoints import Checkpoint, list_checkpoints, strip_variant
from drawthings_mcp.presets.packaged import read_packaged


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings that go with a model, in the app's own form.

    Attributes
    ----------
    version
        The model version for which this is the general recommendation; empty when it is not. The version of
        the model itself is ``checkpoint.version``.
    configuration
        Partial object with the app's keys; what it lacks is left to the caller, often the size.
    negative
        Negative prompt that comes with the recipe, often none.
    """

    name: str
    model: str
    version: str
    configuration: Mapping[str, Any]
    negative: str

    @property
    def loras(self) -> frozenset[str]:
        """Files of the LoRAs that the recipe applies."""
        return frozenset(lora["file"] for lora in self.configuration.get("loras", ()))

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that a server needs to follow the recipe."""
        others = (self.configuration.get(key, "") for key in ("refinerModel", "upscaler"))
        return (self.model, *(file for file in others if file), *sorted(self.loras))

    @property
    def checkpoint(self) -> Checkpoint:
        """Version, native side and variants of the model."""
        return list_checkpoints()[strip_variant(self.model)]

    @property
    def native_side(self) -> int:
        """Side in pixels of the square that the model is tuned for."""
        return self.checkpoint.native_side


@cache
def list_recipes() -> tuple[Recipe, ...]:
    """The recipes that ship with this package, in the app's order."""
    return tuple(_parse_recipe(element) for element in read_packaged("recommended.json"))


def _parse_recipe(element: Mapping[str, Any]) -> Recipe:
    configuration = element["configuration"]
    return Recipe(
        name=element["name"],
        model=configuration["model"],
        version=element.get("version", ""),
        configuration=MappingProxyType(configuration),
        negative=element.get("negative", ""),
    )


def find_recipe(model_file: str, version: str = "", loras: Collection[str] = ()) -> Recipe | None:
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


def _list_rules(model_file: str, version: str) -> tuple[Callable[[Recipe], bool], ...]:
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


def _rate(recipe: Recipe, requested: frozenset[str]) -> tuple[bool, bool, int]:
    return requested <= recipe.loras, recipe.loras <= requested, len(recipe.loras & requested)


def recommended_configuration(model_file: str, version: str = "", loras: Collection[str] = ()) -> dict[str, Any]:
    """The recommended fields of an ``ImageGenerationConfig`` for a model, with that model.

    Fields without a recommendation are absent; for a model without a recipe that is all but ``model``.
    Parameters as in ``find_recipe``.
    """
    recipe = find_recipe(model_file, version, loras)
    return {**(parse_app_json(recipe.configuration) if recipe else {}), "model": model_file}
