"""A call → the requests that will be sent: mode, model, settings, size, pictures, seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from drawthings_mcp.catalog import Catalog, Model
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig
from drawthings_mcp.params import GenerateArguments, Mode
from drawthings_mcp.planning import ComposedRequests, compose_requests, list_warnings
from drawthings_mcp.planning.abilities import reads_canvas
from drawthings_mcp.planning.modes import check_mask, check_references, check_text_only
from drawthings_mcp.planning.offer import Offer
from drawthings_mcp.planning.selection import Choice, choose
from drawthings_mcp.planning.settings_merge import Resolution, resolve
from drawthings_mcp.planning.sizes import Size
from drawthings_mcp.planning.wording import refusals_reworded, reword
from drawthings_mcp.presets.collection import read_presets
from drawthings_mcp.settings import Settings
from drawthings_mcp.tensors.pixels import ensure_pixels

if TYPE_CHECKING:
    from drawthings_mcp.client.server_client import ServerClient

_SAME_SHAPE = 0.95
"""Proportions that differ by less are the same to the eye; rounding to multiples of 64 makes that much."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided before the first request.

    Attributes
    ----------
    notes
        Sentences for the caller about what was decided or will not be as asked.
    """

    choice: Choice
    resolution: Resolution
    requests: tuple[GenerationRequest, ...]
    notes: tuple[str, ...] = ()

    @property
    def mode(self) -> Mode:
        """What is done."""
        return self.choice.mode

    @property
    def model(self) -> Model:
        """What does it."""
        return self.choice.model

    @property
    def size(self) -> Size:
        """What is rendered, and what of it is kept."""
        return self.resolution.size

    @property
    def preset(self) -> str:
        """Name of the topmost settings that were used; empty when there are none for the model."""
        return self.choice.settings.name if self.choice.settings else ""

    @property
    def configuration(self) -> ImageGenerationConfig:
        """That of the first request; the others differ in the seed only."""
        return self.requests[0].configuration


async def plan_generation(
    arguments: GenerateArguments, settings: Settings, client: ServerClient, catalog: Catalog | None
) -> Plan:
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
    presets = await anyio.to_thread.run_sync(read_presets, settings.custom_configs, settings.state_dir)
    offer = Offer(client, catalog)
    choice = await choose(arguments, offer, presets)
    has_controls = _may_have_controls(arguments, choice)
    has_picture = arguments.has_picture or arguments.mask is not None
    check_text_only(choice.mode, has_picture=has_picture, has_controls=has_controls)
    check_references(choice.model, len(arguments.moodboard), has_controls=has_controls)
    canvas = None if arguments.canvas is None else await anyio.to_thread.run_sync(ensure_pixels, arguments.canvas)
    check_mask(choice.mode, canvas, has_mask=arguments.mask is not None)
    canvas_size = None if canvas is None else (canvas.shape[1], canvas.shape[0])
    loras = [offer.build_lora(name, weight) for name, weight in arguments.loras]
    resolution = resolve(arguments, choice, canvas_size, loras)
    configuration = await _add_controls(arguments, offer, choice, resolution.configuration)
    catalog, files = (catalog, None) if catalog is not None else await client.look_up(configuration)
    compose = partial(
        compose_requests,
        arguments.prompt,
        configuration,
        negative_prompt=arguments.negative_prompt or choice.negative_prompt,
        input_image=canvas,
        mask_image=arguments.mask,
        moodboard=arguments.moodboard,
        hint_images={kind: picture for kind, picture, _ in arguments.hints} or None,
        fit=arguments.fit,
        catalog=catalog,
        files=files,
    )
    with refusals_reworded(choice.preset):
        composed = await anyio.to_thread.run_sync(compose)
    left_open = replace(
        composed.requests[0], configuration=resolution.inherited, negative_prompt=choice.negative_prompt
    )
    warnings = _drop_inherited(composed, left_open, catalog, files)
    told = (
        *_explain_crop(canvas_size, resolution, arguments.fit),
        *_explain_strength(choice, resolution, has_controls=has_controls),
    )
    return Plan(choice, resolution, composed.requests, notes=(*choice.notes, *presets.problems, *told, *warnings))


def _may_have_controls(arguments: GenerateArguments, choice: Choice) -> bool:
    settings = choice.preset.configuration if choice.preset else {}
    return bool(arguments.hints or arguments.configuration.get("controls") or settings.get("controls"))


async def _add_controls(
    arguments: GenerateArguments, offer: Offer, choice: Choice, configuration: ImageGenerationConfig
) -> ImageGenerationConfig:
    """The controls that read the maps of the call; a configuration that names its controls says so itself."""
    if not arguments.hints or "controls" in arguments.configuration:
        return configuration
    controls = [await offer.build_control(kind, weight, choice.model) for kind, _, weight in arguments.hints]
    return configuration.replace(controls=(*configuration.controls, *controls))


def _explain_crop(canvas_size: tuple[int, int] | None, resolution: Resolution, fit: str) -> tuple[str, ...]:
    """That a preset's size cut something off the canvas; a size of the call is meant to."""
    size, origin = resolution.size, resolution.origins["width"]
    if canvas_size is None or fit != "crop" or not origin.startswith("preset"):
        return ()
    change = canvas_size[0] / canvas_size[1] / (size.width / size.height)
    if _SAME_SHAPE < change < 1 / _SAME_SHAPE:
        return ()
    return (
        f"the canvas was cropped to {size.width}×{size.height}, the size in the preset; image_format, or width and "
        "height, change that",
    )


def _explain_strength(choice: Choice, resolution: Resolution, *, has_controls: bool) -> tuple[str, ...]:
    """That a preset's strength leaves nothing of the canvas; one that the call gives is warned of as any other."""
    origin = resolution.origins.get("strength", "")
    if choice.mode != "image2image" or resolution.configuration.strength < 1 or not origin.startswith("preset"):
        return ()
    if has_controls or reads_canvas(choice.model.version, choice.model.modifier):
        return ()
    return (f"strength is 1 in {origin}, so that nothing of the canvas is used; give strength, about 0.6",)


def _drop_inherited(
    composed: ComposedRequests,
    left_open: GenerationRequest,
    catalog: Catalog | None,
    files: Mapping[str, bool] | None,
) -> tuple[str, ...]:
    """The warnings that the caller can do something about: not those that preset, mode or recipe bring along.

    Parameters
    ----------
    left_open
        The request had the call given nothing but prompt and pictures.
    """
    if not composed.warnings:
        return ()
    known = list_warnings(left_open, catalog, files)
    return tuple(reword(warning) for warning in composed.warnings if warning not in known)
