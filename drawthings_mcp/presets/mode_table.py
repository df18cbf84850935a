"""The built-in recipes: which one goes with a model, or with a mode and a family.

The mode table has a row of recipes per mode and family, the best first; when a server lacks the files of one, the
next counts. Both tables are data of ``configs/``; which files a server has is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from drawthings_mcp.errors import UnknownNameError
from drawthings_mcp.faces import Phrase, Text
from drawthings_mcp.packaged import read_packaged
from drawthings_mcp.presets.preset import Preset, list_checkpoints, parse_preset, strip_variant
from drawthings_mcp.validation import strip_separators, suggest

CUSTOM = "custom"
"""The family that is made of the user's presets alone."""

_MIN_BEGINNING = 3
"""Letters from which on the beginning of a family's name is taken for it."""


_OTHER_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("sdxlbase", "sdxl10", "sdxlv10", "sdxlbase10", "sdxlbasev10"), "sdxl"),
    **dict.fromkeys(("stablediffusionxl", "stablediffusionxlbase", "stablediffusionxl10"), "sdxl"),
    **dict.fromkeys(("sd1", "sdv15", "stablediffusion1"), "sd15"),
    **dict.fromkeys(("stablediffusion15", "stablediffusionv15"), "sd15"),
}
"""What else people call a family, without separators."""


@cache
def list_recipes() -> tuple[Preset, ...]:
    """The presets that ship with this package, in the app's order."""
    parsed = (parse_preset(element, "built in") for element in read_packaged("recommended.json"))
    return tuple(preset for preset in parsed if preset is not None)


def find_recipe(model_file: str, version: str = "", loras: Collection[str] = ()) -> Preset | None:
    """The recipe for a model by the app's rules; None when nothing is recommended for it.

    The same file counts before another variant of the model, that before a model whose name it extends,
    that before a recommendation for the version. Of several, the one counts that applies all requested
    LoRAs, otherwise the one that applies most of them and no others (formats §2).

    Parameters
    ----------
    version
        The model's version as a server's catalog names it.
    loras
        Files of the LoRAs that will be applied.
    """
    requested = frozenset(loras)
    for matches in _list_rules(model_file, version):
        if candidates := [recipe for recipe in list_recipes() if matches(recipe) and _suits(recipe, version)]:
            return max(candidates, key=lambda recipe: _rate(recipe, requested))
    return None


def _suits(recipe: Preset, version: str) -> bool:
    """Whether a recipe is for a version: a name alone may mislead, and the settings of another version would harm."""
    return not version or version in {recipe.version, recipe.checkpoint.version}


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
    return {**(recipe.parse().fields if recipe else {}), "model": model_file}


@dataclass(frozen=True, slots=True)
class UsableRecipe:
    """A recipe that can be followed, and the variant of its model to follow it with."""

    recipe: Preset
    model: str


@cache
def _read_modes() -> Mapping[str, Mapping[str, Any]]:
    modes: dict[str, Mapping[str, Any]] = read_packaged("modes.json")
    return modes


@cache
def list_recipes_for(mode: str, family: str) -> tuple[Preset, ...]:
    """The recipes of a family for a mode, the best first; none when it does not serve the mode, or is ``custom``."""
    by_name = {recipe.name: recipe for recipe in list_recipes()}
    return tuple(by_name[name] for name in _read_modes()[mode]["families"].get(family, ()))


@cache
def list_families(mode: str | None = None) -> tuple[str, ...]:
    """The families that a caller can name, or those that serve a mode; ``custom`` serves what presets are made for."""
    modes = _read_modes().values() if mode is None else [_read_modes()[mode]]
    return (*dict.fromkeys(family for facts in modes for family in facts["families"]), CUSTOM)


def match_family(name: str) -> str:
    """The family that a name means: ``z-image`` for ``Z_Image``, ``qwen-image`` for ``qwen``, ``sdxl`` for ``Stable
    Diffusion XL``; empty when none does.
    """
    wanted = strip_separators(name)
    families = {strip_separators(family): family for family in list_families()}
    begun = [family for plain, family in families.items() if plain.startswith(wanted)]
    is_plain = len(wanted) >= _MIN_BEGINNING and len(begun) == 1
    return families.get(wanted) or _OTHER_NAMES.get(wanted) or (begun[0] if is_plain else "")


def parse_mode_name(name: str) -> tuple[str, str]:
    """Mode and family of a preset that is called ``edit.flux`` and the like; both empty for any other."""
    mode, dot, family = name.strip().lower().partition(".")
    return (mode, family) if dot and mode in _read_modes() else ("", "")


def find_strength(mode: str) -> float | None:
    """The strength that a mode sets, whatever the recipe; None when it sets none, or is none of the table."""
    strength: float | None = _read_modes().get(mode, {}).get("strength")
    return strength


def choose_recipe(models: Collection[str], loras: Collection[str], family: str, mode: str) -> UsableRecipe | None:
    """The best recipe for a mode and a family whose files are all there; None when there is none.

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


def _list_possible(
    models: Collection[str], loras: Collection[str] | None, family: str, mode: str
) -> Iterator[UsableRecipe]:
    for recipe in _get_recipes(family, mode):
        model = choose_variant(recipe.model, models)
        if model is not None and (loras is None or recipe.loras <= set(loras)):
            yield UsableRecipe(recipe, model)


def _get_recipes(family: str, mode: str) -> tuple[Preset, ...]:
    recipes = list_recipes_for(mode, family)
    if not recipes:
        raise UnknownNameError(explain_gap(family, mode), name=family, nearest=_list_named_families(mode))
    return recipes


def explain_gap(family: str, mode: str) -> Text:
    """Why there is no recipe for a mode and a family, and what to do instead."""
    served = [other for other in _read_modes() if list_recipes_for(other, family)]
    named = _list_named_families(mode)
    if not served:
        hint = suggest(family, named)
        return Text("There is no family {family!r}.{hint} Or name a model file.", family=family, hint=hint)
    return Text(
        "{family} does not do {mode}. For {mode} use {model} {others}; {family} does {served}.",
        family=family,
        mode=mode,
        others=Phrase(" or ".join(named)),
        served=tuple(served),
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


def choose_model(installed: Collection[str], family: str = "auto") -> str | None:
    """The preferred one of the installed models for ``text2image``; None when none of the preferred ones is there.

    The preferred file of a model counts before its other variants, those before the next model. Parameters as in
    ``choose_recipe``.

    Raises
    ------
    UnknownNameError
        The family does not serve the mode.
    """
    chosen = next(_list_possible(installed, None, family, "text2image"), None)
    return None if chosen is None else chosen.model


def list_preferred_models(family: str = "auto", mode: str = "text2image") -> tuple[str, ...]:
    """Files to look for on a server that does not list its models.

    The preferred file of every model comes first, so that the first few are what to recommend; their other
    variants follow.
    """
    by_base = {strip_variant(recipe.model): recipe.checkpoint.files for recipe in _get_recipes(family, mode)}
    variants = by_base.values()
    return tuple([files[0] for files in variants] + [file for files in variants for file in files[1:]])
