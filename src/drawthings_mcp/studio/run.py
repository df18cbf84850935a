"""Runs a plan: one request after the other, every picture on disk as soon as it is there."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.client import AsyncDrawThingsClient
from drawthings_mcp.errors import (
    DecoderCrashedError,
    DrawThingsError,
    StorageError,
    TensorError,
    TruncatedTransferError,
)
from drawthings_mcp.events import Event, ImageReceived, RemoteDownload, Sampling, StageReached, TransferAnnounced
from drawthings_mcp.generation import GeneratedImage, GenerationRequest
from drawthings_mcp.library import ImageCatalog, check_folder, file_stem, save_image
from drawthings_mcp.metadata import ModelKind
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.connection import Connection
from drawthings_mcp.studio.heartbeat import Report
from drawthings_mcp.studio.plan import Plan
from drawthings_mcp.studio.results import SavedVariant
from drawthings_mcp.studio.sizes import Size
from drawthings_mcp.tensors import decode_image, prestart

_logger = logging.getLogger(__name__)


class Shelf:
    """Where the pictures of one call go: files first, then the catalog."""

    def __init__(self, plan: Plan, settings: Settings, connection: Connection, output: Path | None = None) -> None:
        self._plan = plan
        self._folder = settings.output_dir if output is None else output.parent
        self._stem = "" if output is None else output.stem
        self._rescue_folder = settings.state_dir / "unsaved"
        self._catalog = ImageCatalog(settings.state_dir)
        self._connection = connection
        self.variants: list[SavedVariant] = []
        self.notes: list[str] = []

    async def keep(self, payload: bytes, request: GenerationRequest) -> None:
        """Decodes and saves one picture, also when the call is being cancelled: it has reached us.

        Raises
        ------
        TensorError
            The payload cannot be decoded.
        """
        try:
            with anyio.CancelScope(shield=True):
                variant, note = await anyio.to_thread.run_sync(self._keep, payload, request)
        except DecoderCrashedError:
            raise
        except TensorError as error:
            raise type(error)(
                f"The server sent a picture that cannot be read: {error} Generate it again; if that happens again, "
                "update Draw Things."
            ) from error
        self.variants.append(variant)
        if note:
            self.notes.append(note)

    async def prepare(self) -> None:
        """Refuses a folder that cannot be written before anything is rendered.

        Raises
        ------
        StorageError
            Says why, and how to choose another.
        """
        await anyio.to_thread.run_sync(check_folder, self._folder)

    def _keep(self, payload: bytes, request: GenerationRequest) -> tuple[SavedVariant, str]:
        pixels = _crop(decode_image(payload), self._plan.size)
        image = GeneratedImage(
            pixels,
            request.prompt,
            request.negative_prompt,
            request.configuration,
            simulated=self._connection.client.simulated,
        )
        now = datetime.now().astimezone()
        stem = self._stem or file_stem(request.prompt, image.seed, now)
        try:
            path, note = self._save(image, self._folder, stem), ""
        except StorageError as error:
            # The folder was fine when the run began. A picture that reached us is not thrown away for it.
            path = self._save(image, self._rescue_folder, stem)
            note = f"saved in {self._rescue_folder} instead, move it from there: {error}"
        identifier, catalog_note = self._record(path, image, now)
        return SavedVariant(identifier, path, image.size, image.seed), "; ".join(filter(None, (note, catalog_note)))

    def _save(self, image: GeneratedImage, folder: Path, stem: str) -> Path:
        return save_image(
            image,
            folder,
            stem,
            server=self._connection.address,
            requested_size=(self._plan.size.width, self._plan.size.height),
            kind=ModelKind(self._plan.model.version, self._plan.model.modifier),
            extra={"mode": self._plan.mode, "preset": self._plan.preset},
        )

    def _record(self, path: Path, image: GeneratedImage, now: datetime) -> tuple[str, str]:
        try:
            record = self._catalog.add(
                "v",
                path,
                created=now,
                prompt=image.prompt,
                negative_prompt=image.negative_prompt,
                seed=image.seed,
                model=image.configuration.model,
                width=image.size[0],
                height=image.size[1],
                server=self._connection.address,
                simulated=image.simulated,
            )
        except StorageError as error:
            _logger.warning("saved, but not in the catalog: %s: %s", path, error)
            return "", f"{path.name} is saved but has no id: {error}"
        return record.id, ""


def _crop(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """The centre of a canvas; what an upscaler enlarged is cropped in proportion."""
    factor = pixels.shape[1] / size.rendered[0]
    left, top, right, bottom = (round(edge * factor) for edge in size.crop_box)
    return pixels[top:bottom, left:right]


async def run_plan(plan: Plan, client: AsyncDrawThingsClient, shelf: Shelf, report: Report) -> None:
    """Sends the requests of a plan in turn; what they yield stands in ``shelf.variants``.

    The decoder's process starts while the server still works on the first picture.

    Raises
    ------
    DrawThingsError
        A request failed; its text says which pictures of the call are saved all the same.
    """
    await anyio.to_thread.run_sync(prestart)
    for place, request in enumerate(plan.requests):
        try:
            await _run_request(request, client, shelf, _Narrator(report, place, len(plan.requests)))
        except DrawThingsError as error:
            error.add_note(f"The seed was {request.configuration.seed}.")
            if shelf.variants:
                error.add_note(f"Saved before that: {_list_paths(shelf.variants)}.")
            raise


async def _run_request(
    request: GenerationRequest, client: AsyncDrawThingsClient, shelf: Shelf, narrator: _Narrator
) -> None:
    await narrator.say(0.0, "Waiting for the server")
    try:
        async with client.stream(request) as events:
            async for event in events:
                if isinstance(event, ImageReceived):
                    await shelf.keep(event.payload, request)
                await narrator.tell(event)
    except TruncatedTransferError as error:
        for payload in error.complete:
            with contextlib.suppress(TensorError):
                await shelf.keep(payload, request)
        raise


def _list_paths(variants: Sequence[SavedVariant]) -> str:
    return ", ".join(str(variant.path) for variant in variants)


@dataclass(frozen=True, slots=True)
class _Narrator:
    """Turns the events of one request into messages about the whole call."""

    report: Report
    place: int
    count: int

    async def say(self, fraction: float, message: str) -> None:
        whole = message if self.count == 1 else f"{message}, image {self.place + 1} of {self.count}"
        await self.report((self.place + fraction) / self.count, whole)

    async def tell(self, event: Event) -> None:
        message = _describe(event)
        if message:
            await self.say(event.fraction, message)


def _describe(event: Event) -> str:
    match event:
        case Sampling(step=step, total=total) if total > 0:
            reached = min(max(step, 0), total)
            return f"Step {reached}/{total} ({reached / total:.0%})"
        case Sampling(step=step):
            return f"Step {max(step, 0)}"
        case StageReached(stage=stage):
            return stage.value.capitalize()
        case RemoteDownload(received=received, expected=expected):
            share = f" ({received / expected:.0%})" if expected else ""
            return f"The server downloads a file{share}"
        case TransferAnnounced(size=size):
            return f"Receiving {size / 1e6:.1f} MB"
        case ImageReceived():
            return "Saved"
        case _:
            return ""
