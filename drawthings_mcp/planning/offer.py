"""What the connected server has, by name: models, LoRAs, controls.

Works with and without browsing: what the server does not list is asked for file by file and described from the facts
about known files.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from drawthings_mcp.catalog import Catalog, Control, LoRA, Model, find_entry
from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.generation import ControlInputType, ControlNetConfig, LoRAConfig
from drawthings_mcp.limits import UNIT
from drawthings_mcp.planning import load_known
from drawthings_mcp.presets.mode_table import (
    UsableRecipe,
    choose_recipe,
    choose_variant,
    find_recipe,
    list_preferred_models,
    list_recipes_for,
)
from drawthings_mcp.validation import find_nearest

if TYPE_CHECKING:
    from drawthings_mcp.client.server_client import ServerClient

_DEFAULT_NATIVE_SIDE = 1024
"""Native side of nearly every image model since SDXL (protocol §8.4), for files of which nothing is known."""

_SUGGESTED = 3

_UNION = "controlnetunion"
"""Type of controls that read several kinds of maps and are told which (protocol §5.3)."""


class Offer:
    """One server's files.

    Parameters
    ----------
    catalog
        What the server lists; None when it does not let its models be browsed. Proxies list files without saying what
        they are, which is no more than answers to questions.
    """

    def __init__(self, client: ServerClient, catalog: Catalog | None) -> None:
        self._client = client
        self.catalog = catalog

    async def get_model(self, name: str) -> Model:
        """The model of a file or display name.

        Raises
        ------
        UnknownNameError
            The server has none; names the nearest three.
        """
        if self.catalog is not None and self.catalog.models:
            return self.catalog.get_model(name)
        file = _complete(name)
        if (await self._client.files_exist([file]))[file]:
            return _describe_model(file)
        known = list_preferred_models()
        existing = [file for file, exists in (await self._client.files_exist(known)).items() if exists]
        nearest = find_nearest(name, existing or known)
        where = "on the server" if existing else "known"
        raise UnknownNameError(
            f"There is no model {name!r} on the server, which does not let its models be browsed: name a file exactly. "
            f"Nearest {where}: {', '.join(nearest)}.",
            name=name,
            nearest=nearest,
        )

    async def choose_recipe(self, family: str, mode: str, within: frozenset[str] | None = None) -> UsableRecipe:
        """The best recipe for a mode and family among those whose files the server has.

        Parameters
        ----------
        within
            LoRAs that will be applied in place of a recipe's, which may hence have no others; None when there are none.

        Raises
        ------
        InvalidInputError
            It has none of them; says what to download.
        UnknownNameError
            The family does not serve the mode.
        """
        models, loras = await self._list_candidates(family, mode)
        chosen = choose_recipe(models, loras if within is None else loras & within, family, mode)
        if chosen is None:
            wanted = ", ".join(map(label_file, list_preferred_models(family, mode)[:_SUGGESTED]))
            of_family = "" if family == "auto" else f" of {family}"
            raise InvalidInputError(
                f"The server has no model{of_family} that is known to work well for {mode}. Download one of {wanted} "
                "in Draw Things (Settings → Model → Manage), or name an installed model (list_models)."
            )
        return chosen

    async def find_variant(self, file: str) -> str | None:
        """A file that the server has and that is the same model in another precision."""
        if self.catalog is not None and self.catalog.models:
            return choose_variant(file, {model.file for model in self.catalog.models})
        known = find_recipe(file)
        answers = await self._client.files_exist(known.checkpoint.files if known else [file])
        return choose_variant(file, {name for name, exists in answers.items() if exists})

    def describe(self, file: str) -> Model:
        """What is known of a model that the server has."""
        listed = find_entry(self.catalog.models, file) if self.catalog is not None else None
        return listed or _describe_model(file)

    async def _list_candidates(self, family: str, mode: str) -> tuple[set[str], set[str]]:
        """Files of models and of LoRAs that the server has."""
        if self.catalog is not None and self.catalog.models:
            models = {model.file for model in self.catalog.models if not model.remote}
            return models, {lora.file for lora in self.catalog.loras}
        loras = {file for recipe in list_recipes_for(mode, family) for file in recipe.loras}
        answers = await self._client.files_exist([*list_preferred_models(family, mode), *sorted(loras)])
        there = {file for file, exists in answers.items() if exists}
        return there - loras, there & loras

    def build_lora(self, name: str, weight: float | None) -> LoRAConfig:
        """The setting of a LoRA that was asked for by file or display name; its own weight when none is given."""
        entry: LoRA | None = self.catalog.get_lora(name) if self.catalog is not None else None
        file = entry.file if entry else _complete(name)
        default = entry.default_weight if entry and entry.default_weight is not None else 1.0
        return LoRAConfig(file=file, weight=default if weight is None else weight)

    async def build_control(self, kind: str, weight: float | None, model: Model) -> ControlNetConfig:
        """The setting of the control that reads a kind of map and fits a model.

        Raises
        ------
        InvalidInputError
            The server has none; says which kinds it has for the model.
        """
        wanted = kind.strip().lower()
        fitting = await self._list_controls(model)
        chosen = _find_control(fitting, wanted)
        if chosen is None:
            kinds = sorted({control.modifier for control in fitting if control.modifier} or {"none"})
            raise InvalidInputError(
                f"The server has no control for {wanted} maps that fits {model.file}; for this model it has: "
                f"{', '.join(kinds)}. Download one in Draw Things, or name a control's file, with its inputOverride, "
                "in the configuration's controls."
            )
        override = ControlInputType.Unspecified
        if chosen.type == _UNION:
            override = {member.name.lower(): member for member in ControlInputType}[wanted]
        return ControlNetConfig(file=chosen.file, weight=1.0 if weight is None else weight, input_override=override)

    async def _list_controls(self, model: Model) -> Sequence[Control]:
        if self.catalog is not None and self.catalog.controls:
            return self.catalog.compatible_controls(model)
        known = [control for control in load_known().controls.values() if control.version == model.version]
        there = await self._client.files_exist([control.file for control in known]) if known else {}
        return [control for control in known if there[control.file]]


def _find_control(fitting: Sequence[Control], kind: str) -> Control | None:
    named = (control for control in fitting if control.modifier == kind)
    unions = (control for control in fitting if control.type == _UNION and kind in _MAP_KINDS)
    return next(chain(named, unions), None)


_MAP_KINDS = frozenset(member.name.lower() for member in ControlInputType if member is not ControlInputType.Unspecified)


def label_file(file: str) -> str:
    """Display name and file of a known model or LoRA: ``Qwen Image 2512 (qwen_image_2512_q6p.ckpt)``."""
    known = load_known()
    entry = known.models.get(file) or known.loras.get(file)
    return f"{entry.name} ({file})" if entry else file


def _complete(name: str) -> str:
    plain = name.strip()
    return plain if plain.endswith(".ckpt") else f"{plain}.ckpt"


def _describe_model(file: str) -> Model:
    known = load_known().models.get(file)
    if known is not None:
        return known
    recipe = find_recipe(file)
    version, side = (recipe.checkpoint.version, recipe.native_side) if recipe else ("", _DEFAULT_NATIVE_SIDE)
    return Model(file, file.removesuffix(".ckpt"), version, default_scale=side // UNIT)
