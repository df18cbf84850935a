"""Where the pictures of one call go: files first, then the catalog. Nothing that reached us is thrown away."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import DecoderCrashedError, StorageError, TensorError
from drawthings_mcp.generation import GeneratedImage, GenerationRequest
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.new_files import check_folder, file_stem
from drawthings_mcp.library.originals import SavedFile, save_image
from drawthings_mcp.library.records import Parent
from drawthings_mcp.library.recovery import RESCUE_FOLDER
from drawthings_mcp.limits import MAX_UPSCALE_FACTOR
from drawthings_mcp.metadata.draw_things_keys import ModelKind
from drawthings_mcp.planning.plan import Plan
from drawthings_mcp.planning.sizes import Size
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.connection import Connection
from drawthings_mcp.studio.results import SavedVariant
from drawthings_mcp.tensors.image import decode_image

_logger = logging.getLogger(__name__)

_JOB_BYTES = 8


class Shelf:
    """The pictures of one call.

    Parameters
    ----------
    output
        File to write instead of one in the output folder.
    parents
        What the pictures are made from.

    Attributes
    ----------
    job
        What the records of all pictures of the call share.
    variants
        What is saved so far.
    notes
        Sentences about what did not go as planned on the side.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        connection: Connection,
        catalog: ImageCatalog,
        output: Path | None = None,
        *,
        parents: Sequence[Parent] = (),
    ) -> None:
        self._plan = plan
        self._folder = settings.output_dir if output is None else output.parent
        self._stem = "" if output is None else output.stem
        self._rescue_folder = settings.state_dir / RESCUE_FOLDER
        self._catalog = catalog
        self._connection = connection
        self._parents = tuple(parents)
        self.job = secrets.token_hex(_JOB_BYTES)
        self._failure: StorageError | None = None
        self.variants: list[SavedVariant] = []
        self.notes: list[str] = []

    async def prepare(self) -> None:
        """Refuses a folder that cannot be written before anything is rendered.

        Raises
        ------
        StorageError
            Says why, and how to choose another.
        """
        await anyio.to_thread.run_sync(check_folder, self._folder)

    async def keep(self, payload: bytes, request: GenerationRequest, upscale_factor: int = 1) -> None:
        """Decodes and saves one picture, also when the call is being cancelled: it has reached us.

        Raises
        ------
        TensorError
            The payload cannot be decoded.
        """
        try:
            with anyio.CancelScope(shield=True):
                variant = await anyio.to_thread.run_sync(self._keep, payload, request, upscale_factor)
        except DecoderCrashedError:
            raise
        except TensorError as error:
            raise type(error)(
                f"The server sent a picture that cannot be read: {error} Generate it again; if that happens again, "
                "update Draw Things."
            ) from error
        self.variants.append(variant)

    def _keep(self, payload: bytes, request: GenerationRequest, upscale_factor: int) -> SavedVariant:
        image = GeneratedImage(
            self._crop(decode_image(payload, max_pixels=self._max_pixels), upscale_factor),
            request.prompt,
            request.negative_prompt,
            request.configuration,
            simulated=self._connection.client.simulated,
        )
        now = datetime.now().astimezone()
        image_id = self._reserve_id()
        saved = self._save(image, self._stem or file_stem(request.prompt, image.seed, now), image_id)
        return SavedVariant(self._record(saved, image, now, image_id), saved.path, image.size, image.seed)

    def _reserve_id(self) -> str:
        """The id that the file will carry; empty when the catalog cannot be written, which is noted with the file."""
        try:
            return self._catalog.reserve("v", self._folder)
        except StorageError as error:
            self._failure = error
            return ""

    @property
    def _max_pixels(self) -> int:
        """The most that a server can have made of the request, whatever it claims."""
        width, height = self._plan.size.rendered
        return width * height * MAX_UPSCALE_FACTOR**2

    def _crop(self, pixels: NDArray[np.uint8], upscale_factor: int) -> NDArray[np.uint8]:
        """The part that was asked for; the whole picture when the server did not render what it was told."""
        size: Size = self._plan.size
        sent = (pixels.shape[1], pixels.shape[0])
        expected = tuple(side * upscale_factor for side in size.rendered)
        if sent != expected:
            self.notes.append(
                f"the server sent {sent[0]}×{sent[1]} instead of {expected[0]}×{expected[1]}; it was not cropped"
            )
            return pixels
        left, top, right, bottom = (edge * upscale_factor for edge in size.crop_box)
        return pixels[top:bottom, left:right]

    def _save(self, image: GeneratedImage, stem: str, image_id: str) -> SavedFile:
        try:
            return self._write(image, self._folder, stem, image_id)
        except StorageError as error:
            # The folder was fine when the run began. A picture that reached us is not thrown away for it.
            saved = self._write(image, self._rescue_folder, stem, image_id)
            self.notes.append(f"saved in {self._rescue_folder} instead, move it from there: {error}")
            return saved

    def _write(self, image: GeneratedImage, folder: Path, stem: str, image_id: str) -> SavedFile:
        own = {"id": image_id} if image_id else {}
        return save_image(
            image,
            folder,
            stem,
            server=self._connection.address,
            requested_size=(self._plan.size.width, self._plan.size.height),
            kind=ModelKind(self._plan.model.version, self._plan.model.modifier),
            extra={
                **own,
                "mode": self._plan.mode,
                "preset": self._plan.preset,
                "job": self.job,
                "parents": self._parents,
            },
        )

    def _record(self, saved: SavedFile, image: GeneratedImage, now: datetime, image_id: str) -> str:
        if not image_id:
            return self._explain_missing_id(saved)
        try:
            record = self._catalog.add(
                "v",
                saved.path,
                reserved=image_id,
                created=now,
                prompt=image.prompt,
                negative_prompt=image.negative_prompt,
                seed=image.seed,
                model=image.configuration.model,
                width=image.size[0],
                height=image.size[1],
                server=self._connection.address,
                simulated=image.simulated,
                sha256=saved.sha256,
                size_bytes=saved.size_bytes,
                format=saved.format,
                configuration=image.configuration.to_app_json(),
                job=self.job,
                parents=self._parents,
            )
        except StorageError as error:
            self._failure = error
            return self._explain_missing_id(saved)
        return record.id

    def _explain_missing_id(self, saved: SavedFile) -> str:
        _logger.warning("saved, but not in the catalog: %s: %s", saved.path, self._failure)
        self.notes.append(f"{saved.path.name} is saved but has no id: {self._failure}")
        return ""
