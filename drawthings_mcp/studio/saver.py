"""Where the pictures of one call go: files first, then the catalog. Nothing that reached us is thrown away."""

from __future__ import annotations

import itertools
import json
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import StorageError, TensorError
from drawthings_mcp.faces import Text
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig, ResultImage
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.new_files import check_folder, file_stem
from drawthings_mcp.library.originals import SavedFile, read_pixels, save_image
from drawthings_mcp.library.records import ImageRecord, RecordFields, build_record
from drawthings_mcp.library.recovery import RESCUE_FOLDER
from drawthings_mcp.limits import MAX_UPSCALE_FACTOR
from drawthings_mcp.metadata.draw_things_keys import ModelKind
from drawthings_mcp.planning.compose import Plan
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.connection import Connection
from drawthings_mcp.studio.inputs import Inputs
from drawthings_mcp.studio.results import SavedImage
from drawthings_mcp.tasks import raised_alone
from drawthings_mcp.tensors.fitting import fit_pixels, put_alpha
from drawthings_mcp.tensors.fpzip_pool import MAX_PROCESSES
from drawthings_mcp.tensors.image import decode_image, explained_as_received

if TYPE_CHECKING:
    from drawthings_mcp.attachments.preview import PreparedPicture

_logger = logging.getLogger(__name__)

_JOB_BYTES = 8
_RGB = 3
_MOST_UNSAVED = 3
"""Pictures in memory that are still to be written before the next one is rendered."""

Prepare: TypeAlias = Callable[[NDArray[np.uint8]], "PreparedPicture"]
"""Pixels → what they are shown by."""


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One plan, and what the pictures that come of it are recorded with.

    Attributes
    ----------
    asked
        ``GenerateParams.digest`` of the call; empty where no such call would make them.
    label
        What sets it apart from the other plans of one call; empty when there are none.
    """

    plan: Plan
    inputs: Inputs
    asked: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class RenderedBy:
    """Where a picture came from.

    Attributes
    ----------
    place
        Of its request in the call.
    """

    connection: Connection
    place: int


class Saver:
    """Saves the pictures of one call; they are written as they come, and numbered so or as they were asked for.

    Parameters
    ----------
    output
        File to write instead of one in the output folder.
    name
        What files are called after; empty for the prompt.
    prepare
        Makes what each is shown by.
    keeps_pixels
        Whether they stay in memory; those of many pictures had better not.
    job
        What the records of all pictures of the call share; by default drawn.
    done
        Pictures of the same job that an earlier process saved: they are not rendered twice.

    Attributes
    ----------
    notes
        Sentences about what did not go as planned on the side.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: ImageCatalog,
        output: Path | None = None,
        *,
        name: str = "",
        prepare: Prepare | None = None,
        keeps_pixels: bool = True,
        job: str = "",
        done: Iterable[ImageRecord] = (),
    ) -> None:
        self._folder = settings.output_dir if output is None else output.parent
        self._stem = "" if output is None else output.stem
        self._name = name
        self._rescue_folder = settings.state_dir / RESCUE_FOLDER
        self._catalog = catalog
        self._prepare = prepare
        self._keeps_pixels = keeps_pixels
        self._arrivals = itertools.count()
        self._reserved: dict[int, list[str]] = {}
        self._decoders = anyio.Semaphore(MAX_PROCESSES)
        self._numbering = anyio.Lock()
        self._written = anyio.Event()
        self._written.set()
        self._latest: deque[anyio.Event] = deque(maxlen=_MOST_UNSAVED)
        self._saved: dict[tuple[int, int], SavedImage] = {}
        self._job = job or secrets.token_hex(_JOB_BYTES)
        self._done = list(done)
        self._failure: StorageError | None = None
        self.notes: list[str] = []

    @property
    def images(self) -> list[SavedImage]:
        """What is saved so far, in the order in which it was asked for, then in which it came."""
        return [image for _, image in sorted(self._saved.items())]

    async def prepare(self) -> None:
        """Refuses a folder that cannot be written before anything is rendered.

        Raises
        ------
        StorageError
            Says why, and how to choose another.
        """
        await anyio.to_thread.run_sync(check_folder, self._folder)

    async def wait_for_room(self) -> None:
        """Waits while too many pictures are still to be written: what comes faster than that would fill memory."""
        if len(self._latest) == _MOST_UNSAVED:
            await self._latest[0].wait()

    async def take_over(self, request: GenerationRequest, place: int) -> bool:
        """Whether an earlier process saved the picture of a request, which then counts as that of this call."""
        asked = _describe_request(request.prompt, request.configuration.to_app_json())
        found = next((one for one in self._done if _describe_request(one.prompt, one.configuration) == asked), None)
        if found is None:
            return False
        self._done.remove(found)
        pixels = await anyio.to_thread.run_sync(read_pixels, found) if self._keeps_pixels else None
        self._saved[place, next(self._arrivals)] = SavedImage(found, pixels)
        return True

    @asynccontextmanager
    async def number(self, counts: Mapping[int, int]) -> AsyncIterator[None]:
        """Takes the ids of pictures that will come in any order; those of pictures that never came are given back.

        Parameters
        ----------
        counts
            How many come of each place.
        """
        try:
            for place, count in counts.items():
                self._reserved[place] = [await anyio.to_thread.run_sync(self._reserve_id) for _ in range(count)]
            yield
        finally:
            left = [image_id for ids in self._reserved.values() for image_id in ids if image_id]
            with anyio.CancelScope(shield=True):
                for image_id in sorted(left, key=lambda name: int(name[1:]), reverse=True):
                    await anyio.to_thread.run_sync(self._catalog.release, image_id)

    async def save(
        self, payload: bytes, call: PlannedCall, request: GenerationRequest, source: RenderedBy, upscale_factor: int = 1
    ) -> None:
        """Decodes and saves one picture, also when the call is being cancelled: it has reached us.

        It gets its id while it is decoded, and the next one is decoded while it is written.

        Parameters
        ----------
        source
            Where it came from.

        Raises
        ------
        TensorError
            The payload cannot be decoded.
        """
        arrival, before, written = next(self._arrivals), self._written, anyio.Event()
        self._written = written
        self._latest.append(written)
        with anyio.CancelScope(shield=True):
            try:
                async with self._decoders:
                    image_id, pixels = await self._receive(payload, call.plan, source.place, upscale_factor)
                # One at a time, and in turn: names of files and times follow the order of the call.
                await before.wait()
                order = source.place, arrival
                self._saved[order] = await anyio.to_thread.run_sync(self._save, pixels, call, request, source, image_id)
            finally:
                await before.wait()
                written.set()

    async def _receive(
        self, payload: bytes, plan: Plan, place: int, upscale_factor: int
    ) -> tuple[str, NDArray[np.uint8]]:
        """The id and the pixels of a picture; the id is free again when there are no pixels."""
        image_id = ""

        async def reserve_id() -> None:
            nonlocal image_id
            async with self._numbering:
                if reserved := self._reserved.get(place):
                    image_id = reserved.pop(0)
                else:
                    image_id = await anyio.to_thread.run_sync(self._reserve_id)

        try:
            with raised_alone():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(reserve_id)
                    pixels = await anyio.to_thread.run_sync(self._decode, payload, plan, upscale_factor)
        except TensorError:
            if image_id:
                await anyio.to_thread.run_sync(self._catalog.release, image_id)
            raise
        return image_id, pixels

    def _decode(self, payload: bytes, plan: Plan, upscale_factor: int) -> NDArray[np.uint8]:
        # The most that a server can have made of the request, whatever it claims.
        width, height = plan.size.rendered
        most = width * height * MAX_UPSCALE_FACTOR**2
        with explained_as_received():
            pixels = decode_image(payload, max_pixels=most, report=self._note_once)
        cropped = self._crop(pixels, plan, upscale_factor)
        if plan.alpha is not None and cropped.shape[2] == _RGB:
            return put_alpha(cropped, plan.alpha)
        return cropped if plan.region is None else plan.region.paste(cropped)

    def _note_once(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _save(
        self,
        pixels: NDArray[np.uint8],
        call: PlannedCall,
        request: GenerationRequest,
        source: RenderedBy,
        image_id: str,
    ) -> SavedImage:
        image = ResultImage(
            pixels,
            request.prompt,
            request.negative_prompt,
            request.configuration,
            simulated=source.connection.client.simulated,
        )
        now = datetime.now().astimezone()
        with ThreadPoolExecutor(1) as other:
            preparing = other.submit(self._prepare, pixels) if self._prepare is not None else None
            stem, server = (
                self._stem or file_stem(self._name or request.prompt, image.seed, now),
                source.connection.name,
            )
            saved = self._write(image, call, stem, server, image_id)
            record = self._record(saved, image, call, server, now, image_id)
            # What fails here will say so when the picture is shown.
            prepared = preparing.result() if preparing is not None and preparing.exception() is None else None
        return SavedImage(record, image.pixels if self._keeps_pixels else None, prepared)

    def _reserve_id(self) -> str:
        """The id that the file will carry; empty when the catalog cannot be written, which is noted with the file."""
        try:
            return self._catalog.reserve("v", self._folder)
        except StorageError as error:
            self._failure = error
            return ""

    def _crop(self, pixels: NDArray[np.uint8], plan: Plan, upscale_factor: int) -> NDArray[np.uint8]:
        """The part that was asked for; the whole picture when the server rendered another size."""
        size = plan.size
        sent = (pixels.shape[1], pixels.shape[0])
        expected = tuple(side * upscale_factor for side in size.rendered)
        if sent != expected:
            self._note_once(
                f"the server sent {sent[0]}×{sent[1]} instead of {expected[0]}×{expected[1]}; it was not cropped"
            )
            return pixels
        left, top, right, bottom = (edge * upscale_factor for edge in size.crop_box)
        kept = pixels[top:bottom, left:right]
        return kept if plan.output is None else fit_pixels(kept, plan.output, "stretch")

    def _write(self, image: ResultImage, call: PlannedCall, stem: str, server: str, image_id: str) -> SavedFile:
        try:
            return self._write_into(self._folder, image, call, stem, server, image_id)
        except StorageError as error:
            # The folder was fine when the run began. A picture that reached us is not thrown away for it.
            saved = self._write_into(self._rescue_folder, image, call, stem, server, image_id)
            self._note_once(
                Text("saved in {folder} instead, move it from there: {error}", folder=self._rescue_folder, error=error)
            )
            return saved

    def _write_into(
        self, folder: Path, image: ResultImage, call: PlannedCall, stem: str, server: str, image_id: str
    ) -> SavedFile:
        plan = call.plan
        own = {**({"id": image_id} if image_id else {}), **({"asked": call.asked} if call.asked else {})}
        return save_image(
            image,
            folder,
            stem,
            server=server,
            requested_size=plan.output or (plan.size.width, plan.size.height),
            kind=ModelKind(plan.model.version, plan.model.modifier),
            extra={
                **own,
                **({} if plan.region is None else {"region": list(plan.region.box)}),
                "mode": plan.mode,
                "preset": plan.preset,
                "job": self._job,
                "parents": tuple(call.inputs.parents),
            },
            private=folder == self._rescue_folder,
        )

    def _record(
        self, saved: SavedFile, image: ResultImage, call: PlannedCall, server: str, now: datetime, image_id: str
    ) -> ImageRecord:
        facts: RecordFields = {
            "created": now,
            "prompt": image.prompt,
            "negative_prompt": image.negative_prompt,
            "seed": image.seed,
            "model": image.configuration.model,
            "width": image.size[0],
            "height": image.size[1],
            "server": server,
            "simulated": image.simulated,
            "size_bytes": saved.size_bytes,
            "format": saved.format,
            "configuration": image.configuration.to_app_json(),
            "job": self._job,
            "parents": tuple(call.inputs.parents),
        }
        if image_id:
            try:
                return self._catalog.add("v", saved.path, reserved=image_id, sha256=saved.sha256, **facts)
            except StorageError as error:
                self._failure = error
        _logger.warning("saved, but not in the catalog: %s: %s", saved.path, self._failure)
        self.notes.append(Text("{name} is saved but has no id: {error}", name=saved.path.name, error=self._failure))
        return build_record("", saved.path, "", saved.sha256, facts)


def _describe_request(prompt: str, configuration: Mapping[str, Any]) -> str:
    """Equal for what renders the same picture, whether it was read from the catalog, from a file, or not yet sent."""
    return json.dumps([prompt, ImageGenerationConfig.from_app_json(configuration).to_app_json()], sort_keys=True)
