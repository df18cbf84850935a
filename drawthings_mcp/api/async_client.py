"""The asynchronous client: composing, running, decoding and saving on top of one connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

import anyio.to_thread

from drawthings_mcp.api.results import EventCallback, GeneratedImage, check_target, collect_images, warn_caller
from drawthings_mcp.api.videos import SavedVideo, VideoRecorder
from drawthings_mcp.catalog import ServerInventory
from drawthings_mcp.client.server_client import ServerClient
from drawthings_mcp.faces import PYTHON
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig, ResultImage
from drawthings_mcp.generation.recipe import PictureRecipe
from drawthings_mcp.library.originals import save_image
from drawthings_mcp.limits import Fit
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.planning.compose import Plan, compose
from drawthings_mcp.planning.hints import HintImages
from drawthings_mcp.planning.lookup import describe_model, find_model_recipe
from drawthings_mcp.planning.repetition import begin_with, take_over
from drawthings_mcp.planning.sizes import Size
from drawthings_mcp.presets.mode_table import find_recipe
from drawthings_mcp.tensors.pixels import ImageLike


class Pictures(TypedDict, total=False):
    """What a run can be given in addition to prompt and configuration; see ``planning.compose.compose``."""

    negative_prompt: str
    input_image: ImageLike | None
    mask_image: ImageLike | None
    moodboard: ImageLike | Sequence[ImageLike]
    hint_images: HintImages | None
    fit: Fit


_GIVEN = "input_image"
"""Stands for a picture that the plan of a call need not look at."""
_PLAN_NAMES: Mapping[str, str] = {PYTHON.name(name): name for name in ("canvas", "mask", "hints")}


class AsyncDrawThingsClient(ServerClient):
    """A client of one server with everything a program needs, used inside ``async with``; on asyncio only, as gRPC is.

    ``ServerClient`` describes the parameters and errors; it connects, asks and streams, this class composes requests,
    decodes and saves.
    """

    async def generate(self, request: GenerationRequest, on_event: EventCallback | None = None) -> list[GeneratedImage]:
        """Runs one pass and gives its images, or the frames of its video.

        Parameters
        ----------
        on_event
            Called with every event, in order; the run waits for it. May be a coroutine function.

        Raises
        ------
        DrawThingsError
            As ``stream``; or ``TensorError`` when an image cannot be decoded.
        """
        async with self.stream(request) as events:
            images = await collect_images(events, request, on_event)
        return [replace(image, simulated=self.simulated) for image in images]

    async def generate_image(
        self,
        prompt: str,
        config: ImageGenerationConfig,
        *,
        on_event: EventCallback | None = None,
        **pictures: Unpack[Pictures],
    ) -> list[GeneratedImage]:
        """Runs all passes that the configuration asks for and gives their images in order.

        The server is asked for its files first; what it would crash on is refused, what it would silently do otherwise
        is refused or warned about with ``DrawThingsWarning``.

        Parameters
        ----------
        config
            A seed of -1 is drawn; ``batch_count`` passes are run, each with the next seeds.
        on_event
            Called with the events of all passes; ``fraction`` begins again with each.
        negative_prompt
            What to avoid; many models ignore it, which is warned about.
        input_image
            The picture to start from or to change: a path, the bytes of a file, a Pillow image, or an array ``(H, W)``
            or ``(H, W, 1 to 4)`` of uint8 or bool. Fitted to the configuration's size. Its clear parts are painted.
        mask_image
            White is repainted, black kept; such a picture too, of the size of ``input_image`` or of the configuration.
        moodboard
            Further such pictures, in order, for models that edit and controls that look at pictures.
        hint_images
            Ready maps for controls by kind, ``{"canny": map}``; ``planning.hints.read_hints`` says how each is drawn.
        fit
            How pictures of another shape are brought to the size: ``crop`` (default), ``pad`` or ``stretch``.

        Raises
        ------
        UnknownNameError
            The server lacks a file that the configuration names; carries the nearest three.
        InvalidInputError
            A picture cannot be used, or the server would not survive the request.
        DrawThingsError
            As ``generate``.
        """
        composed = await self.compose(prompt, config, **pictures)
        images: list[GeneratedImage] = []
        for request in composed.requests:
            images += await self.generate(request, on_event)
        return images

    async def generate_video(
        self,
        prompt: str,
        config: ImageGenerationConfig,
        *,
        output_dir: str | Path = "output",
        prefix: str = "video",
        on_event: EventCallback | None = None,
        **pictures: Unpack[Pictures],
    ) -> SavedVideo:
        """Runs one pass of a model that makes videos and saves frames, sound and one file that moves.

        However long the video is, at most two decoded frames are in memory. Nothing is ever overwritten.

        Parameters
        ----------
        output_dir
            Made when it is missing.
        prefix
            The beginning of all names.
        **pictures
            As for ``generate_image``; ``input_image`` is the first frame for models that begin with one.

        Raises
        ------
        InvalidInputError
            The model makes pictures, or ``batch_count`` is above 1; or as ``generate_image``.
        StorageError
            A file cannot be written; frames before it stay.
        DrawThingsError
            As ``generate_image``.
        """
        folder = check_target(output_dir, prefix)
        composed = await self.compose(prompt, config, **pictures)
        recorder = VideoRecorder(composed, folder, prefix, str(self.address))
        async with self.stream(recorder.request) as events:
            return await recorder.record(events, lambda: self.simulated, on_event)

    async def compose(self, prompt: str, config: ImageGenerationConfig, **pictures: Unpack[Pictures]) -> Plan:
        """The requests that ``generate_image`` would send, one per pass, ready for ``generate`` or ``stream``.

        Warns with ``DrawThingsWarning`` about what the server would silently do otherwise.

        Parameters
        ----------
        **pictures
            As for ``generate_image``.

        Raises
        ------
        DrawThingsError
            As ``generate_image``, but nothing is run.
        """
        inventory = await self.take_inventory()
        named: dict[str, Any] = {_PLAN_NAMES.get(name, name): value for name, value in pictures.items()}
        plan = await self.work_out(inventory, partial(compose, prompt, config, inventory, **named))
        for note in plan.notes:
            warn_caller(note)
        return plan

    async def recommend(self, model: str = "") -> dict[str, Any]:
        """The fields of an ``ImageGenerationConfig`` that suit a model, to make pictures from text.

        They are those that the command line would use, with the model's native size.

        Parameters
        ----------
        model
            A file; by default the model that suits best of what the server has.

        Raises
        ------
        InvalidInputError
            Nothing that the server has is known to suit; says what to download.
        ServerError
            The server, or the way to it, failed.
        """
        inventory = await self.take_inventory()
        return await self.work_out(inventory, partial(_recommend, inventory, model))

    async def begin_with(
        self, recipe: PictureRecipe, prompt: str = "", *, model: str = "", input_image: ImageLike | None = None
    ) -> GenerationRequest:
        """What repeats a picture: its prompts and configuration, as far as this server can follow them.

        Warns with ``DrawThingsWarning`` about what cannot be taken over.

        Parameters
        ----------
        recipe
            From ``read_recipe``.
        prompt, model
            In place of the recipe's; settings for a model of another kind are left out.
        input_image
            The picture to start from, if any; without one the recipe's strength is left out.

        Raises
        ------
        InvalidInputError
            The picture tells nothing, or no prompt where none is given.
        ServerError
            As ``recommend``.
        """
        inventory = await self.take_inventory()
        asked = GenerateParams(
            prompt=prompt, settings_from=recipe, model=model or "auto", canvas=_GIVEN if input_image is not None else ""
        )

        def choose() -> tuple[GenerationRequest, tuple[str, ...]]:
            call = begin_with(recipe, asked, inventory)
            fields = _recommend(inventory, "" if call.model == "auto" else call.model)
            taken = take_over(recipe, call, describe_model(inventory, fields["model"]), inventory, None)
            size = dict(zip(("width", "height"), Size(*taken.size).rendered, strict=True)) if taken.size else {}
            seed = -1 if call.seed is None else call.seed
            config = ImageGenerationConfig.from_saved(**{**fields, **taken.fields, **size, "seed": seed})
            return GenerationRequest(call.prompt, config, call.negative_prompt), taken.notes

        request, notes = await self.work_out(inventory, choose)
        for note in notes:
            warn_caller(note)
        return request

    async def save_images(
        self, images: Sequence[ResultImage], output_dir: str | Path = "output", prefix: str = "image"
    ) -> list[Path]:
        """Writes images as PNG with their metadata: ``prefix.png``, ``prefix-2.png``, …, never over a file that exists.

        Parameters
        ----------
        output_dir
            Made when it is missing.

        Raises
        ------
        InvalidInputError
            The prefix is not the beginning of a file's name.
        StorageError
            A file cannot be written.
        """
        folder = check_target(output_dir, prefix)
        save = partial(save_image, server=str(self.address))
        return [(await anyio.to_thread.run_sync(save, image, folder, prefix)).path for image in images]


def _recommend(inventory: ServerInventory, model: str) -> dict[str, Any]:
    if model:
        known = describe_model(inventory, model)
        recipe = find_recipe(known.file, known.version)
        fields = recipe.parse().fields if recipe else {}
    else:
        usable = find_model_recipe(inventory, "auto", "text2image")
        known, fields = describe_model(inventory, usable.model), usable.recipe.parse().fields
    native = {"width": known.native_side, "height": known.native_side}
    return {**native, **fields, "model": known.file}
