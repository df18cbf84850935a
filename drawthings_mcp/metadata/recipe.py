"""Metadata of any dialect in the terms of a configuration, and what in them is not known here."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, get_args

from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.generation import ImageGenerationConfig, SamplerType
from drawthings_mcp.generation.configuration import AppSettings, parse_app_json
from drawthings_mcp.generation.recipe import PictureRecipe
from drawthings_mcp.limits import UNIT
from drawthings_mcp.metadata.dialect import ImageMetadata, find_text
from drawthings_mcp.metadata.draw_things_keys import parse_size
from drawthings_mcp.params import UPSCALE, GenerationMode
from drawthings_mcp.validation import shorten

_TOLD = ("prompt", "negative_prompt", "model", "seed", "loras")
"""What a recipe has as its picture's metadata have it."""


def build_recipe(name: str, metadata: ImageMetadata, own: Mapping[str, Any]) -> PictureRecipe:
    """The recipe that metadata tell.

    Parameters
    ----------
    name
        What notes call the picture.
    own
        This package's own record in the file; empty for pictures from elsewhere.
    """
    settings = _read_settings(metadata)
    mode, preset = (find_text(own.get(key)) for key in ("mode", "preset"))
    return PictureRecipe(
        name,
        settings,
        **{field: getattr(metadata, field) for field in _TOLD},
        size=_find_size(metadata, settings, own),
        mode=mode if mode in {*get_args(GenerationMode), UPSCALE} else "",
        preset=preset,
    )


def _read_settings(metadata: ImageMetadata) -> AppSettings:
    try:
        found = parse_app_json(metadata.configuration)
    except InvalidInputError as error:
        found = AppSettings({}, (shorten(str(error)),))
    fields, unknown = dict(found.fields), [*found.unknown, *metadata.others]
    # Should the two disagree, what stands by itself was rendered (formats §3.5).
    told = {name: getattr(metadata, name) for name in ("steps", "guidance_scale", "strength")}
    fields.update({name: value for name, value in told.items() if value is not None})
    if metadata.sampler:
        fields.pop("sampler", None)
        sampler = _find_sampler(metadata.sampler)
        fields.update({} if sampler is None else {"sampler": sampler})
        is_whole = sampler is not None and _means(sampler, metadata.sampler)
        what = "sampler" if sampler is None else "the schedule of sampler"
        unknown += [] if is_whole else [f"{what} {shorten(metadata.sampler)}"]
    for name in ImageGenerationConfig.list_unsendable(fields):
        unknown.append(f"{name} {shorten(fields.pop(name))}")
    whole = ImageGenerationConfig.from_saved(**fields)
    return AppSettings({name: getattr(whole, name) for name in fields}, tuple(unknown))


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
    """What was asked for: the file's size, unless that is not what the canvas can have been cropped to.

    None was where only a region of the canvas was rendered.
    """
    if "region" in own:
        return 0, 0
    asked = parse_size(own.get("requested_size"))
    if asked is not None:
        return asked
    size = metadata.width, metadata.height
    canvas = tuple(settings.fields.get(name, 0) for name in ("width", "height"))
    is_of_canvas = all(0 <= side - kept < UNIT for side, kept in zip(canvas, size, strict=True))
    return size if is_of_canvas or not all(canvas) else (canvas[0], canvas[1])
