"""One run: its plan worked off step by step, with pictures painted and packed in threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from anyio import to_thread
from numpy.typing import NDArray

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator.catalog import Shelf
from drawthings_mcp.simulator.journal import Journal
from drawthings_mcp.simulator.latents import build_latent
from drawthings_mcp.simulator.painting.picture import draw
from drawthings_mcp.simulator.plan import RunPlan, plan_run
from drawthings_mcp.simulator.signposts import list_announced, list_steps
from drawthings_mcp.simulator.sound import compose_chord
from drawthings_mcp.simulator.transfer import list_messages
from drawthings_mcp.tensors.audio import encode_audio
from drawthings_mcp.tensors.header import Codec
from drawthings_mcp.tensors.image import encode_image
from drawthings_mcp.tensors.latent import encode_latent

Pixels = NDArray[np.uint8]
_Result = TypeVar("_Result")


class Listener(Protocol):
    """The client of a run."""

    def emit(self, message: pb.ImageGenerationResponse) -> None:
        """Take a message, or stop the run by raising when the client has gone."""

    async def pause(self, seconds: float) -> None:
        """Wait, but not for a client that has gone."""


@dataclass(frozen=True)
class RunSettings:
    """What every run of a server shares.

    Attributes
    ----------
    shelf
        The files that are there.
    journal
        Where crashes and degradations are noted.
    codec
        For images, previews and sound.
    step_seconds
        How long one step of sampling takes.
    """

    shelf: Shelf
    journal: Journal
    codec: Codec
    step_seconds: float


async def perform_run(request: pb.ImageGenerationRequest, settings: RunSettings, listener: Listener) -> None:
    """Work off one request; the listener takes each message, or ends the run.

    Raises
    ------
    CrashError
        A real server would not survive the request.
    """
    plan = await _in_thread(lambda: plan_run(request, settings.shelf, settings.journal))
    announced = list_announced(plan.course)
    pictures: list[Pixels] | None = None
    for step in list_steps(plan.course):
        message = pb.ImageGenerationResponse(currentSignpost=step.signpost, signposts=announced)
        if plan.drawing and step.estimate is not None:
            pictures = pictures or await _draw(plan)
            message.previewImage = await _encode_preview(plan, pictures, step.estimate, settings.codec)
        listener.emit(message)
        await listener.pause(settings.step_seconds if step.is_sampling else 0)
    if plan.drawing and pictures is None:
        pictures = await _draw(plan)
    images = [await _encode_picture(picture, settings.codec) for picture in pictures or ()]
    sounds = await _encode_sounds(plan, settings.codec) if images else []
    for message in list_messages(images, sounds, scale_factor=plan.upscale, chunked=request.chunked):
        listener.emit(message)


async def _draw(plan: RunPlan) -> list[Pixels]:
    drawing = plan.drawing
    assert drawing is not None
    return await _in_thread(lambda: draw(drawing))


async def _encode_preview(plan: RunPlan, pictures: list[Pixels], estimate: float, codec: Codec) -> bytes:
    """One latent for a batch; for a video one per latent frame."""
    count = plan.version.count_latent_frames(len(pictures))
    chosen = [_reduce(pictures[i * len(pictures) // count], plan.upscale) for i in range(count)]

    def encode() -> bytes:
        return encode_latent(build_latent(chosen, plan.version, estimate, plan.seed), codec=codec)

    return await _in_thread(encode)


def _reduce(picture: Pixels, upscale: int) -> Pixels:
    """A picture as the model sees it: without alpha, before it is upscaled."""
    return picture[::upscale, ::upscale, :3]


async def _encode_picture(picture: Pixels, codec: Codec) -> bytes:
    return await _in_thread(lambda: encode_image(picture, codec=codec))


async def _encode_sounds(plan: RunPlan, codec: Codec) -> list[bytes]:
    rate_hz = plan.version.audio_hz
    if not rate_hz:
        return []
    return [await _in_thread(lambda: encode_audio(compose_chord(plan.seed, plan.seconds, rate_hz), codec=codec))]


async def _in_thread(work: Callable[[], _Result]) -> _Result:
    """Painting and packing must not stand in the way of other clients."""
    return await to_thread.run_sync(work)
