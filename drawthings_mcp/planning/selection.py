"""Which mode, model and presets a call gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from drawthings_mcp.catalog import Model, ServerInventory, find_entry
from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.faces import Phrase, Step, Text, join_texts
from drawthings_mcp.params import GenerateParams, GenerationMode
from drawthings_mcp.planning.abilities import check_mode, check_picture, describe_new_version, list_modes
from drawthings_mcp.planning.lookup import (
    build_lora,
    describe_model,
    find_model_recipe,
    find_variant,
    get_model,
    label_file,
)
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

_FROM_A_PICTURE: tuple[GenerationMode, ...] = ("edit", "image2image")
"""What ``auto`` means when there is a picture: to edit it, or else to start from it."""

_NEED_A_PICTURE = frozenset({"image2image", "edit", "inpaint"})


@dataclass(frozen=True, slots=True)
class ModelSelection:
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
        Sentences for the caller about unusual decisions.
    """

    mode: GenerationMode
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

    def list_presets(self) -> dict[str, Preset]:
        """All that there are of the three, topmost first, by the origin that their values have."""
        found = {"preset": self.preset, "recipe": self.recipe, "recommended": self.recommended}
        return {f"{kind} {preset.name}": preset for kind, preset in found.items() if preset is not None}

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


def select_model(params: GenerateParams, inventory: ServerInventory, presets: PresetCollection) -> ModelSelection:
    """Decides mode, model and settings of a call."""
    named, params = _read_preset(params, presets)
    asked = _find_asked_model(params)
    is_model = asked.lower() not in list_families() and find_entry(inventory.models, asked) is not None
    family = "" if is_model else match_family(asked)
    if not family:
        model = _get_asked_model(asked, inventory)
        if params.mode == "image2image" and _only_edits(model):
            selection = _replace_editor(model, params, named, inventory, presets)
        else:
            selection = ModelSelection(_choose_mode(params, model), model, "call", named)
    elif named is not None and named.model:
        selection = _follow_preset(named, inventory, params)
        _check_family(family, named, selection.model)
    else:
        selection = _choose_by_family(params, family, named, inventory, presets)
    check_mode(selection.model, selection.mode, selection.model_preset)
    check_picture(selection.mode, has_picture=params.has_picture)
    if params.mode == "auto" and params.resolved_mode == "edit" and selection.mode == "image2image":
        selection = replace(selection, notes=(*selection.notes, _explain_start(selection.model)))
    return _add_recommended(selection, inventory, params)


def _only_edits(model: Model) -> bool:
    return list_modes(model) == {"edit", "inpaint"}


def _replace_editor(
    model: Model,
    params: GenerateParams,
    named: Preset | None,
    inventory: ServerInventory,
    presets: PresetCollection,
) -> ModelSelection:
    """A model that starts from a picture in place of one that only edits: its own family's, or else any.

    What an edit made is finished so by who names the edit's model again.
    """
    others = (family for family in (find_family(model.version), "auto") if list_recipes_for("image2image", family))
    for family in others:
        try:
            selection = _choose_by_family(params, family, named, inventory, presets)
        except InvalidInputError:
            continue
        text = "{file} only edits; {used} was used, which starts from a picture"
        note = Text(text, file=model.file, used=selection.model.file)
        return replace(selection, notes=(note, *selection.notes))
    return ModelSelection("image2image", model, "call", named)


def _read_preset(params: GenerateParams, presets: PresetCollection) -> tuple[Preset | None, GenerateParams]:
    """The preset that is named, and the call with what its name says: ``edit.flux`` is for edits with that family.

    When none of the user's has the name of a mode and family, ours is meant.
    """
    if not params.preset.strip():
        return None, params
    mode, family = parse_mode_name(params.preset)
    is_ours = bool(mode) and presets.find(params.preset) is None and bool(list_recipes_for(mode, family))
    preset = None if is_ours else presets.get(params.preset)
    if mode in _NEED_A_PICTURE and params.mode == "auto":
        params = params.replace(mode=mode)
    leaves_model_open = preset is None or not preset.model
    if mode and leaves_model_open and _find_asked_model(params) == "auto" and match_family(family):
        params = params.replace(model=family)
    return preset, params


def _get_asked_model(asked: str, inventory: ServerInventory) -> Model:
    try:
        return get_model(inventory, asked)
    except UnknownNameError as error:
        raise UnknownNameError(
            Text(
                "{problem} Or name a family: {families}. Which for what: {list}.",
                problem=error,
                families=tuple(list_families()),
                list=Step("list_models"),
            ),
            name=asked,
            nearest=error.nearest,
        ) from error


def _check_family(family: str, preset: Preset, model: Model) -> None:
    """Refuses a family together with a preset for another one: whichever was followed, the other would be lost."""
    other = find_family(model.version)
    _, replaced = parse_mode_name(preset.name)
    if family not in {"auto", CUSTOM, replaced} and other and other != family:
        raise InvalidInputError(
            Text(
                "model {family} and preset {preset!r} do not go together: the preset is for {file} ({other}). Leave "
                "one of them out.",
                family=family,
                preset=preset.name,
                file=model.file,
                other=other,
            )
        )


def _find_asked_model(params: GenerateParams) -> str:
    asked = params.model.strip()
    if asked.lower() not in {"", "auto"}:
        return asked
    return str(params.configuration.get("model") or "auto")


def _choose_by_family(
    params: GenerateParams, family: str, named: Preset | None, inventory: ServerInventory, presets: PresetCollection
) -> ModelSelection:
    def serves(mode: GenerationMode) -> bool:
        return bool(list_recipes_for(mode, family)) or presets.find(f"{mode}.{family}", own=True) is not None

    mode = _choose_served(params, serves)
    preset = named or presets.find(f"{mode}.{family}", own=True)
    if preset is not None and preset.model:
        return _follow_preset(preset, inventory, params, mode)
    if family == CUSTOM:
        raise InvalidInputError(_explain_custom(mode, preset, presets))
    if not list_recipes_for(mode, family):
        raise InvalidInputError(explain_gap(family, mode))
    check_picture(mode, has_picture=params.has_picture)
    loras = _find_fixed_loras(params, preset)
    chosen = find_model_recipe(inventory, family, mode, loras)
    model = describe_model(inventory, chosen.model)
    notes = _explain_fallback(chosen, _find_best(mode, family, loras))
    return ModelSelection(mode, model, f"recipe {chosen.recipe.name}", preset, chosen.recipe, notes=notes)


def _choose_mode(params: GenerateParams, model: Model) -> GenerationMode:
    return _choose_served(params, lambda mode: mode in list_modes(model))


def _choose_served(params: GenerateParams, serves: Callable[[GenerationMode], bool]) -> GenerationMode:
    """The mode of a call; of those that ``auto`` can mean with a picture, the first that is served."""
    mode = params.resolved_mode
    if params.mode == "auto" and mode in _FROM_A_PICTURE:
        return next(filter(serves, _FROM_A_PICTURE), mode)
    return mode


def _follow_preset(
    preset: Preset, inventory: ServerInventory, params: GenerateParams, mode: GenerationMode | None = None
) -> ModelSelection:
    """The model that a preset names; for ours another precision will do, the user's own are taken at their word."""
    notes: tuple[str, ...] = ()
    try:
        model = get_model(inventory, preset.model)
    except UnknownNameError as error:
        variant = None if preset.is_own else find_variant(inventory, preset.model)
        if variant is None:
            raise _explain_missing(preset, error) from error
        model = describe_model(inventory, variant)
        notes = (_explain_replacement(preset.model, variant),)
    return ModelSelection(mode or _choose_mode(params, model), model, f"preset {preset.name}", preset, notes=notes)


def _explain_missing(preset: Preset, error: UnknownNameError) -> UnknownNameError:
    return UnknownNameError(
        Text(
            "The preset {preset!r} needs {file}, which the server does not have. {download:C} (Settings → Model → "
            "Manage), or name an installed model in addition to the preset.",
            preset=preset.name,
            file=label_file(preset.model),
            download=Step("download"),
        ),
        name=preset.model,
        nearest=error.nearest,
    )


def _explain_custom(mode: str, preset: Preset | None, presets: PresetCollection) -> str:
    if preset is not None:
        text = "The preset {preset!r} names no model. Add one to it in the app, or name a model in the call."
        return Text(text, preset=preset.name)
    text = (
        "custom stands for your own presets, and none is named {wanted}. Save one under that name in Draw Things, name "
        "another as preset, or leave model out.{own}"
    )
    return join_texts(Text(text, wanted=f"{mode}.{CUSTOM!s}", own=presets.describe_own()), *presets.problems)


def _find_fixed_loras(params: GenerateParams, preset: Preset | None) -> frozenset[str] | None:
    """Files of the LoRAs that the call or a preset puts in place of a recipe's; None when neither does.

    Steps and guidance of a recipe that counts on its LoRAs would ruin the picture without them.
    """
    layers = (Preset("call", params.configuration), preset)
    return next((layer.loras for layer in layers if layer and layer.configuration.get("loras") is not None), None)


def _find_best(mode: str, family: str, loras: frozenset[str] | None) -> Preset:
    """The recipe that would be followed if the server had everything."""
    recipes = list_recipes_for(mode, family)
    return next((recipe for recipe in recipes if loras is None or recipe.loras <= loras), recipes[0])


def _explain_start(model: Model) -> str:
    """That a prompt for an edit was not understood as one."""
    families = " or ".join(family for family in list_families("edit") if family not in {"auto", CUSTOM})
    return Text(
        "{name} does not edit, so a new picture was drawn along the canvas: the prompt describes the whole picture. To "
        "change a part only, use model {families}",
        name=model.name,
        families=Phrase(families),
    )


def _explain_fallback(chosen: UsableRecipe, best: Preset) -> tuple[str, ...]:
    """That the usual choice was replaced, because files are missing on the server."""
    wanted = best.checkpoint.files[0]
    if chosen.recipe is not best:
        return (f"{best.name} lacks files on this server; {chosen.recipe.name} was used",)
    return () if chosen.model == wanted else (_explain_replacement(wanted, chosen.model),)


def _explain_replacement(wanted: str, used: str) -> Text:
    return Text("{wanted} is not on the server; {used} was used", wanted=wanted, used=used)


def _add_recommended(selection: ModelSelection, inventory: ServerInventory, params: GenerateParams) -> ModelSelection:
    added = {build_lora(inventory, name, weight).file for name, weight in params.loras}
    fixed = _find_fixed_loras(params, selection.preset)
    if fixed is None:
        fixed = selection.recipe.loras if selection.recipe else frozenset()
    recommended = find_recipe(selection.model.file, selection.model.version, fixed | added)
    notes = selection.notes
    news = describe_new_version(selection.model)
    if news is not None:
        recommended, notes = _read_settings_of_server(selection.model), (*notes, news)
    if recommended is None and selection.settings is None:
        text = "no recommended settings are known for {file}; the app's defaults were used"
        notes = (*notes, Text(text, file=selection.model.file))
    return replace(selection, recommended=recommended, notes=notes)


def _read_settings_of_server(model: Model) -> Preset | None:
    """The settings that a server lists with a model, in the app's form; None when it lists none that can be used."""
    settings = model.specification.get("settings")
    if not isinstance(settings, Mapping) or not settings:
        return None
    preset = Preset(f"of the server for {model.name}", {**settings, "model": model.file})
    try:
        preset.parse()
    except InvalidInputError:
        return None
    return preset
