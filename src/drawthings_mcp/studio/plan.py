"""A call → the requests that will be sent: mode, model, settings, size, pictures, seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.catalog import Catalog, Model
from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig, LoRAConfig
from drawthings_mcp.generation.app_json import parse_app_json
from drawthings_mcp.presets import Recipe, find_family, find_recipe, list_recipes
from drawthings_mcp.requests import ComposedRequests, compose_requests, list_warnings
from drawthings_mcp.studio.abilities import check_mode, list_modes
from drawthings_mcp.studio.arguments import GenerateArguments, Mode
from drawthings_mcp.studio.offer import Offer
from drawthings_mcp.studio.sizes import Size, fit_to_area, resolve_size
from drawthings_mcp.tensors import ensure_pixels
from drawthings_mcp.validation import suggest

if TYPE_CHECKING:
    from drawthings_mcp.client import AsyncDrawThingsClient

_DEFAULT_STRENGTH = {"image2image": 0.6}
"""Where a mode wants another strength than its preset: 1 would ignore the picture."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided before the first request.

    Attributes
    ----------
    family
        Of the model; empty when it belongs to none.
    notes
        Sentences for the caller about what was decided or will not be as asked.
    """

    mode: Mode
    model: Model
    family: str
    recipe: Recipe | None
    size: Size
    requests: tuple[GenerationRequest, ...]
    notes: tuple[str, ...] = ()

    @property
    def preset(self) -> str:
        """Name of the recommended settings that were used; empty when there are none for the model."""
        return self.recipe.name if self.recipe else ""

    @property
    def configuration(self) -> ImageGenerationConfig:
        """That of the first request; the others differ in the seed only."""
        return self.requests[0].configuration


async def plan_generation(arguments: GenerateArguments, client: AsyncDrawThingsClient, catalog: Catalog | None) -> Plan:
    """Decides everything about a call.

    Parameters
    ----------
    catalog
        What the server lists; None when it does not let its models be browsed.

    Raises
    ------
    UnknownNameError
        The server lacks something that was named; names the nearest three.
    InvalidInputError
        Nothing suits the call, or a server would not survive it or silently do otherwise; says what would do.
    """
    if not arguments.prompt.strip():
        raise InvalidInputError("prompt: is empty; say what to make.")
    offer = Offer(client, catalog)
    preset = _find_preset(arguments.preset)
    model, mode = await _resolve_model(arguments, offer, preset)
    check_mode(model, mode, has_picture=arguments.canvas is not None or bool(arguments.moodboard))
    loras = [offer.build_lora(name, weight) for name, weight in arguments.loras]
    recipe = preset or find_recipe(model.file, model.version, [lora.file for lora in loras])
    canvas = None if arguments.canvas is None else await anyio.to_thread.run_sync(ensure_pixels, arguments.canvas)
    size = _resolve_size(arguments, model, recipe, canvas)
    configuration = await _merge(arguments, offer, model, mode, recipe, loras, size)
    catalog, files = (catalog, None) if catalog is not None else await client.look_up(configuration)
    compose = partial(
        compose_requests,
        arguments.prompt,
        configuration,
        negative_prompt=arguments.negative_prompt or (recipe.negative if recipe else ""),
        input_image=canvas,
        mask_image=arguments.mask,
        moodboard=arguments.moodboard,
        hint_images={kind: picture for kind, picture, _ in arguments.hints} or None,
        fit=arguments.fit,
        catalog=catalog,
        files=files,
    )
    composed = await anyio.to_thread.run_sync(compose)
    warnings = _drop_inherited(composed, recipe, catalog, files)
    unknown = () if recipe else (f"no recommended settings are known for {model.file}; the app's defaults were used",)
    return Plan(
        mode=mode,
        model=model,
        family=find_family(model.version),
        recipe=recipe,
        size=size,
        requests=composed.requests,
        notes=(*unknown, *warnings),
    )


def _drop_inherited(
    composed: ComposedRequests, recipe: Recipe | None, catalog: Catalog | None, files: Mapping[str, bool] | None
) -> tuple[str, ...]:
    """The warnings that the caller can do something about: not those that the recommended settings bring along."""
    if recipe is None or not composed.warnings:
        return composed.warnings
    request = composed.requests[0]
    size = {"width": request.configuration.width, "height": request.configuration.height}
    recommended = ImageGenerationConfig(**{**parse_app_json(recipe.configuration), **size})
    inherited = list_warnings(replace(request, configuration=recommended), catalog, files)
    return tuple(warning for warning in composed.warnings if warning not in inherited)


def _find_preset(name: str) -> Recipe | None:
    if not name:
        return None
    recipes = {recipe.name: recipe for recipe in list_recipes()}
    found = {key.lower(): recipe for key, recipe in recipes.items()}.get(name.strip().lower())
    if found is None:
        raise UnknownNameError(f"There is no preset {name!r}.{suggest(name, recipes)}", name=name)
    return found


async def _resolve_model(arguments: GenerateArguments, offer: Offer, preset: Recipe | None) -> tuple[Model, Mode]:
    mode = arguments.resolved_mode
    name = arguments.model.strip()
    if name.lower() in {"", "auto"}:
        name = preset.model if preset else ""
    if not name:
        return await offer.choose_model(mode), mode
    model = await offer.get_model(name)
    if arguments.mode == "auto" and mode == "edit" and "edit" not in list_modes(model):
        # A model that cannot edit can still start from the picture that was given with it.
        return model, "image2image"
    return model, mode


def _resolve_size(
    arguments: GenerateArguments, model: Model, recipe: Recipe | None, canvas: NDArray[np.uint8] | None
) -> Size:
    side = model.native_side
    settings = {**(recipe.configuration if recipe else {}), **arguments.configuration}
    default = (int(settings.get("width") or side), int(settings.get("height") or side))
    if canvas is not None and not {"width", "height"} & arguments.configuration.keys():
        default = fit_to_area(canvas.shape[1], canvas.shape[0], side)
    return resolve_size(default, side, arguments.image_format, arguments.width, arguments.height)


async def _merge(
    arguments: GenerateArguments,
    offer: Offer,
    model: Model,
    mode: Mode,
    recipe: Recipe | None,
    loras: list[LoRAConfig],
    size: Size,
) -> ImageGenerationConfig:
    """Call over configuration over mode over recommended settings over the app's defaults."""
    width, height = size.rendered
    given = {
        "steps": arguments.steps,
        "guidance_scale": arguments.guidance_scale,
        "sampler": arguments.sampler or None,
        "strength": arguments.strength,
    }
    fields: dict[str, Any] = {
        **(parse_app_json(recipe.configuration) if recipe else {}),
        **({"strength": _DEFAULT_STRENGTH[mode]} if mode in _DEFAULT_STRENGTH else {}),
        **parse_app_json(arguments.configuration),
        **{name: value for name, value in given.items() if value is not None},
        "model": model.file,
        "width": width,
        "height": height,
        "seed": arguments.seed,
        "batch_size": 1,
        "batch_count": arguments.variants,
    }
    fields["loras"] = _join_loras(fields.get("loras", ()), loras)
    if "controls" not in arguments.configuration:
        # A configuration that names its controls says what reads the maps.
        controls = [await offer.build_control(kind, weight, model) for kind, _, weight in arguments.hints]
        fields["controls"] = (*fields.get("controls", ()), *controls)
    return ImageGenerationConfig(**fields)


def _join_loras(preset: tuple[LoRAConfig, ...], given: list[LoRAConfig]) -> tuple[LoRAConfig, ...]:
    """Those of the preset and those that were asked for, which win when a file occurs in both."""
    by_file = {lora.file: lora for lora in preset}
    for lora in given:
        by_file[lora.file] = lora.replace(mode=by_file[lora.file].mode) if lora.file in by_file else lora
    return tuple(by_file.values())
