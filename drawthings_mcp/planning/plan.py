"""Parameters, what the server has, and presets → the plan of one call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from drawthings_mcp.catalog import ServerInventory
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Text
from drawthings_mcp.generation import ImageGenerationConfig
from drawthings_mcp.generation.configuration import list_ranges, name_key, parse_app_json
from drawthings_mcp.generation.recipe import PictureRecipe
from drawthings_mcp.params import GenerateParams, is_given
from drawthings_mcp.planning.abilities import check_mask, check_references, check_text_only, reads_canvas
from drawthings_mcp.planning.compose import Plan, compose
from drawthings_mcp.planning.guard import list_warnings
from drawthings_mcp.planning.known import load_known
from drawthings_mcp.planning.lookup import build_control, build_lora, find_upscaler
from drawthings_mcp.planning.region import Region, find_region
from drawthings_mcp.planning.repetition import TakenOver, begin_with, take_over
from drawthings_mcp.planning.rules.ranges import ANY_VALUE, list_outside
from drawthings_mcp.planning.selection import ModelSelection, select_model
from drawthings_mcp.planning.settings_merge import MergedSettings, merge_settings
from drawthings_mcp.presets.collection import PresetCollection
from drawthings_mcp.presets.preset import Preset
from drawthings_mcp.tensors.pixels import Pixels, ensure_pixels

_RGB = 3
_OPAQUE = 255


def plan(params: GenerateParams, inventory: ServerInventory, presets: PresetCollection) -> Plan:
    """Decides everything about a call, whose pictures are pixels or files, not ids. Blocks, since pictures are fitted.

    Raises
    ------
    UnansweredError
        The server has to be asked about files first.
    InvalidInputError
        Nothing suits the call, or a server would not survive it or silently do something else; says what would do.
    """
    recipe: PictureRecipe | None = params.settings_from or None
    asked = params
    if recipe is not None:
        params = begin_with(recipe, params, inventory)
    if not params.prompt.strip():
        raise InvalidInputError("is empty; say what to make.", parameter="prompt")
    selection = select_model(params, inventory, presets)
    if recipe is not None and params.model != asked.model:
        selection = replace(selection, model_origin=recipe.origin)
    canvas = ensure_pixels(params.canvas) if is_given(params.canvas) else None
    canvas_size = None if canvas is None else (canvas.shape[1], canvas.shape[0])
    taken = TakenOver() if recipe is None else take_over(recipe, params, selection.model, inventory, canvas_size)
    preset_settings = selection.preset.configuration if selection.preset else {}
    layers = (params.configuration, preset_settings, taken.fields)
    has_controls = bool(params.hints or any(layer.get("controls") for layer in layers))
    _check_pictures(params, selection, canvas, has_controls=has_controls)
    loras = [build_lora(inventory, name, weight) for name, weight in params.loras]
    settings = merge_settings(params, selection, canvas_size, loras, taken)
    has_maps = bool(taken.maps or params.hints)
    region = None if has_maps else _find_region(params, selection, settings, canvas)
    if region is not None and canvas is not None:
        settings = merge_settings(params, selection, region.size, loras, taken)
        params = params.replace(mask=region.cut(region.mask), fit="stretch")
        canvas = region.cut(canvas)
    if recipe is not None and params.seed != asked.seed:
        settings.origins["seed"] = recipe.origin
    composed = _compose(params, inventory, selection, settings, taken, canvas)
    return replace(
        composed,
        notes=(
            *selection.notes,
            *taken.notes,
            *presets.problems,
            *settings.notes,
            *([region.explain(settings.size.rendered)] if region is not None else []),
            *_explain_excess(settings),
            *_explain_strength(selection, settings, has_controls=has_controls),
            *_drop_inherited(composed, settings.inherited, selection, inventory),
        ),
        size=settings.size,
        region=region,
        mode=selection.mode,
        preset=taken.origin if taken.fits else (selection.settings.name if selection.settings else ""),
        model=selection.model,
        origins=settings.origins,
    )


def _check_pictures(
    params: GenerateParams, selection: ModelSelection, canvas: Pixels | None, *, has_controls: bool
) -> None:
    """Refuses pictures that the mode or the model has no use for."""
    has_mask = is_given(params.mask)
    check_text_only(selection.mode, has_picture=params.has_picture or has_mask, has_controls=has_controls)
    check_references(selection.model, len(params.moodboard), has_controls=has_controls)
    check_mask(selection.mode, canvas, has_mask=has_mask)


def _compose(
    params: GenerateParams,
    inventory: ServerInventory,
    selection: ModelSelection,
    settings: MergedSettings,
    taken: TakenOver,
    canvas: Pixels | None,
) -> Plan:
    """The requests; what is wrong with them is said of the preset or the configuration where it stands."""
    try:
        return compose(
            params.prompt,
            _add_files(params, inventory, selection, settings.configuration),
            inventory,
            negative_prompt=params.negative_prompt or ("" if taken.fits else selection.negative_prompt),
            canvas=canvas,
            mask=params.mask if is_given(params.mask) else _mark_clear_parts(canvas, selection),
            moodboard=params.moodboard,
            hints={**taken.maps, **{kind: picture for kind, picture, _ in params.hints}},
            fit=params.fit,
        )
    except InvalidInputError as error:
        raise _blame_origin(error, params, selection, settings) from error


def _find_region(
    params: GenerateParams, selection: ModelSelection, settings: MergedSettings, canvas: Pixels | None
) -> Region | None:
    """The part that is rendered of a photo that is larger than the model draws, when nobody gave a size."""
    if (
        selection.mode != "inpaint"
        or canvas is None
        or not is_given(params.mask)
        or settings.origins["width"] != "canvas"
    ):
        return None
    return find_region(canvas, ensure_pixels(params.mask), selection.model.native_side)


def _mark_clear_parts(canvas: Pixels | None, selection: ModelSelection) -> Pixels | None:
    """The mask for what is clear, where a model would look at the alpha instead; None where none is needed."""
    facts = load_known().versions.get(selection.model.version)
    if canvas is None or canvas.shape[2] == _RGB or selection.mode != "inpaint" or facts is None:
        return None
    return np.where(canvas[..., 3] < _OPAQUE, np.uint8(255), np.uint8(0)) if facts.makes_alpha else None


def _add_files(
    params: GenerateParams,
    inventory: ServerInventory,
    selection: ModelSelection,
    configuration: ImageGenerationConfig,
) -> ImageGenerationConfig:
    """The configuration with files for names: the upscaler's, and the controls for the maps of the call.

    A configuration of the call that names controls itself gets no others.
    """
    configuration = configuration.replace(upscaler=find_upscaler(inventory, configuration.upscaler))
    if not params.hints or "controls" in params.configuration:
        return configuration
    controls = [build_control(inventory, kind, weight, selection.model) for kind, _, weight in params.hints]
    return configuration.replace(controls=(*configuration.controls, *controls))


def _blame_origin(
    error: InvalidInputError, params: GenerateParams, selection: ModelSelection, settings: MergedSettings
) -> InvalidInputError:
    """The error, with the preset or the configuration in which the value stands that it is about."""
    origin = settings.origins.get(error.parameter, "") if error.parameter in list_ranges() else ""
    if origin in (presets := selection.list_presets()):
        return presets[origin].blame(error)
    if origin == "call" and error.parameter in parse_app_json(params.configuration).fields:
        return InvalidInputError(name_key(error), parameter="configuration")
    return _blame_file(error, selection.preset)


def _blame_file(error: InvalidInputError, preset: Preset | None) -> InvalidInputError:
    """The error, with the preset that names the file which the error is about."""
    facts = error.problem.facts.values() if isinstance(error.problem, Text) else ()
    named = {fact for fact in (error.value, *facts) if isinstance(fact, str)}
    files = preset.files if preset is not None else ()
    blamed = next((file for file in files if preset and file != preset.model and file in named), None)
    if preset is None or blamed is None:
        return error
    text = Text(
        "{error} {file} stands in the preset {preset!r}: download it, or name another preset.",
        error=error,
        file=blamed,
        preset=preset.name,
    )
    return InvalidInputError(text, value=blamed, nearest=error.nearest)


def _explain_excess(settings: MergedSettings) -> tuple[str, ...]:
    """What a preset sets beyond the app's user interface where every value has its effect."""
    origins = settings.origins
    return tuple(
        Text(
            f"preset {{preset!r}}: {{{name}}} {value:g} is outside the app's range; it is sent as it is",
            preset=origins[name].removeprefix("preset "),
        )
        for name, value in list_outside(settings.configuration)
        if name in ANY_VALUE and origins.get(name, "").startswith("preset")
    )


def _explain_strength(selection: ModelSelection, settings: MergedSettings, *, has_controls: bool) -> tuple[str, ...]:
    """That a preset's strength leaves nothing of the canvas; about one of the call there is a rule."""
    origin = settings.origins.get("strength", "")
    if selection.mode != "image2image" or settings.configuration.strength < 1 or not origin.startswith("preset"):
        return ()
    if has_controls or reads_canvas(selection.model.version, selection.model.modifier):
        return ()
    text = "strength is 1 in {origin}, so that nothing of the canvas is used; give {strength}, about 0.6"
    return (Text(text, origin=origin),)


def _drop_inherited(
    composed: Plan, inherited: ImageGenerationConfig, selection: ModelSelection, inventory: ServerInventory
) -> tuple[str, ...]:
    """The warnings that the caller can do something about: not those that preset, mode or recipe bring along.

    ``inherited`` is the configuration had the call given nothing but prompt and pictures.
    """
    if not composed.notes:
        return ()
    left_open = replace(composed.requests[0], configuration=inherited, negative_prompt=selection.negative_prompt)
    known = list_warnings(left_open, inventory)
    return tuple(note for note in composed.notes if note not in known)
