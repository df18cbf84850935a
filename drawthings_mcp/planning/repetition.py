"""What a call gets from the recipe of a picture that it begins with, and what it cannot get."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from drawthings_mcp.catalog import CatalogEntry, Model, ServerInventory
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Phrase, Text
from drawthings_mcp.generation import ControlNetConfig, GenerationRequest, ImageGenerationConfig, LoRAConfig
from drawthings_mcp.generation.recipe import PictureRecipe
from drawthings_mcp.limits import MAX_SEED, MAX_SIDE, MIN_SIDE
from drawthings_mcp.params import GenerateParams, is_given
from drawthings_mcp.planning.context import IMAGE, Context, NamedFile, look_up
from drawthings_mcp.planning.known import load_known
from drawthings_mcp.planning.lookup import build_lora, describe_model, find_upscaler, find_variant
from drawthings_mcp.planning.recipe import OF_THE_CALL, find_named
from drawthings_mcp.presets.preset import strip_variant
from drawthings_mcp.tensors.pixels import ImageLike

_FOLLOW_THE_SIZE = frozenset(
    {
        *("hires_fix", "hires_fix_width", "hires_fix_height", "original_image_width", "original_image_height"),
        *("target_image_width", "target_image_height", "negative_original_image_width"),
        "negative_original_image_height",
    }
)
"""Fields that are of no use at another size."""
_FILES = ("refiner_model", "upscaler", "face_restoration")
_SAME_SHAPE = 0.98


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What a call gets from a recipe besides the prompt; nothing without one.

    Attributes
    ----------
    origin
        What stands for the recipe among the places where settings come from.
    fields
        Of the configuration, without the size.
    size
        Width and height in pixels; None where the recipe's is not that of the call.
    maps
        Maps for its controls, by kind.
    fits
        Whether the model is one that the settings are for; otherwise there are no fields.
    """

    origin: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    maps: Mapping[str, ImageLike] = field(default_factory=dict)
    fits: bool = False
    notes: tuple[str, ...] = ()


def begin_with(recipe: PictureRecipe, params: GenerateParams, inventory: ServerInventory) -> GenerateParams:
    """The call with the recipe's prompts, seed, model and mode in place of those that it leaves open.

    Raises
    ------
    InvalidInputError
        The picture tells nothing, or no prompt where the call has none.
    UnansweredError
        The server has to be asked about files first.
    """
    if recipe.tells_nothing:
        text = "{id} does not tell how it was made. Name another picture, or leave {settings_from} out."
        raise InvalidInputError(Text(text, id=recipe.id), parameter="settings_from")
    if not (params.prompt or recipe.prompt):
        raise InvalidInputError(Text("{id} carries none: say what to make.", id=recipe.id), parameter="prompt")
    taken: dict[str, Any] = {
        "prompt": params.prompt or recipe.prompt,
        "negative_prompt": params.negative_prompt or recipe.negative_prompt,
    }
    if params.seed is None and "seed" not in params.configuration and _has_usable_seed(recipe):
        taken["seed"] = recipe.seed
    if _leaves_model_open(params) and (file := _find_model(inventory, recipe.model)):
        taken["model"] = file
    if params.mode == "auto" and _repeats_mode(recipe, params):
        taken["mode"] = recipe.mode
    return params.replace(**taken)


def _has_usable_seed(recipe: PictureRecipe) -> bool:
    return recipe.seed is not None and 0 <= recipe.seed <= MAX_SEED


def _leaves_model_open(params: GenerateParams) -> bool:
    is_named = params.model.strip().lower() not in {"", "auto"} or params.configuration.get("model")
    return not (is_named or params.preset.strip())


def _repeats_mode(recipe: PictureRecipe, params: GenerateParams) -> bool:
    """Whether the call has the pictures that the recipe's mode is for."""
    meant = params.resolved_mode
    return recipe.mode == meant or (recipe.mode == "image2image" and meant == "edit")


def _find_model(inventory: ServerInventory, name: str) -> str:
    """The file on the server that a name in a picture's metadata means; empty when it has none."""
    if not name:
        return ""
    listed = [model for model in inventory.models if not model.remote]
    if listed:
        entry = find_named(listed, name)
        return entry.file if entry else find_variant(inventory, name) or ""
    known = find_named(tuple(load_known().models.values()), name)
    file = known.file if known else name
    return file if file.endswith(".ckpt") and inventory.has(file) else find_variant(inventory, file) or ""


def take_over(
    recipe: PictureRecipe,
    params: GenerateParams,
    model: Model,
    inventory: ServerInventory,
    canvas_size: tuple[int, int] | None,
) -> TakenOver:
    """The settings of a recipe that a call gets, and notes about those that it cannot get.

    Parameters
    ----------
    params
        As ``begin_with`` gave it.
    canvas_size
        Width and height in pixels of the call's canvas; None without one.

    Raises
    ------
    UnansweredError
        The server has to be asked about files first.
    """
    fits = _fits(recipe, model, inventory)
    taker = _Taker(recipe, params, model, inventory)
    size = _choose_size(recipe, canvas_size)
    fields = taker.take(keeps_size=size is not None and not _asks_for_size(params)) if fits else {}
    maps = taker.take_maps(fields) if fits else {}
    notes = (*_explain_model(recipe, params, model, fits=fits), *taker.notes)
    if recipe.settings.unknown and fits:
        text = "{id}: not known here and left out: {what}"
        notes = (*notes, Text(text, id=recipe.id, what=Phrase(recipe.settings.describe_unknown())))
    return TakenOver(recipe.origin, fields, size, maps, fits, (*notes, *_explain_rest(recipe, params)))


def _fits(recipe: PictureRecipe, model: Model, inventory: ServerInventory) -> bool:
    """Whether settings for the recipe's model are settings for this one."""
    name = recipe.model
    entry = find_named(inventory.models, name) or find_named(tuple(load_known().models.values()), name)
    version = entry.version if entry else describe_model(inventory, name).version
    return name == model.file or (bool(version) and version == model.version)


def _explain_model(recipe: PictureRecipe, params: GenerateParams, model: Model, *, fits: bool) -> Iterator[str]:
    name = recipe.model
    is_open, base = _leaves_model_open(params), strip_variant(model.file)
    # A name without a precision means any of them.
    is_other = strip_variant(name) == base and name.removesuffix(".ckpt") not in {
        base,
        model.file.removesuffix(".ckpt"),
    }
    facts = {"id": recipe.id, "name": name, "used": model.file}
    if is_open and not name:
        yield Text("{id} names no model; {used} was used", **facts)
    elif is_open or is_other:
        yield Text("the server lacks the model of {id}, {name!r}; {used} was used", **facts)
    if not fits and (recipe.settings.fields.keys() - OF_THE_CALL or recipe.loras):
        yield Text(
            "steps, guidance, sampler, LoRAs and the like of {id} are for another model and were left out", **facts
        )


def _explain_rest(recipe: PictureRecipe, params: GenerateParams) -> Iterator[str]:
    seed = recipe.seed
    if params.seed is None and "seed" not in params.configuration:
        reason = "carries no seed" if seed is None else f"has seed {seed}, above {MAX_SEED}"
        yield Text("{id} {reason}; one was drawn", id=recipe.id, reason=Phrase(reason))
    if recipe.had_canvas and not params.has_picture and params.mode == "auto":
        text = "{id} was made from a picture that is not known here, and its prompt alone was used; give it as {canvas}"
        yield Text(text, id=recipe.id)


def _asks_for_size(params: GenerateParams) -> bool:
    in_call = params.width or params.height or params.image_format
    return bool(in_call or {"width", "height"} & params.configuration.keys())


def _choose_size(recipe: PictureRecipe, canvas_size: tuple[int, int] | None) -> tuple[int, int] | None:
    """The recipe's size, unless another canvas has another shape."""
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in recipe.size):
        return None
    if canvas_size is None or recipe.is_repeated:
        return recipe.size
    change = canvas_size[0] / canvas_size[1] / (recipe.size[0] / recipe.size[1])
    return recipe.size if _SAME_SHAPE < change < 1 / _SAME_SHAPE else None


@dataclass(slots=True)
class _Taker:
    """Takes what fits out of a recipe, and notes what does not."""

    recipe: PictureRecipe
    params: GenerateParams
    model: Model
    inventory: ServerInventory
    notes: list[str] = field(default_factory=list)

    def take(self, *, keeps_size: bool) -> dict[str, Any]:
        """The fields, without files that the server lacks and controls that have nothing to look at."""
        dropped = set(OF_THE_CALL) | {"loras", "controls"}
        dropped |= set() if keeps_size else _FOLLOW_THE_SIZE
        dropped |= set() if self.recipe.had_canvas and is_given(self.params.canvas) else {"strength"}
        # One for a picture without a negative prompt would blank the call's.
        dropped |= {"zero_negative_prompt"} if self.params.negative_prompt else set()
        fields = {name: value for name, value in self.recipe.settings.fields.items() if name not in dropped}
        loras, lacking = self._take_loras()
        for name in _FILES:
            file = find_upscaler(self.inventory, fields.get(name, "")) if name == "upscaler" else fields.get(name, "")
            if file and self.inventory.has(file) is False:
                lacking.append(fields.pop(name))
        controls = self._take_controls(lacking)
        if lacking:
            text = "the server lacks what {id} was made with, and it was left out: {files}"
            self.notes.append(Text(text, id=self.recipe.id, files=tuple(lacking)))
        return {**fields, "loras": loras, "controls": controls}

    def _take_loras(self) -> tuple[tuple[LoRAConfig, ...], list[str]]:
        """Those that the server has, and the names of the others."""
        saved = self.recipe.settings.fields.get("loras", ())
        by_file = {lora.file: lora for lora in saved}
        named = [(lora.file, lora.weight) for lora in saved] or self.recipe.loras
        taken, lacking = [], []
        for name, weight in named:
            file = self._find_lora(name)
            if not file:
                lacking.append(name)
            elif name in by_file:
                taken.append(by_file[name].replace(file=file))
            else:
                taken.append(build_lora(self.inventory, file, weight))
        return tuple(taken), lacking

    def _find_lora(self, name: str) -> str:
        entry: CatalogEntry | None = find_named(self.inventory.loras, name)
        if entry is not None or self.inventory.catalog is not None:
            return entry.file if entry else ""
        entry = find_named(tuple(load_known().loras.values()), name)
        file = entry.file if entry else name
        return "" if not file.endswith(".ckpt") or self.inventory.has(file) is False else file

    def _take_controls(self, lacking: list[str]) -> tuple[ControlNetConfig, ...]:
        if self.params.hints or "controls" in self.params.configuration:
            return ()
        controls: tuple[ControlNetConfig, ...] = self.recipe.settings.fields.get("controls", ())
        gone = [control.file for control in controls if control.file and self.inventory.has(control.file) is False]
        lacking += gone
        return tuple(control for control in controls if control.file not in gone)

    def take_maps(self, fields: dict[str, Any]) -> dict[str, ImageLike]:
        """The maps by the kinds that the recipe's controls read; controls that are left without one are taken out."""
        controls: tuple[ControlNetConfig, ...] = fields["controls"]
        if not controls:
            return {}
        config = ImageGenerationConfig.from_saved(model=self.model.file, controls=controls)
        context = look_up(GenerationRequest("", config), self.inventory)
        maps = dict(zip(self._list_kinds(context)[-len(self.recipe.maps) :], self.recipe.maps, strict=False))
        kept = [chosen.setting for chosen in context.controls if self._has_source(context, chosen, maps)]
        if gone := [control.file for control in controls if control not in kept]:
            text = "controls of {id} that have nothing to look at were left out: {files}"
            self.notes.append(Text(text, id=self.recipe.id, files=tuple(gone)))
        fields["controls"] = tuple(kept)
        return maps

    def _list_kinds(self, context: Context) -> list[str]:
        kinds = (context.find_kind(chosen) for chosen in context.controls)
        return [kind for kind in kinds if kind and kind != "shuffle"]

    def _has_source(self, context: Context, chosen: NamedFile[Any, Any], maps: Mapping[str, ImageLike]) -> bool:
        """Whether a control is left something to look at, as far as is known."""
        sources = context.list_sources(chosen)
        if not sources or context.find_kind(chosen) in maps:
            return True
        is_canvas = IMAGE in sources and is_given(self.params.canvas)
        return is_canvas or (context.find_kind(chosen) == "shuffle" and bool(self.params.moodboard))
