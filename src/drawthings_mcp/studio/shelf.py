"""Where the pictures of one call go: files first, then the catalog. Nothing that reached us is thrown away."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import DecoderCrashedError, StorageError, TensorError
from drawthings_mcp.generation import GeneratedImage, GenerationRequest
from drawthings_mcp.library import ImageCatalog, check_folder, file_stem, save_image
from drawthings_mcp.limits import MAX_UPSCALE_FACTOR
from drawthings_mcp.metadata import ModelKind
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.connection import Connection
from drawthings_mcp.studio.plan import Plan
from drawthings_mcp.studio.results import SavedVariant
from drawthings_mcp.studio.sizes import Size
from drawthings_mcp.tensors import decode_image

_logger = logging.getLogger(__name__)


class Shelf:
    """The pictures of one call.

    Attributes
    ----------
    variants
        What is saved so far.
    notes
        Sentences about what did not go as planned on the side.
    """

    def __init__(self, plan: Plan, settings: Settings, connection: Connection, output: Path | None = None) -> None:
        self._plan = plan
        self._folder = settings.output_dir if output is None else output.parent
        self._stem = "" if output is None else output.stem
        self._rescue_folder = settings.state_dir / "unsaved"
        self._catalog = ImageCatalog(settings.state_dir)
        self._connection = connection
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
        path = self._save(image, self._stem or file_stem(request.prompt, image.seed, now))
        return SavedVariant(self._record(path, image, now), path, image.size, image.seed)

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

    def _save(self, image: GeneratedImage, stem: str) -> Path:
        try:
            return self._write(image, self._folder, stem)
        except StorageError as error:
            # The folder was fine when the run began. A picture that reached us is not thrown away for it.
            path = self._write(image, self._rescue_folder, stem)
            self.notes.append(f"saved in {self._rescue_folder} instead, move it from there: {error}")
            return path

    def _write(self, image: GeneratedImage, folder: Path, stem: str) -> Path:
        return save_image(
            image,
            folder,
            stem,
            server=self._connection.address,
            requested_size=(self._plan.size.width, self._plan.size.height),
            kind=ModelKind(self._plan.model.version, self._plan.model.modifier),
            extra={"mode": self._plan.mode, "preset": self._plan.preset},
        )

    def _record(self, path: Path, image: GeneratedImage, now: datetime) -> str:
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
            self.notes.append(f"{path.name} is saved but has no id: {error}")
            return ""
        return record.id
