"""A selection and a call → one configuration, and where each of its values came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Phrase, Text
from drawthings_mcp.generation import ImageGenerationConfig, LoRAConfig
from drawthings_mcp.generation.configuration import AppSettings, parse_app_json
from drawthings_mcp.limits import MAX_GIVEN_UNITS, MAX_VARIANTS, UNIT
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.planning.compose import DEFAULT, DRAWN
from drawthings_mcp.planning.repetition import TakenOver
from drawthings_mcp.planning.selection import ModelSelection
from drawthings_mcp.planning.sizes import FAR_ABOVE, Size, explain_large, find_large_settings, fit_to_area, resolve_size
from drawthings_mcp.presets.mode_table import find_strength
from drawthings_mcp.presets.preset import Preset

_SIDES = ("width", "height")
_PRESETS = 4
"""Layers down to that of a preset."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """Values from one place.

    Attributes
    ----------
    origin
        ``call``, ``preset``, ``mode``, ``recipe``, ``recommended`` and so on.
    fields
        Of an ``ImageGenerationConfig``.
    """

    origin: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Merged:
    """Fields of an ``ImageGenerationConfig`` and the origin of each."""

    fields: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MergedSettings:
    """The configuration of a call.

    Attributes
    ----------
    configuration
        With the seed as it was asked for.
    inherited
        What it would be had the call left everything open but the pictures: warnings about that are not the caller's.
    origins
        Where each field that is not the app's default came from.
    notes
        What in the call's configuration and in its preset is not known here.
    """

    size: Size
    configuration: ImageGenerationConfig
    inherited: ImageGenerationConfig
    origins: dict[str, str]
    notes: tuple[str, ...] = ()


def merge_settings(
    params: GenerateParams,
    selection: ModelSelection,
    canvas_size: tuple[int, int] | None,
    loras: Sequence[LoRAConfig],
    taken: TakenOver,
) -> MergedSettings:
    """Call over preset over what the mode wants over recipe over what is recommended over the app's defaults.

    What is taken over from a picture goes above all but the call, and below a preset that the call names.

    Parameters
    ----------
    canvas_size
        Width and height in pixels; None without a canvas.
    loras
        Those that the call adds.
    taken
        From the picture that the call begins with.
    """
    in_call = _parse_configuration(params)
    call, given = _read_call(params, in_call.fields)
    below = _list_layers(selection, has_negative_prompt=bool(params.negative_prompt or selection.own_negative_prompt))
    usual = ImageGenerationConfig.from_saved(**_merge(below).fields)
    own = {name: value for name, value in taken.fields.items() if value != getattr(usual, name)}
    below.insert(_PRESETS if params.preset else 0, _Layer(taken.origin, own))
    merged = _merge([call, *below])
    size, size_origins = _resolve_size(params, selection, canvas_size, taken)
    fixed = {"model": selection.model.file, "width": size.rendered[0], "height": size.rendered[1], "name": ""}
    # A size of the call is the caller's affair, and so is what follows from it.
    usual_size = dict.fromkeys(_SIDES, selection.model.native_side) if size_origins["width"] == "call" else {}
    inherited = ImageGenerationConfig.from_saved(**{**_merge(below).fields, **fixed, **usual_size})
    if loras:
        merged.fields["loras"] = _join_loras(merged.fields.get("loras", ()), loras)
        below_loras = merged.origins.get("loras")
        merged.origins["loras"] = f"{below_loras} + call" if below_loras and below_loras != "call" else "call"
    # Presets often carry the seed they were saved with, which would make every picture the same.
    seed = given.seed if params.seed is None else params.seed
    variants = _count_variants(params, given)
    fields = {**merged.fields, **fixed, "seed": seed, "batch_size": 1, "batch_count": variants}
    origins = {
        **merged.origins,
        **size_origins,
        "model": selection.model_origin,
        "seed": "call" if seed >= 0 else DRAWN,
        "batch_size": "one picture per pass",
        "batch_count": "call" if variants != 1 else DEFAULT,
    }
    notes = _explain_unknown(in_call, selection)
    configuration = ImageGenerationConfig.from_saved(**fields)
    large = find_large_settings(configuration, selection.model, selection.mode, origins)
    if large:
        configuration = configuration.replace(**large)
        origins = {**origins, **dict.fromkeys(large, FAR_ABOVE)}
        notes = (*notes, explain_large(selection.model, large, (size.width, size.height)))
    return MergedSettings(size, configuration, inherited, origins, notes)


def _parse_configuration(params: GenerateParams) -> AppSettings:
    try:
        return parse_app_json(params.configuration)
    except InvalidInputError as error:
        raise InvalidInputError(Text("{error}", error=error), parameter="configuration") from error


def _explain_unknown(in_call: AppSettings, selection: ModelSelection) -> tuple[str, ...]:
    """What is left out because it is not known here: it may be a newer app's, or a slip of the pen."""
    text = "not known here and not sent: {what}"
    notes = [Text("{configuration}: " + text, what=Phrase(in_call.describe_unknown()))] if in_call.unknown else []
    read = [(preset.name, preset.parse()) for preset in selection.list_presets().values()]
    in_presets = (
        Text("preset {name!r}: " + text, name=name, what=Phrase(settings.describe_unknown()))
        for name, settings in read
        if settings.unknown
    )
    return (*notes, *in_presets)


def _read_call(params: GenerateParams, in_configuration: Mapping[str, Any]) -> tuple[_Layer, ImageGenerationConfig]:
    """What the call sets, and its configuration on top of the app's defaults."""
    given = {
        "steps": params.steps,
        "guidance_scale": params.guidance_scale,
        "sampler": params.sampler or None,
        "strength": params.strength,
    }
    named: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    ImageGenerationConfig(**named)
    return _Layer("call", {**in_configuration, **named}), ImageGenerationConfig.from_saved(**in_configuration)


def _list_layers(selection: ModelSelection, *, has_negative_prompt: bool) -> list[_Layer]:
    """What lies below the call, topmost first."""
    strength = find_strength(selection.mode)
    preset = _read_layer("preset", selection.preset)
    # What ships with us is for every mode alike; in a preset of the user's own each value is meant.
    is_own = selection.preset is not None and selection.preset.is_own
    return [
        preset if is_own else _Layer("preset", {}),
        _Layer("mode", {"strength": strength} if strength is not None else {}),
        # Recipes for SDXL blank the negative prompt; one that was asked for must not be lost.
        _Layer("negative prompt", {"zero_negative_prompt": False} if has_negative_prompt else {}),
        preset,
        _read_layer("recipe", selection.recipe),
        _read_layer("recommended", selection.recommended),
    ]


def _read_layer(origin: str, preset: Preset | None) -> _Layer:
    return _Layer(f"{origin} {preset.name}", preset.parse().fields) if preset is not None else _Layer(origin, {})


def _count_variants(params: GenerateParams, given: ImageGenerationConfig) -> int:
    """Those of the call. Presets often carry the batch they were saved with, which nobody asked for here."""
    if params.variants != 1:
        return params.variants
    count = max(1, given.batch_count) * max(1, given.batch_size)  # as the app reads 0 (formats §1.3)
    if count > MAX_VARIANTS:
        raise InvalidInputError(
            f"batchCount and batchSize make {count} pictures, a call makes at most {MAX_VARIANTS}.",
            parameter="configuration",
        )
    return count


def _resolve_size(
    params: GenerateParams, selection: ModelSelection, canvas_size: tuple[int, int] | None, taken: TakenOver
) -> tuple[Size, dict[str, str]]:
    """The size, and where each side came from."""
    side = selection.model.native_side
    width, height = (getattr(params, name) or _read_side(params, name) for name in _SIDES)
    sizes = _list_sizes(selection, canvas_size)
    if taken.size is not None:
        sizes.insert(1 if params.preset else 0, _Layer(taken.origin, dict(zip(_SIDES, taken.size, strict=True))))
    below = _merge(sizes)
    default = (below.fields["width"], below.fields["height"])
    size = resolve_size(default, side, params.image_format, width, height)
    is_given = params.image_format or width or height
    return size, dict.fromkeys(_SIDES, "call") if is_given else below.origins


def _read_side(params: GenerateParams, name: str) -> int | None:
    """A side in the configuration of the call as it was written: it need not be a multiple of 64."""
    side = int(float(params.configuration.get(name) or 0))
    return side * UNIT if 0 < side <= MAX_GIVEN_UNITS else side or None


def _list_sizes(selection: ModelSelection, canvas_size: tuple[int, int] | None) -> list[_Layer]:
    """Where sides come from when the call gives none, topmost first; the last has both."""
    side = selection.model.native_side
    ours = [_pick_sides("recipe", selection.recipe), _pick_sides("recommended", selection.recommended)]
    preset = _pick_sides("preset", selection.preset)
    if canvas_size is not None:
        # Our settings are for any picture and follow its shape; a size in the user's own preset is meant.
        is_meant = selection.preset is not None and selection.preset.is_own
        ours = [_Layer("canvas", dict(zip(_SIDES, fit_to_area(*canvas_size, side), strict=True)))]
        preset = preset if is_meant else _Layer("preset", {})
    return [preset, *ours, _Layer("native size of the model", dict.fromkeys(_SIDES, side))]


def _pick_sides(origin: str, preset: Preset | None) -> _Layer:
    layer = _read_layer(origin, preset)
    return _Layer(layer.origin, {name: layer.fields[name] for name in _SIDES if layer.fields.get(name)})


def _merge(layers: Sequence[_Layer]) -> _Merged:
    """The fields of all layers; an earlier layer wins over a later one."""
    merged = _Merged()
    for layer in reversed(layers):
        merged.fields.update(layer.fields)
        merged.origins.update(dict.fromkeys(layer.fields, layer.origin))
    return merged


def _join_loras(below: Sequence[LoRAConfig], added: Sequence[LoRAConfig]) -> tuple[LoRAConfig, ...]:
    """Those of a preset and those that were added to it, which win when a file occurs in both."""
    by_file = {lora.file: lora for lora in below}
    for lora in added:
        by_file[lora.file] = lora.replace(mode=by_file[lora.file].mode) if lora.file in by_file else lora
    return tuple(by_file.values())
