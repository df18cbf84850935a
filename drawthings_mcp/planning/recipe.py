"""How a picture was made, in the terms of a configuration: to be shown, compared, and to begin another call with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, get_args

from drawthings_mcp.catalog import EntryT, ServerInventory, find_entry
from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.generation import (
    ControlNetConfig,
    ImageGenerationConfig,
    LoRAConfig,
    SamplerType,
)
from drawthings_mcp.generation.configuration import AppSettings, list_app_keys, parse_app_json
from drawthings_mcp.limits import UNIT
from drawthings_mcp.metadata.dialect import ImageMetadata, find_text
from drawthings_mcp.metadata.draw_things_keys import parse_size
from drawthings_mcp.params import GenerationMode
from drawthings_mcp.planning.known import load_known
from drawthings_mcp.planning.lookup import describe_model
from drawthings_mcp.presets.mode_table import find_recipe, find_strength
from drawthings_mcp.presets.preset import Preset
from drawthings_mcp.tensors.pixels import ImageLike
from drawthings_mcp.validation import shorten

_FROM_PICTURES = frozenset({"image2image", "edit", "inpaint"})
OF_THE_CALL = frozenset({"model", "width", "height", "seed", "batch_count", "batch_size", "name"})
"""Fields of a configuration that are decided for each call in a way of their own."""
_SPOKEN = frozenset({"steps", "guidance_scale", "sampler", "strength"})
"""Fields that are parameters of a call under their own names; the others go by their keys in the app's JSON."""


@dataclass(frozen=True, slots=True)
class PictureRecipe:
    """How a picture was made, as far as it says so.

    Attributes
    ----------
    id
        What notes call it.
    metadata
        What its file says, completed by what the library knows.
    settings
        The fields of an ``ImageGenerationConfig`` that it tells, and what is not known here.
    size
        Width and height in pixels that were asked for; zeros when nothing tells.
    mode, preset
        Empty where nobody recorded them.
    is_repeated
        Whether the call that begins with it is given the same canvas.
    maps
        The maps that its controls read, in their order, for such a call.
    """

    id: str
    metadata: ImageMetadata
    settings: AppSettings
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    preset: str = ""
    is_repeated: bool = False
    maps: tuple[ImageLike, ...] = field(default=(), compare=False, repr=False)

    @property
    def tells_nothing(self) -> bool:
        """Whether there is nothing to begin with."""
        found = self.metadata
        return not (found.prompt or found.model or found.seed is not None or self.settings.fields)

    @property
    def had_canvas(self) -> bool:
        """Whether it was made from another picture, as far as is known."""
        return self.mode in _FROM_PICTURES or self.settings.fields.get("strength", 1) < 1

    @property
    def origin(self) -> str:
        """What stands for it among the places where settings come from."""
        return f"settings of {self.id}"


def build_recipe(image_id: str, metadata: ImageMetadata, own: Mapping[str, Any]) -> PictureRecipe:
    """The recipe that metadata tell.

    Parameters
    ----------
    own
        This package's own record in the file; empty for pictures from elsewhere.
    """
    settings = _read_settings(metadata)
    mode, preset = (find_text(own.get(name)) for name in ("mode", "preset"))
    known_mode = mode if mode in get_args(GenerationMode) else ""
    return PictureRecipe(image_id, metadata, settings, _find_size(metadata, settings, own), known_mode, preset)


def _read_settings(metadata: ImageMetadata) -> AppSettings:
    try:
        found = parse_app_json(metadata.configuration)
    except InvalidInputError as error:
        found = AppSettings({}, (shorten(str(error)),))
    fields, unknown = dict(found.fields), list(found.unknown)
    # Should the two disagree, what stands by itself was rendered (formats §3.5).
    told = {name: getattr(metadata, name) for name in ("steps", "guidance_scale", "strength")}
    fields.update({name: value for name, value in told.items() if value is not None})
    if metadata.sampler:
        fields.pop("sampler", None)
        sampler = _find_sampler(metadata.sampler)
        fields.update({} if sampler is None else {"sampler": sampler})
        is_whole = sampler is not None and _means(sampler, metadata.sampler)
        unknown += [] if is_whole else [f"sampler {shorten(metadata.sampler)}"]
    for name in ImageGenerationConfig.list_unsendable(fields):
        unknown.append(f"{name} {shorten(fields.pop(name))}")
    return AppSettings(fields, tuple(unknown))


def _find_sampler(name: str) -> SamplerType | None:
    """The sampler of a name of any program, or of that without a schedule that is not known here."""
    words = name.replace("_", " ").split()
    for count in range(len(words), 0, -1):
        with suppress(UnknownNameError):
            return SamplerType.parse(" ".join(words[:count]))
    return None


def _means(sampler: SamplerType, name: str) -> bool:
    try:
        return SamplerType.parse(name.replace("_", " ")) is sampler
    except UnknownNameError:
        return False


def _find_size(metadata: ImageMetadata, settings: AppSettings, own: Mapping[str, Any]) -> tuple[int, int]:
    """What was asked for: the file's size, unless that is not what the canvas can have been cropped to."""
    asked = parse_size(own.get("requested_size"))
    if asked is not None:
        return asked
    size = metadata.width, metadata.height
    canvas = tuple(settings.fields.get(name, 0) for name in ("width", "height"))
    is_of_canvas = all(0 <= side - kept < UNIT for side, kept in zip(canvas, size, strict=True))
    return size if is_of_canvas or not all(canvas) else (canvas[0], canvas[1])


def find_named(entries: Sequence[EntryT], name: str) -> EntryT | None:
    """The entry that a name in metadata means: a file, perhaps of another ending and in a folder, or a title."""
    stem = PurePosixPath(name.replace("\\", "/")).name
    for ending in (".safetensors", ".gguf", ".pt", ".pth", ".bin"):
        stem = stem.removesuffix(ending)
    return find_entry(entries, name) or find_entry(entries, stem)


def name_setting(name: str) -> str:
    """What a field is called in a call: a parameter by its own name, else the key in the app's JSON."""
    return name if name in _SPOKEN else {field: key for key, field in list_app_keys().items()}.get(name, name)


def find_recommendation(recipe: PictureRecipe) -> Preset | None:
    """What is generally recommended for the model of a picture; None when nothing is."""
    entry = find_named(tuple(load_known().models.values()), recipe.metadata.model)
    model = entry or describe_model(ServerInventory(), recipe.metadata.model)
    loras = {lora.file for lora in recipe.settings.fields.get("loras", ())}
    return find_recipe(model.file, model.version, loras) if recipe.metadata.model else None


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
        return value.display_name
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
    found, fields = recipe.metadata, recipe.settings.fields
    settings = {name: word_value(value) for name, value in fields.items() if name not in OF_THE_CALL | {"loras"}}
    return {
        "prompt": found.prompt,
        "negative_prompt": found.negative_prompt,
        "model": found.model,
        "mode": recipe.mode or None,
        "seed": found.seed,
        "size": "×".join(map(str, recipe.size)) if all(recipe.size) else None,
        "loras": list_loras(recipe),
        **{name_setting(name): value for name, value in settings.items()},
    }


def list_loras(recipe: PictureRecipe) -> list[str]:
    """``name@weight`` of each LoRA."""
    saved = recipe.settings.fields.get("loras")
    if saved:
        return [str(word_value(lora)) for lora in saved]
    return [name if weight is None else f"{name}@{weight:g}" for name, weight in recipe.metadata.loras]
