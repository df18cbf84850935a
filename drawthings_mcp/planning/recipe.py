"""What a recipe sets otherwise than is recommended, and otherwise than another one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from drawthings_mcp.catalog import EntryT, ServerInventory, find_entry
from drawthings_mcp.faces import Phrase
from drawthings_mcp.generation import (
    ControlNetConfig,
    ImageGenerationConfig,
    LoRAConfig,
    SamplerType,
)
from drawthings_mcp.generation.configuration import list_app_keys
from drawthings_mcp.generation.recipe import PictureRecipe
from drawthings_mcp.planning.known import load_known
from drawthings_mcp.planning.lookup import describe_model
from drawthings_mcp.presets.mode_table import find_recipe, find_strength
from drawthings_mcp.presets.preset import Preset, strip_variant
from drawthings_mcp.validation import strip_separators

OF_THE_CALL = frozenset({"model", "width", "height", "seed", "batch_count", "batch_size", "name"})
"""Fields of a configuration that are decided for each call in a way of their own."""
_PRECISION = re.compile(r"[-_.](?:lora|pruned|fp16|fp32|f16|bf16|fp8(?:[-_]?e\d\w+)?|(?:q|iq)\d\w*)$")
"""Ends of names, ours and those of other programs, that do not tell models apart."""
_SPOKEN = frozenset({"steps", "guidance_scale", "sampler", "strength"})
"""Fields that are parameters of a call under their own names; the others go by their keys in the app's JSON."""


def find_named(entries: Sequence[EntryT], name: str) -> EntryT | None:
    """The entry that a name in metadata means: a file, perhaps of another ending and in a folder, or a title.

    When none is called so, one that is but for its precision: ``dreamshaper_8_f16.ckpt`` for ``dreamshaper_8``.
    """
    stem = name.replace("\\", "/").rpartition("/")[2]
    for ending in (".safetensors", ".gguf", ".pt", ".pth", ".bin"):
        stem = stem.removesuffix(ending)
    plain = _strip_precision(stem)
    alike = (entry for entry in entries if plain and _strip_precision(entry.file) == plain)
    return find_entry(entries, name) or find_entry(entries, stem) or next(alike, None)


def _strip_precision(file: str) -> str:
    """A file's name without what stands in it for precision, or for what importing adds, and without separators."""
    base = strip_variant(file.lower())
    while (shorter := _PRECISION.sub("", base)) != base:
        base = shorter
    return strip_separators(base)


def name_setting(name: str) -> str:
    """What a field is called in a call: a parameter by its own name, else the key in the app's JSON."""
    return name if name in _SPOKEN else {field: key for key, field in list_app_keys().items()}.get(name, name)


def find_recommendation(recipe: PictureRecipe) -> Preset | None:
    """What is generally recommended for the model of a picture; None when nothing is."""
    entry = find_named(tuple(load_known().models.values()), recipe.model)
    model = entry or describe_model(ServerInventory(), recipe.model)
    loras = {lora.file for lora in recipe.settings.fields.get("loras", ())}
    return find_recipe(model.file, model.version, loras) if recipe.model else None


def list_deviations(recipe: PictureRecipe) -> dict[str, tuple[Any, Any]]:
    """The settings that differ from what is recommended, else from the app's defaults: value and recommended value."""
    preset = find_recommendation(recipe)
    fields = dict(preset.parse().fields) if preset else {}
    if recipe.mode and (strength := find_strength(recipe.mode)) is not None:
        fields["strength"] = strength
    expected = ImageGenerationConfig.from_saved(**fields)
    actual = ImageGenerationConfig.from_saved(**recipe.settings.fields)
    skipped = OF_THE_CALL | {"loras", "controls"}
    names = [name for name in type(actual).model_fields if name in recipe.settings.fields and name not in skipped]
    return _compare(names, actual, expected)


def _compare(
    names: Sequence[str], first: ImageGenerationConfig, second: ImageGenerationConfig
) -> dict[str, tuple[Any, Any]]:
    pairs = {name: (getattr(first, name), getattr(second, name)) for name in names}
    return {name_setting(name): (word_value(a), word_value(b)) for name, (a, b) in pairs.items() if a != b}


def word_value(value: Any) -> Any:
    """A field's value as JSON, as a call would give it."""
    if isinstance(value, SamplerType):
        return Phrase(value.display_name)
    if isinstance(value, tuple):
        return [word_value(item) for item in value]
    if isinstance(value, LoRAConfig | ControlNetConfig):
        return f"{value.file}@{value.weight:g}"
    return value.name.lower() if hasattr(value, "name") else value


def list_differences(first: PictureRecipe, second: PictureRecipe) -> dict[str, tuple[Any, Any]]:
    """What two pictures were made with differently: the value of each; None where a picture does not tell."""
    told = [_list_told(recipe) for recipe in (first, second)]
    names = dict.fromkeys([*told[0], *told[1]])
    pairs = {name: (told[0].get(name), told[1].get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _list_told(recipe: PictureRecipe) -> dict[str, Any]:
    fields = recipe.settings.fields
    settings = {name: word_value(value) for name, value in fields.items() if name not in OF_THE_CALL | {"loras"}}
    return {
        "prompt": recipe.prompt,
        "negative_prompt": recipe.negative_prompt,
        "model": recipe.model,
        "mode": recipe.mode or None,
        "seed": recipe.seed,
        "size": "×".join(map(str, recipe.size)) if all(recipe.size) else None,
        "loras": list_loras(recipe),
        **{name_setting(name): value for name, value in settings.items()},
    }


def list_loras(recipe: PictureRecipe) -> list[str]:
    """``name@weight`` of each LoRA."""
    saved = recipe.settings.fields.get("loras")
    if saved:
        return [str(word_value(lora)) for lora in saved]
    return [name if weight is None else f"{name}@{weight:g}" for name, weight in recipe.loras]
