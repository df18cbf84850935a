"""A call → the requests that will be sent: model, recommended settings, size, seeds.

Pure, but for questions to the server about its files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drawthings_mcp.catalog import Catalog, Model, find_entry
from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.generation import (
    GenerationRequest,
    ImageGenerationConfig,
    SamplerType,
    draw_seed,
    list_batch_seeds,
)
from drawthings_mcp.limits import UNIT
from drawthings_mcp.presets import (
    Recipe,
    choose_model,
    find_family,
    find_recipe,
    list_preferred_models,
    recommended_configuration,
)
from drawthings_mcp.studio.arguments import GenerateArguments
from drawthings_mcp.studio.guard import check_files, check_text_to_image
from drawthings_mcp.studio.sizes import Size, resolve_size
from drawthings_mcp.validation import find_nearest

if TYPE_CHECKING:
    from drawthings_mcp.client import AsyncDrawThingsClient

_DEFAULT_NATIVE_SIDE = 1024
"""Native side of nearly every image model since SDXL (protocol §8.4), for servers that do not tell."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided before the first request."""

    model: Model
    family: str
    recipe: Recipe | None
    size: Size
    requests: tuple[GenerationRequest, ...]
    mode: str = "text2image"
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
    """Decides model, settings, size and seeds of a call.

    Parameters
    ----------
    catalog
        What the server lists; None when it does not let its models be browsed.

    Raises
    ------
    UnknownNameError
        The server has no such model; names the nearest three.
    InvalidInputError
        Nothing suits the call, or the call would take the server down; says what would do.
    """
    model = await _resolve_model(arguments.model, client, catalog)
    check_text_to_image(model)
    recipe = find_recipe(model.file, model.version)
    recommended = ImageGenerationConfig(**recommended_configuration(model.file, model.version))
    size = _resolve_size(arguments, model, recipe)
    width, height = size.rendered
    configuration = recommended.replace(width=width, height=height, batch_size=1, batch_count=1, **_given(arguments))
    await check_files(configuration, client, catalog)
    seed = draw_seed() if arguments.seed < 0 else arguments.seed
    return Plan(
        model=model,
        family=find_family(model.version),
        recipe=recipe,
        size=size,
        requests=tuple(
            GenerationRequest(arguments.prompt, configuration.replace(seed=seed), arguments.negative_prompt)
            for seed in list_batch_seeds(seed, arguments.variants)
        ),
        notes=() if recipe else (f"no recommended settings are known for {model.file}; the app's defaults were used",),
    )


def _given(arguments: GenerateArguments) -> dict[str, Any]:
    given = {
        "steps": arguments.steps,
        "guidance_scale": arguments.guidance_scale,
        "sampler": SamplerType.parse(arguments.sampler) if arguments.sampler else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _resolve_size(arguments: GenerateArguments, model: Model, recipe: Recipe | None) -> Size:
    side = model.native_side
    settings = recipe.configuration if recipe else {}
    default = (int(settings.get("width") or side), int(settings.get("height") or side))
    return resolve_size(default, side, arguments.image_format, arguments.width, arguments.height)


async def _resolve_model(name: str, client: AsyncDrawThingsClient, catalog: Catalog | None) -> Model:
    if name.strip().lower() in {"", "auto"}:
        return await _choose_model(client, catalog)
    if catalog is not None:
        return catalog.get_model(name)
    file = name.strip() if name.strip().endswith(".ckpt") else f"{name.strip()}.ckpt"
    if (await client.files_exist([file]))[file]:
        return _unlisted_model(file)
    known = list_preferred_models()
    existing = [file for file, exists in (await client.files_exist(known)).items() if exists]
    nearest = find_nearest(name, existing or known)
    where = "on the server" if existing else "known"
    raise UnknownNameError(
        f"There is no model {name!r} on the server, which does not let its models be browsed: name a file exactly. "
        f"Nearest {where}: {', '.join(nearest)}.",
        name=name,
        nearest=nearest,
    )


async def _choose_model(client: AsyncDrawThingsClient, catalog: Catalog | None) -> Model:
    installed: Sequence[str]
    if catalog is not None:
        installed = [model.file for model in catalog.models if not model.remote]
    else:
        installed = [file for file, there in (await client.files_exist(list_preferred_models())).items() if there]
    file = choose_model(installed)
    if file is None:
        wanted = ", ".join(list_preferred_models()[:3])
        raise InvalidInputError(
            f"The server has no model that is known to work well for this. Download one of {wanted} in Draw Things "
            "(Settings → Model → Manage), or name an installed model."
        )
    model = find_entry(catalog.models, file) if catalog is not None else None
    return model or _unlisted_model(file)


def _unlisted_model(file: str) -> Model:
    recipe = find_recipe(file)
    version, side = (recipe.checkpoint.version, recipe.native_side) if recipe else ("", _DEFAULT_NATIVE_SIDE)
    return Model(file, file.removesuffix(".ckpt"), version, default_scale=side // UNIT)
