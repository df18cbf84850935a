"""Runs a plan: one request after the other, every picture on disk as soon as it is there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from drawthings_mcp.client.server_client import ServerClient
from drawthings_mcp.errors import DrawThingsError, TensorError
from drawthings_mcp.events import Event, ImageReceived, RemoteDownload, Sampling, StageReached, TransferAnnounced
from drawthings_mcp.generation import GenerationRequest
from drawthings_mcp.studio.heartbeat import Report
from drawthings_mcp.studio.results import describe_saved
from drawthings_mcp.studio.saver import PlannedCall, Saver
from drawthings_mcp.tasks import raised_alone
from drawthings_mcp.tensors.fpzip_pool import prestart

_Save: TypeAlias = Callable[..., Coroutine[Any, Any, None]]

_TELLING_SECONDS = 1.0
"""Of rendering, before which its pace says nothing."""
_MINUTES_FROM = 100
"""Seconds from which on minutes are named."""


async def run_calls(
    calls: Sequence[PlannedCall], client: ServerClient, saver: Saver, report: Report, *, before: int = 0, after: int = 0
) -> None:
    """Sends the requests of plans in turn; what they yield stands in ``saver.images``.

    The decoder's process starts while the server still works on the first picture, and while one picture is saved the
    next one is rendered.

    Parameters
    ----------
    before, after
        Requests of the same call that were sent before, and those that will follow.

    Raises
    ------
    DrawThingsError
        A request failed; its text says which pictures of the call are saved all the same.
    """
    await anyio.to_thread.run_sync(prestart)
    try:
        with raised_alone():
            async with anyio.create_task_group() as saving:
                pace = _Pace()
                requests = [(call, request) for call in calls for request in call.plan.requests]
                count = before + len(requests) + after
                for place, (call, request) in enumerate(requests, before):
                    if await saver.take_over(request):
                        continue
                    save = partial(saver.save, call=call, request=request)
                    await _run_request(request, client, save, saving, _Narrator(report, pace, place, count))
    except DrawThingsError as error:
        if saver.images:
            error.add_note(describe_saved(saver.images))
        raise


async def _run_request(
    request: GenerationRequest, client: ServerClient, save: _Save, saving: TaskGroup, narrator: _Narrator
) -> None:
    await narrator.say(0.0, "Waiting for the server")
    try:
        async with client.stream(request) as events:
            async for event in events:
                if isinstance(event, ImageReceived):
                    saving.start_soon(partial(save, event.payload, upscale_factor=event.upscale_factor))
                await narrator.tell(event)
    except DrawThingsError as error:
        error.add_note(f"The seed was {request.configuration.seed}.")
        for payload in getattr(error, "complete", ()):
            with contextlib.suppress(TensorError):
                await save(payload)
        raise


class _Pace:
    """How fast a call goes since its first step: loading a model says nothing about the rest."""

    def __init__(self) -> None:
        self._since: tuple[float, float] | None = None

    def begin(self, fraction: float) -> None:
        """The first step of the call begins, with a share of it done; further calls change nothing."""
        self._since = self._since or (anyio.current_time(), fraction)

    def estimate(self, fraction: float) -> float:
        """Seconds that are left; 0 as long as nothing can be said."""
        if self._since is None:
            return 0.0
        moment, done = self._since
        elapsed = anyio.current_time() - moment
        is_telling = elapsed >= _TELLING_SECONDS and fraction > done
        return elapsed * (1 - fraction) / (fraction - done) if is_telling else 0.0


@dataclass(frozen=True, slots=True)
class _Narrator:
    """Turns the events of one request into messages about the whole call.

    They carry no percentage: the share that is reported with them is one, and clients print it.
    """

    report: Report
    pace: _Pace
    place: int
    count: int

    async def say(self, fraction: float, message: str) -> None:
        share = (self.place + fraction) / self.count
        whole = message if self.count == 1 else f"{message}, image {self.place + 1} of {self.count}"
        left = self.pace.estimate(share)
        await self.report(share, f"{whole}, about {_describe_seconds(left)} left" if left >= 1 else whole)

    async def tell(self, event: Event) -> None:
        if isinstance(event, Sampling):
            self.pace.begin((self.place + event.fraction) / self.count)
        message = _describe(event)
        if message:
            await self.say(event.fraction, message)


def _describe_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _MINUTES_FROM else f"{seconds / 60:.0f} min"


def _describe(event: Event) -> str:
    match event:
        case Sampling(step=step, total=total) if total > 0:
            reached = min(max(step, 0), total)
            return f"Step {reached}/{total}"
        case Sampling(step=step):
            return f"Step {max(step, 0)}"
        case StageReached(stage=stage):
            return stage.value.capitalize()
        case RemoteDownload(received=received, expected=expected):
            share = f": {received / 1e6:.0f} of {expected / 1e6:.0f} MB" if expected else ""
            return f"The server downloads a file{share}"
        case TransferAnnounced(size=size):
            return f"Receiving {size / 1e6:.1f} MB"
        case ImageReceived():
            return "Received, saving"
        case _:
            return ""
