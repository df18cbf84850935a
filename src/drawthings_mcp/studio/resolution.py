"""A choice and a call → one configuration, and where each of its values came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from drawthings_mcp.generation import ImageGenerationConfig, LoRAConfig
from drawthings_mcp.generation.app_json import check_keys, list_app_keys, parse_app_json, shorten_float32
from drawthings_mcp.presets import DEFAULT, Layer, Merged, find_strength, join_loras, merge
from drawthings_mcp.studio.arguments import GenerateArguments
from drawthings_mcp.studio.choice import Choice
from drawthings_mcp.studio.sizes import Size, fit_to_area, resolve_size


@dataclass(frozen=True, slots=True)
class Resolution:
    """The configuration of a call.

    Attributes
    ----------
    configuration
        With the seed as it was asked for.
    inherited
        What it would be had the call left everything open but the pictures: warnings about that are not the caller's.
    origins
        Where each field that is not the app's default came from.
    """

    size: Size
    configuration: ImageGenerationConfig
    inherited: ImageGenerationConfig
    origins: dict[str, str]

    def list_rows(self) -> list[tuple[str, Any, str]]:
        """Key in the app's JSON, value and origin of every setting."""
        data = self.configuration.to_app_json()
        keys = list_app_keys()
        return [(key, _shorten(value), self.origins.get(keys[key], DEFAULT)) for key, value in data.items()]


def _shorten(value: Any) -> Any:
    """Numbers as somebody would write them; the app's JSON has every digit of a 32-bit float."""
    return shorten_float32(value) if isinstance(value, float) else value


def resolve(
    arguments: GenerateArguments,
    choice: Choice,
    canvas_size: tuple[int, int] | None,
    loras: Sequence[LoRAConfig],
) -> Resolution:
    """Call over preset over what the mode wants over recipe over what is recommended over the app's defaults.

    Parameters
    ----------
    canvas_size
        Width and height of the canvas in pixels; None without one.
    loras
        Those that the call adds.

    Raises
    ------
    InvalidInputError
        A value is not allowed; says whose it is.
    """
    check_keys(arguments.configuration)
    below = _list_layers(choice, has_negative_prompt=bool(arguments.negative_prompt))
    merged = merge([_read_call(arguments), *below])
    size, size_origin = _resolve_size(arguments, choice, canvas_size)
    fixed = {"model": choice.model.file, "width": size.rendered[0], "height": size.rendered[1], "name": ""}
    inherited = ImageGenerationConfig(**{**merge(below).fields, **fixed})
    if loras:
        merged.fields["loras"] = join_loras(merged.fields.get("loras", ()), loras)
        merged.origins["loras"] = _join_origins(merged, "loras")
    fields = {
        **merged.fields,
        **fixed,
        "seed": _resolve_seed(arguments),
        "batch_size": 1,
        "batch_count": arguments.variants,
    }
    origins = {
        **merged.origins,
        "model": _find_model_origin(arguments, choice),
        "width": size_origin,
        "height": size_origin,
        "seed": "call" if fields["seed"] >= 0 else "drawn for each picture",
        "batch_size": "one picture per pass",
        "batch_count": "call" if arguments.variants != 1 else DEFAULT,
    }
    return Resolution(size, ImageGenerationConfig(**fields), inherited, origins)


def _read_call(arguments: GenerateArguments) -> Layer:
    given = {
        "steps": arguments.steps,
        "guidance_scale": arguments.guidance_scale,
        "sampler": arguments.sampler or None,
        "strength": arguments.strength,
    }
    named = {name: value for name, value in given.items() if value is not None}
    return Layer("call", {**parse_app_json(arguments.configuration), **named})


def _list_layers(choice: Choice, *, has_negative_prompt: bool) -> list[Layer]:
    """What lies below the call, topmost first."""
    strength = find_strength(choice.mode)
    layers = [
        Layer(_label("preset", choice.preset), choice.preset.parse()) if choice.preset else None,
        Layer("mode", {"strength": strength}) if strength is not None else None,
        # Recipes for SDXL blank the negative prompt; one that was asked for must not be lost.
        Layer("negative prompt of the call", {"zero_negative_prompt": False}) if has_negative_prompt else None,
        Layer(_label("recipe", choice.recipe), choice.recipe.parse()) if choice.recipe else None,
        Layer(_label("recommended", choice.recommended), choice.recommended.parse()) if choice.recommended else None,
    ]
    return [layer for layer in layers if layer is not None]


def _label(origin: str, preset: Any) -> str:
    return f"{origin} {preset.name}"


def _join_origins(merged: Merged, name: str) -> str:
    below = merged.origins.get(name)
    return f"{below} + call" if below and below != "call" else "call"


def _resolve_seed(arguments: GenerateArguments) -> int:
    """That of the call. Presets often carry the seed they were saved with, which would make every picture the same."""
    if arguments.seed >= 0:
        return arguments.seed
    seed = parse_app_json(arguments.configuration).get("seed", -1)
    return int(seed)


def _find_model_origin(arguments: GenerateArguments, choice: Choice) -> str:
    if choice.recipe is not None:
        return _label("recipe", choice.recipe)
    asked = arguments.model.strip() or str(arguments.configuration.get("model") or "")
    if choice.preset is not None and choice.preset.model == choice.model.file and asked != choice.model.file:
        return _label("preset", choice.preset)
    return "call"


def _resolve_size(
    arguments: GenerateArguments, choice: Choice, canvas_size: tuple[int, int] | None
) -> tuple[Size, str]:
    """The size, and where it came from."""
    side = choice.model.native_side
    default, origin = _find_default_size(arguments, choice, canvas_size)
    size = resolve_size(default, side, arguments.image_format, arguments.width, arguments.height)
    is_given = arguments.image_format or arguments.width or arguments.height
    return size, "call" if is_given else origin


def _find_default_size(
    arguments: GenerateArguments, choice: Choice, canvas_size: tuple[int, int] | None
) -> tuple[tuple[int, int], str]:
    side = choice.model.native_side
    if {"width", "height"} & arguments.configuration.keys():
        given = arguments.configuration
        return (int(given.get("width") or side), int(given.get("height") or side)), "call"
    layers = [(choice.preset, "preset"), (choice.recipe, "recipe"), (choice.recommended, "recommended")]
    for preset, origin in layers:
        if canvas_size is not None and (preset is None or not preset.is_own):
            # Our settings are for any picture, hence follow its shape; a size in the user's own preset is meant.
            return fit_to_area(*canvas_size, side), "canvas"
        fields = preset.parse() if preset is not None else {}
        if fields.get("width") and fields.get("height"):
            assert preset is not None
            return (fields["width"], fields["height"]), _label(origin, preset)
    return (side, side), "native size of the model"
