"""Runs a plan: one request after the other, every picture on disk as soon as it is there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from drawthings_mcp.client.server_client import ServerClient
from drawthings_mcp.errors import DrawThingsError, TensorError
from drawthings_mcp.events import Event, ImageReceived, RemoteDownload, Sampling, StageReached, TransferAnnounced
from drawthings_mcp.generation import GenerationRequest
from drawthings_mcp.planning.compose import Plan
from drawthings_mcp.studio.heartbeat import Report
from drawthings_mcp.studio.saver import Saver
from drawthings_mcp.tasks import raised_alone
from drawthings_mcp.tensors.fpzip_pool import prestart


async def run_plan(plan: Plan, client: ServerClient, saver: Saver, report: Report) -> None:
    """Sends the requests of a plan in turn; what they yield stands in ``saver.images``.

    The decoder's process starts while the server still works on the first picture, and while one picture is saved the
    next one is rendered.

    Raises
    ------
    DrawThingsError
        A request failed; its text says which pictures of the call are saved all the same.
    """
    await anyio.to_thread.run_sync(prestart)
    try:
        with raised_alone():
            async with anyio.create_task_group() as saving:
                for place, request in enumerate(plan.requests):
                    await _run_request(request, client, saver, saving, _Narrator(report, place, len(plan.requests)))
    except DrawThingsError as error:
        if saver.images:
            error.add_note(f"Saved before that: {', '.join(str(image.path) for image in saver.images)}.")
        raise


async def _run_request(
    request: GenerationRequest, client: ServerClient, saver: Saver, saving: TaskGroup, narrator: _Narrator
) -> None:
    await narrator.say(0.0, "Waiting for the server")
    try:
        async with client.stream(request) as events:
            async for event in events:
                if isinstance(event, ImageReceived):
                    saving.start_soon(saver.save, event.payload, request, event.upscale_factor)
                await narrator.tell(event)
    except DrawThingsError as error:
        error.add_note(f"The seed was {request.configuration.seed}.")
        for payload in getattr(error, "complete", ()):
            with contextlib.suppress(TensorError):
                await saver.save(payload, request)
        raise


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
            return "Received, saving"
        case _:
            return ""
