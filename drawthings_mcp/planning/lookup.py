"""What a server has, by the names that callers use: models, recipes, LoRAs, controls; also without browsing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain

from drawthings_mcp.catalog import Control, Model, ServerInventory, find_entry
from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.faces import Phrase, Step, Text
from drawthings_mcp.generation import ControlInputType, ControlNetConfig, LoRAConfig
from drawthings_mcp.limits import UNIT
from drawthings_mcp.planning.known import load_known
from drawthings_mcp.presets.mode_table import (
    UsableRecipe,
    choose_recipe,
    choose_variant,
    find_recipe,
    list_preferred_models,
    list_recipes_for,
)
from drawthings_mcp.validation import find_nearest, split_words

_DEFAULT_NATIVE_SIDE = 1024
"""Native side of nearly every image model since SDXL (protocol §8.4), for files of which nothing is known."""

_SUGGESTED = 3

_UNION = "controlnetunion"
"""Type of controls that read several kinds of maps, which an override chooses (protocol §5.3)."""
_MAP_KINDS = {member.name.lower(): member for member in ControlInputType if member is not ControlInputType.Unspecified}


_SIZE = re.compile(r"\d+(\.\d+)?b")
_VERSION = re.compile(r"[\d.]+|v")
_PRECISION = re.compile(r"\([^()]*(?:bit|BF16|SVDQuant)[^()]*\)")


def get_model(inventory: ServerInventory, name: str) -> Model:
    """The model of a file or display name, or the one that a shorter name means."""
    if inventory.catalog is not None and inventory.models:
        listed = [model for model in inventory.models if not model.remote]
        named = find_entry(inventory.models, name) or _choose_preferred(list_meant(name, listed))
        return named or inventory.catalog.get_model(name)
    file = _complete(name)
    if inventory.has(file):
        return describe_model(inventory, file)
    meant = {model.file: model for model in list_meant(name)}
    if found := _choose_preferred([meant[file] for file in inventory.list_existing(meant)]):
        return found
    known = list_preferred_models()
    existing = inventory.list_existing(known)
    nearest = find_nearest(name, existing or known)
    raise UnknownNameError(
        Text(
            "There is no model {name!r} on the server, which does not let its models be browsed: name a file exactly. "
            "Nearest {where}: {nearest}.",
            name=name,
            where=Phrase("on the server" if existing else "known"),
            nearest=tuple(nearest),
        ),
        name=name,
        nearest=nearest,
    )


def list_meant(name: str, models: Iterable[Model] | None = None) -> list[Model]:
    """The models, of the known ones by default, whose name without size, precision or version a name is.

    ``flux 2 klein`` means ``FLUX.2 [klein] 9B`` and ``FLUX.2 [klein] 4B (6-bit)``. When versions differ, as those that
    ``flux dev`` could mean, none is meant.
    """
    words = split_words(name)
    models = load_known().models.values() if models is None else models
    longer = {model: split_words(_PRECISION.sub("", model.name)) for model in models if words}
    longer = {model: more - words for model, more in longer.items() if words <= more}
    rest = {model: frozenset(w for w in more if not _SIZE.fullmatch(w)) for model, more in longer.items()}
    versions = {model: more for model, more in rest.items() if all(map(_VERSION.fullmatch, more))}
    return list(versions) if len(set(versions.values())) == 1 else []


def _choose_preferred(models: Sequence[Model]) -> Model | None:
    """The preferred one of models that a name means; None without any."""
    ranked = [*list_preferred_models(), *list_preferred_models(mode="edit")]
    ranks = {file: place for place, file in reversed(list(enumerate(ranked)))}
    return min(models, key=lambda model: ranks.get(model.file, len(ranked)), default=None)


def find_upscaler(inventory: ServerInventory, name: str) -> str:
    """The file of an upscaler that is listed or known; the name itself when there is none."""
    entry = find_entry(inventory.upscalers or tuple(load_known().upscalers.values()), name)
    return entry.file if entry else name


def find_model_recipe(
    inventory: ServerInventory, family: str, mode: str, within: frozenset[str] | None = None
) -> UsableRecipe:
    """The best recipe for a mode and family among those whose files the server has.

    Parameters
    ----------
    within
        LoRAs that will be applied in place of a recipe's, which may then have no others; None when there are none.
    """
    models, loras = _list_candidates(inventory, family, mode)
    chosen = choose_recipe(models, loras if within is None else loras & within, family, mode)
    if chosen is None:
        wanted = ", ".join(map(label_file, list_preferred_models(family, mode)[:_SUGGESTED]))
        raise InvalidInputError(
            Text(
                "The server has no model{of_family} that is known to work well for {wanted_mode}. {download:C} "
                "(Settings → Model → Manage), or {list} and name an installed model.",
                of_family=Phrase("" if family == "auto" else f" of {family}"),
                wanted_mode=mode,
                download=Step("download", what=f"one of {wanted}"),
                list=Step("list_models"),
            )
        )
    return chosen


def find_variant(inventory: ServerInventory, file: str) -> str | None:
    """A file that the server has and that is the same model in another precision."""
    if inventory.models:
        return choose_variant(file, {model.file for model in inventory.models})
    known = find_recipe(file)
    return choose_variant(file, set(inventory.list_existing(known.checkpoint.files if known else [file])))


def describe_model(inventory: ServerInventory, file: str) -> Model:
    """What is known of a model that the server has."""
    listed = find_entry(inventory.models, file) or load_known().models.get(file)
    if listed is not None:
        return listed
    recipe = find_recipe(file)
    version, side = (recipe.checkpoint.version, recipe.native_side) if recipe else ("", _DEFAULT_NATIVE_SIDE)
    return Model(file, file.removesuffix(".ckpt"), version, default_scale=side // UNIT)


def _list_candidates(inventory: ServerInventory, family: str, mode: str) -> tuple[set[str], set[str]]:
    """Files of models and of LoRAs that the server has."""
    if inventory.models:
        return {model.file for model in inventory.models if not model.remote}, {lora.file for lora in inventory.loras}
    loras = {file for recipe in list_recipes_for(mode, family) for file in recipe.loras}
    there = set(inventory.list_existing([*list_preferred_models(family, mode), *sorted(loras)]))
    return there - loras, there & loras


def build_lora(inventory: ServerInventory, name: str, weight: float | None) -> LoRAConfig:
    """The setting of a LoRA by file or display name, or by a part of one; with its own weight when none is given."""
    part = split_words(name)
    meant = [lora for lora in inventory.loras if part and part <= split_words(f"{lora.name} {lora.file}")]
    entry = find_entry(inventory.loras, name) or (meant[0] if len(meant) == 1 else None)
    if entry is None and inventory.catalog is not None:
        entry = inventory.catalog.get_lora(name)
    default = entry.default_weight if entry and entry.default_weight is not None else 1.0
    return LoRAConfig(file=entry.file if entry else _complete(name), weight=default if weight is None else weight)


def build_control(inventory: ServerInventory, kind: str, weight: float | None, model: Model) -> ControlNetConfig:
    """The setting of the control that reads a kind of map and fits a model."""
    wanted = kind.strip().lower()
    fitting = _list_controls(inventory, model)
    named = (control for control in fitting if control.modifier == wanted)
    unions = (control for control in fitting if control.type == _UNION and wanted in _MAP_KINDS)
    chosen = next(chain(named, unions), None)
    if chosen is None:
        kinds = sorted({control.modifier for control in fitting if control.modifier} or {"none"})
        raise InvalidInputError(
            Text(
                "The server has no control for {kind} maps that fits {file}; for this model it has: {kinds}. "
                "{download:C}, or name a control's file, with its {input_override}, in the configuration's controls.",
                kind=wanted,
                file=model.file,
                kinds=tuple(kinds),
                download=Step("download", what="one"),
            )
        )
    unspecified = ControlInputType.Unspecified
    override = _MAP_KINDS.get(wanted, unspecified) if chosen.type == _UNION else unspecified
    return ControlNetConfig(file=chosen.file, weight=1.0 if weight is None else weight, input_override=override)


def _list_controls(inventory: ServerInventory, model: Model) -> Sequence[Control]:
    if inventory.catalog is not None and inventory.controls:
        return inventory.catalog.compatible_controls(model)
    known = [control for control in load_known().controls.values() if control.version == model.version]
    there = set(inventory.list_existing(control.file for control in known))
    return [control for control in known if control.file in there]


def label_file(file: str) -> Text:
    """Display name and file of a known model or LoRA: ``Qwen Image 2512 (qwen_image_2512_q6p.ckpt)``."""
    known = load_known()
    entry = known.models.get(file) or known.loras.get(file)
    return Text("{name} ({file})", name=Phrase(entry.name), file=file) if entry else Text("{file}", file=file)


def _complete(name: str) -> str:
    plain = name.strip()
    return plain if plain.endswith(".ckpt") else f"{plain}.ckpt"
