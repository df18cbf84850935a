"""What a call means: its mode, the model, and the settings that go with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from drawthings_mcp.catalog import Model
from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.params import GenerateArguments, Mode
from drawthings_mcp.planning.modes import check_mode, check_picture, list_modes
from drawthings_mcp.planning.offer import Offer, label_file
from drawthings_mcp.presets.collection import PresetCollection
from drawthings_mcp.presets.mode_table import (
    CUSTOM,
    UsableRecipe,
    explain_gap,
    find_recipe,
    list_families,
    list_recipes_for,
    match_family,
    parse_mode_name,
)
from drawthings_mcp.presets.preset import Preset, find_family

_FROM_A_PICTURE: tuple[Mode, ...] = ("edit", "image2image")
"""What ``auto`` means when there is a picture: to edit it, or else to start from it."""

_NEED_A_PICTURE = frozenset({"image2image", "edit", "inpaint"})


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided before any setting.

    Attributes
    ----------
    model_origin
        Who named the model.
    preset
        The one that was named, or that the user made for the mode and family.
    recipe
        What goes with the mode and family, when the model was left to us.
    recommended
        What goes with the model in general.
    notes
        Sentences for the caller about what was decided otherwise than usual.
    """

    mode: Mode
    model: Model
    model_origin: str
    preset: Preset | None = None
    recipe: Preset | None = None
    recommended: Preset | None = None
    notes: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """Of the model; empty when it belongs to none."""
        return find_family(self.model.version)

    @property
    def model_preset(self) -> str:
        """Name of the preset that names the model; empty when the call or a recipe does."""
        preset = self.preset
        return preset.name if preset is not None and self.model_origin == f"preset {preset.name}" else ""

    @property
    def settings(self) -> Preset | None:
        """The topmost of the three."""
        return self.preset or self.recipe or self.recommended

    @property
    def own_negative_prompt(self) -> str:
        """That of the preset, when the user made it."""
        return self.preset.negative if self.preset is not None and self.preset.is_own else ""

    @property
    def negative_prompt(self) -> str:
        """That of the settings. A preset that names its model is whole, one that does not goes on top of the others."""
        if self.preset is not None and (self.preset.negative or self.preset.model):
            return self.preset.negative
        below = self.recipe or self.recommended
        return below.negative if below else ""


async def choose(arguments: GenerateArguments, offer: Offer, presets: PresetCollection) -> Choice:
    """Decides mode, model and settings of a call.

    Raises
    ------
    UnknownNameError
        The preset or the model is not known, or the server lacks it.
    InvalidInputError
        Nothing suits the call; says what would do.
    """
    named, arguments = _read_preset(arguments, presets)
    asked = _find_asked_model(arguments)
    family = match_family(asked)
    if not family:
        model = await _get_asked_model(asked, offer)
        mode = _choose_mode(arguments, model)
        choice = Choice(mode, model, "call", named)
    elif named is not None and named.model:
        model, notes = await _get_model_of(named, offer)
        _check_family(family, named, model)
        mode = _choose_mode(arguments, model)
        choice = Choice(mode, model, f"preset {named.name}", named, notes=notes)
    else:
        choice = await _choose_by_family(arguments, family, named, offer, presets)
    check_mode(choice.model, choice.mode, choice.model_preset)
    check_picture(choice.mode, has_picture=arguments.has_picture)
    if arguments.mode == "auto" and arguments.resolved_mode == "edit" and choice.mode == "image2image":
        choice = replace(choice, notes=(*choice.notes, _explain_start(choice.model)))
    return _add_recommended(choice, offer, arguments)


def _read_preset(arguments: GenerateArguments, presets: PresetCollection) -> tuple[Preset | None, GenerateArguments]:
    """The preset that is named, and the call with what its name says: ``edit.flux`` is for edits with that family.

    When none of the user's has the name of a cell, ours is meant.
    """
    if not arguments.preset.strip():
        return None, arguments
    mode, family = parse_mode_name(arguments.preset)
    is_ours = bool(mode) and presets.find(arguments.preset) is None and bool(list_recipes_for(mode, family))
    preset = None if is_ours else presets.get(arguments.preset)
    if mode in _NEED_A_PICTURE and arguments.mode == "auto":
        arguments = replace(arguments, mode=cast("Mode", mode))
    leaves_model_open = preset is None or not preset.model
    if mode and leaves_model_open and _find_asked_model(arguments) == "auto" and match_family(family):
        arguments = replace(arguments, model=family)
    return preset, arguments


async def _get_asked_model(asked: str, offer: Offer) -> Model:
    try:
        return await offer.get_model(asked)
    except UnknownNameError as error:
        error.problem = f"{error} Or name a family: {', '.join(list_families())}."
        raise


def _check_family(family: str, preset: Preset, model: Model) -> None:
    """Refuses a family beside a preset for another one: whichever was followed, the other would be lost."""
    other = find_family(model.version)
    _, replaced = parse_mode_name(preset.name)
    if family not in {"auto", CUSTOM, replaced} and other and other != family:
        raise InvalidInputError(
            f"model {family} and preset {preset.name!r} do not go together: the preset is for {model.file} ({other}). "
            "Leave one of them out."
        )


def _find_asked_model(arguments: GenerateArguments) -> str:
    asked = arguments.model.strip()
    if asked.lower() not in {"", "auto"}:
        return asked
    return str(arguments.configuration.get("model") or "auto")


async def _choose_by_family(
    arguments: GenerateArguments, family: str, named: Preset | None, offer: Offer, presets: PresetCollection
) -> Choice:
    mode = _choose_mode_of_family(arguments, family, presets)
    preset = named or presets.find(f"{mode}.{family}", own=True)
    if preset is not None and preset.model:
        model, notes = await _get_model_of(preset, offer)
        return Choice(mode, model, f"preset {preset.name}", preset, notes=notes)
    if family == CUSTOM:
        raise InvalidInputError(_explain_custom(mode, preset, presets))
    if not list_recipes_for(mode, family):
        raise InvalidInputError(explain_gap(family, mode))
    check_picture(mode, has_picture=arguments.has_picture)
    loras = _find_fixed_loras(arguments, preset)
    chosen = await offer.choose_recipe(family, mode, loras)
    model = offer.describe(chosen.model)
    notes = _explain_fallback(chosen, _find_best(mode, family, loras))
    return Choice(mode, model, f"recipe {chosen.recipe.name}", preset, chosen.recipe, notes=notes)


def _choose_mode(arguments: GenerateArguments, model: Model) -> Mode:
    mode = arguments.resolved_mode
    if arguments.mode == "auto" and mode in _FROM_A_PICTURE:
        return next((mode for mode in _FROM_A_PICTURE if mode in list_modes(model)), mode)
    return mode


def _choose_mode_of_family(arguments: GenerateArguments, family: str, presets: PresetCollection) -> Mode:
    mode = arguments.resolved_mode
    if arguments.mode == "auto" and mode in _FROM_A_PICTURE:
        served = (mode for mode in _FROM_A_PICTURE if _serves(family, mode, presets))
        return next(served, mode)
    return mode


def _serves(family: str, mode: Mode, presets: PresetCollection) -> bool:
    return bool(list_recipes_for(mode, family)) or presets.find(f"{mode}.{family}", own=True) is not None


async def _get_model_of(preset: Preset, offer: Offer) -> tuple[Model, tuple[str, ...]]:
    """The model that a preset names; for ours another precision will do, the user's own are taken at their word."""
    try:
        return await offer.get_model(preset.model), ()
    except UnknownNameError as error:
        variant = None if preset.is_own else await offer.find_variant(preset.model)
        if variant is not None:
            return offer.describe(variant), (f"{preset.model} is not on the server; {variant} was used",)
        raise UnknownNameError(
            f"The preset {preset.name!r} needs {label_file(preset.model)}, which the server does not have. Download it "
            "in Draw Things (Settings → Model → Manage), or name an installed model beside the preset.",
            name=preset.model,
            nearest=error.nearest,
        ) from error


def _explain_custom(mode: str, preset: Preset | None, presets: PresetCollection) -> str:
    if preset is not None:
        return f"The preset {preset.name!r} names no model. Add one to it in the app, or name a model in the call."
    return " ".join(
        [
            f"custom stands for your own presets, and none is named {mode}.{CUSTOM!s}. Save one under that name in "
            f"Draw Things, name another as preset, or leave model out.{presets.describe_own()}",
            *presets.problems,
        ]
    )


def _find_fixed_loras(arguments: GenerateArguments, preset: Preset | None) -> frozenset[str] | None:
    """Files of the LoRAs that the call or a preset puts in place of a recipe's; None when neither does.

    Steps and guidance of a recipe that counts on its LoRAs would ruin the picture without them.
    """
    layers = (Preset("call", arguments.configuration), preset)
    return next((layer.loras for layer in layers if layer and layer.configuration.get("loras") is not None), None)


def _find_best(mode: str, family: str, loras: frozenset[str] | None) -> Preset:
    """The recipe that would be followed if the server had everything."""
    recipes = list_recipes_for(mode, family)
    return next((recipe for recipe in recipes if loras is None or recipe.loras <= loras), recipes[0])


def _explain_start(model: Model) -> str:
    """That a prompt for an edit was not understood as one."""
    families = " or ".join(family for family in list_families("edit") if family not in {"auto", CUSTOM})
    return (
        f"{model.name} does not edit, so the picture was drawn anew along the canvas: the prompt describes the whole "
        f"picture. To change a part only, use model {families}"
    )


def _explain_fallback(chosen: UsableRecipe, best: Preset) -> tuple[str, ...]:
    """That something else than usual was taken, because files are missing on the server."""
    wanted = best.checkpoint.files[0]
    if chosen.recipe is not best:
        return (f"{best.name} lacks files on this server; {chosen.recipe.name} was used",)
    return () if chosen.model == wanted else (f"{wanted} is not on the server; {chosen.model} was used",)


def _add_recommended(choice: Choice, offer: Offer, arguments: GenerateArguments) -> Choice:
    added = {offer.build_lora(name, weight).file for name, weight in arguments.loras}
    fixed = _find_fixed_loras(arguments, choice.preset)
    if fixed is None:
        fixed = choice.recipe.loras if choice.recipe else frozenset()
    recommended = find_recipe(choice.model.file, choice.model.version, fixed | added)
    notes = choice.notes
    if recommended is None and choice.settings is None:
        notes = (*notes, f"no recommended settings are known for {choice.model.file}; the app's defaults were used")
    return replace(choice, recommended=recommended, notes=notes)
