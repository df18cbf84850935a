"""Runs plans: each request on the server that is done first, every picture on disk as soon as it is there."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from drawthings_mcp.client.pool import QueuedCall
from drawthings_mcp.errors import (
    CertificateError,
    DrawThingsError,
    ServerDiedError,
    ServerUnreachableError,
    SharedSecretError,
    TensorError,
    WrongProtocolError,
)
from drawthings_mcp.events import (
    Event,
    ImageReceived,
    PreviewReceived,
    RemoteDownload,
    Sampling,
    StageReached,
    TransferAnnounced,
)
from drawthings_mcp.faces import Phrase, Text
from drawthings_mcp.generation import GenerationRequest
from drawthings_mcp.planning.abilities import makes_video
from drawthings_mcp.quoting import clean
from drawthings_mcp.studio.connection import Connection, ServerConnection
from drawthings_mcp.studio.heartbeat import Report
from drawthings_mcp.studio.results import describe_saved
from drawthings_mcp.studio.saver import PlannedCall, RenderedBy, Saver
from drawthings_mcp.studio.servers import Servers
from drawthings_mcp.tasks import raised_alone
from drawthings_mcp.tensors.fpzip_pool import prestart

_Save: TypeAlias = Callable[..., Coroutine[Any, Any, None]]

_AWAY = (ServerDiedError, ServerUnreachableError, WrongProtocolError, CertificateError, SharedSecretError)
"""Errors that are about a server and not about what it was asked for."""
_MOST_DEATHS = 2
"""Servers that may go away on one request: what two died of is not sent to a third."""

_TELLING_SECONDS = 1.0
"""Of rendering, before which its pace says nothing."""
_MINUTES_FROM = 100
"""Seconds from which on minutes are named."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """What the requests of one call need to be rendered.

    Attributes
    ----------
    call
        The place in the queue.
    failover
        The setting.
    begin
        Is awaited once, when the first server is there; may refuse.
    peek
        Gets the latents that servers send meanwhile, as payloads, and the version of their model.
    """

    servers: Servers
    call: QueuedCall[ServerConnection]
    report: Report
    failover: str
    begin: Callable[[], Awaitable[None]]
    peek: Callable[[bytes, str], None]


async def run_calls(
    calls: Sequence[PlannedCall], turn: Rendering, saver: Saver, *, before: int = 0, after: int = 0
) -> None:
    """Sends the requests of plans, each to a server that has its files; what they yield stands in ``saver.images``.

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
    requests = [(call, request) for call in calls for request in call.plan.requests]
    await turn.servers.expect(request.configuration for _, request in requests)
    progress = _CallProgress(turn.report, before + len(requests) + after, before)
    try:
        pending = [
            (place, *one) for place, one in enumerate(requests, before) if not await saver.take_over(one[1], place)
        ]
        # Of one server alone pictures come in the order in which they are asked for.
        are_mixed = turn.servers.are_several and len(pending) > 1
        counts = {place: _count_pictures(call, request) for place, call, request in pending} if are_mixed else {}
        async with saver.number(counts):
            with raised_alone():
                async with anyio.create_task_group() as tasks:
                    for place, call, request in pending:
                        one = _Pass(turn, saver, tasks, call, request, _Narrator(progress, place))
                        tasks.start_soon(one.run)
    except DrawThingsError as error:
        if saver.images:
            error.add_note(describe_saved(saver.images))
        raise


def _count_pictures(call: PlannedCall, request: GenerationRequest) -> int:
    """How many pictures a request yields; 0 for a film."""
    return 0 if makes_video(call.plan.model) else request.configuration.batch_size


@dataclass(slots=True)
class _Pass:
    """One request on its way through as many servers as it takes.

    Attributes
    ----------
    deaths
        How many servers went away on it.
    moved_from
        The last of them.
    """

    turn: Rendering
    saver: Saver
    tasks: TaskGroup
    planned: PlannedCall
    request: GenerationRequest
    narrator: _Narrator
    deaths: int = 0
    moved_from: str = ""
    last: DrawThingsError | None = None

    async def run(self) -> None:
        """Renders it, and hands what comes to the saver."""
        try:
            while not await self._try_next():
                pass
        except DrawThingsError as error:
            error.add_note(f"The seed was {self.request.configuration.seed}.")
            raise

    async def _try_next(self) -> bool:
        """Whether it is done, on the server whose turn it is; raises when it is not tried again."""
        config, servers = self.request.configuration, self.turn.servers
        try:
            async with servers.take(self.turn.call, self.narrator.place, config) as (member, connection):
                await self.turn.begin()
                timing = _Timing()
                try:
                    await self._render(connection, timing)
                except DrawThingsError as error:
                    await self._look_at_failure(member, connection, error, timing)
                    return self.last is None
                pace = servers.paces.note(member.address, config, *timing.measure())
        except ServerUnreachableError:
            if self.last is None:
                raise
            # None is left: why the last one went away says more.
            raise self.last from None
        self._note_move(connection)
        await servers.keep_pace(member, config, pace)
        return True

    async def _render(self, connection: Connection, timing: _Timing) -> None:
        save, servers = self._build_save(connection), self.turn.servers
        for file in await servers.list_uploads(connection, self.request.configuration):
            await self.narrator.say(0.0, f"Uploading {clean(file.name)}")
            await connection.client.upload(file)
            connection.inventory.answers[file.name] = True
            self.saver.notes.append(Text("uploaded {file} to {server}", file=file.name, server=connection.name))
        await self.saver.wait_for_room()
        await self.narrator.say(0.0, "Waiting for the server")
        request = servers.loras.describe(self.request, connection.inventory.catalog)
        async with connection.client.stream(request, waits=not servers.are_several) as events:
            async for event in events:
                timing.note(event)
                if isinstance(event, ImageReceived):
                    self.tasks.start_soon(partial(save, event.payload, upscale_factor=event.upscale_factor))
                elif isinstance(event, PreviewReceived):
                    self.turn.peek(event.payload, self.planned.plan.model.version)
                await self.narrator.tell(event)

    def _build_save(self, connection: Connection) -> _Save:
        source = RenderedBy(connection, self.narrator.place)
        return partial(self.saver.save, call=self.planned, request=self.request, source=source)

    async def _look_at_failure(
        self, member: ServerConnection, connection: Connection, error: DrawThingsError, timing: _Timing
    ) -> None:
        """Returns when the request is to be tried elsewhere, with ``last`` set, or when all its pictures had come."""
        complete = getattr(error, "complete", ())
        self.last = None
        is_away = self.turn.servers.are_several and isinstance(error, _AWAY)
        if is_away:
            self.turn.servers.note_loss(member, error)
            self.deaths += isinstance(error, ServerDiedError)
        has_all = is_away and 0 < _count_pictures(self.planned, self.request) <= timing.pictures + len(complete)
        if is_away and not has_all and self._may_move(timing):
            # What had come, but was held back, comes again.
            self.moved_from, self.last = member.name, error
            return
        await self._rescue(connection, complete)
        if not has_all:
            raise error

    def _may_move(self, timing: _Timing) -> bool:
        """Not when a picture was taken that would come again."""
        is_wanted = not timing.has_begun or self.turn.failover == "restart"
        return is_wanted and not timing.pictures and self.deaths < _MOST_DEATHS

    async def _rescue(self, connection: Connection, payloads: Sequence[bytes]) -> None:
        save = self._build_save(connection)
        for payload in payloads:
            with contextlib.suppress(TensorError):
                await save(payload)

    def _note_move(self, connection: Connection) -> None:
        if self.moved_from:
            where = Phrase(f", picture {self.narrator.place + 1}" if self.narrator.progress.count > 1 else "")
            template = "{lost} went away{where}; begun again on {server}, with the same seed"
            self.saver.notes.append(Text(template, lost=self.moved_from, where=where, server=connection.name))


class _Timing:
    """When a run began and reached its steps."""

    def __init__(self) -> None:
        self._started = anyio.current_time()
        self._steps: list[tuple[float, int]] = []
        self.pictures = 0

    @property
    def has_begun(self) -> bool:
        """Whether the first step has begun."""
        return bool(self._steps)

    def note(self, event: Event) -> None:
        """Keeps when a step began, and counts pictures."""
        self.pictures += isinstance(event, ImageReceived)
        if isinstance(event, Sampling) and not event.second_pass:
            self._steps.append((anyio.current_time(), event.step))

    def measure(self) -> tuple[float, int, float]:
        """Seconds before the first step, steps after it, and the seconds that they took."""
        if not self._steps:
            return 0.0, 0, 0.0
        (first, begun), (last, reached) = self._steps[0], self._steps[-1]
        return first - self._started, reached - begun, last - first


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


@dataclass(slots=True)
class _CallProgress:
    """How far a call is, whose requests may be rendered at the same time."""

    report: Report
    count: int
    before: int
    pace: _Pace = field(default_factory=_Pace)
    fractions: dict[int, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Of the whole call, 0 to 1."""
        return (self.before + sum(self.fractions.values())) / self.count

    async def say(self, place: int, fraction: float, message: str) -> None:
        """Reports what one request does."""
        self.fractions[place] = fraction
        whole = message if self.count == 1 else f"{message}, image {place + 1} of {self.count}"
        left = self.pace.estimate(self.share)
        await self.report(self.share, f"{whole}, about {_describe_seconds(left)} left" if left >= 1 else whole)


@dataclass(frozen=True, slots=True)
class _Narrator:
    """Turns the events of one request into messages about the whole call.

    They carry no percentage: the share that is reported with them is one, and clients print it.
    """

    progress: _CallProgress
    place: int

    async def say(self, fraction: float, message: str) -> None:
        await self.progress.say(self.place, fraction, message)

    async def tell(self, event: Event) -> None:
        if isinstance(event, Sampling):
            self.progress.fractions[self.place] = event.fraction
            self.progress.pace.begin(self.progress.share)
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
