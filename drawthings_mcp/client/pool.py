"""Where renders wait for one of several servers: fair between clients, and each for the server that is done first.

It knows servers only as keys; connections are made elsewhere. A server renders one request at a time.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from drawthings_mcp.errors import ServerUnreachableError

if TYPE_CHECKING:
    from drawthings_mcp.generation import ImageGenerationConfig

ServerT = TypeVar("ServerT", bound=Hashable)

RETURN_SECONDS = 10.0
"""How long a render waits for a server to come back when none is there that could do it: a supervised server, or one
whose machine wakes up, takes less."""

_UNKNOWN_STEP_SECONDS = 1.0
"""Of a step that was never measured anywhere: long enough that nobody waits for a busy server while another is free."""
_CURIOSITY = 0.99
"""What an unmeasured server takes of the time of the fastest: it is tried, and then known."""
_NEWEST_SHARE = 0.5
"""Weight of the newest measurement: a machine can get busy with other things."""


class Paces:
    """Seconds per step by server, model and size, and what comes before the first step; measured from runs."""

    def __init__(self) -> None:
        self._steps: dict[tuple[Hashable, str], dict[int, float]] = {}
        self._leads: dict[tuple[Hashable, str, bool], float] = {}
        self._loaded: dict[Hashable, str] = {}

    def recall(self, measured: Iterable[tuple[str, str, int, float]]) -> None:
        """Takes over what was measured before: server, model, pixels, seconds per step. What is known now wins."""
        for server, model, pixel_count, pace in measured:
            self._steps.setdefault((server, model), {}).setdefault(pixel_count, pace)

    def note(
        self, server: Hashable, config: ImageGenerationConfig, lead: float, steps: int, seconds: float
    ) -> float | None:
        """Keeps what a finished run took; seconds per step for its model and size, None when it had no steps.

        Parameters
        ----------
        lead
            Seconds before its first step.
        steps, seconds
            Steps that followed, and what they took.
        """
        model, pixel_count = config.model, config.width * config.height
        is_loaded = self._loaded.get(server) == model
        self._loaded[server] = model
        self._leads[server, model, is_loaded] = lead
        if steps <= 0:
            return None
        known = self._steps.setdefault((server, model), {})
        pace = seconds / steps
        known[pixel_count] = pace + (known.get(pixel_count, pace) - pace) * (1 - _NEWEST_SHARE)
        return known[pixel_count]

    def estimate(self, server: Hashable, config: ImageGenerationConfig) -> float:
        """Seconds that a run will take."""
        model, pixel_count = config.model, config.width * config.height
        pace = self._find(server, model, pixel_count)
        if pace is None:
            known = [self._find(other, model, pixel_count) for other, name in self._steps if name == model]
            paces = [one for one in known if one is not None]
            pace = min(paces) * _CURIOSITY if paces else _UNKNOWN_STEP_SECONDS
        lead = self._leads.get((server, model, self._loaded.get(server) == model), 0.0)
        return lead + pace * config.steps

    def _find(self, server: Hashable, model: str, pixel_count: int) -> float | None:
        """Of the size, or of the size that comes closest, in proportion to its pixels."""
        known = self._steps.get((server, model))
        if not known:
            return None
        nearest = min(known, key=lambda count: abs(math.log(count / pixel_count)))
        return known[nearest] * pixel_count / nearest


@dataclass(eq=False, slots=True)
class _Wait(Generic[ServerT]):
    """One request that waits for a server.

    Attributes
    ----------
    estimate
        Seconds that a server would take; None for one that cannot do it.
    decided
        Set with a ``server``, or without one when none came that could do it.
    patience_ends
        When it takes any server that is free, because the one that it waits for takes longer than it should have.
    lost_since
        Since when no server is there that could do it.
    """

    place: int
    estimate: Callable[[ServerT], float | None]
    decided: anyio.Event = field(default_factory=anyio.Event)
    server: ServerT | None = None
    patience_ends: float = math.inf
    lost_since: float | None = None


@dataclass(eq=False)
class QueuedCall(Generic[ServerT]):
    """The place of one call in the queue.

    Attributes
    ----------
    client
        Whose it is.
    is_prepared
        Whether it has asked for a server; until then later calls of the same client wait, and so keep their order.
    started
        When it got its first server, in seconds of ``time.monotonic``; 0 before that.
    """

    queue: RenderQueue[ServerT]
    client: object
    waiting: list[_Wait[ServerT]] = field(default_factory=list)
    is_prepared: bool = False
    started: float = 0.0

    @asynccontextmanager
    async def take_server(self, place: int, estimate: Callable[[ServerT], float | None]) -> AsyncIterator[ServerT]:
        """Waits for a server and has it alone.

        Parameters
        ----------
        place
            Of the request within the call: earlier ones go first.
        estimate
            Seconds that a server would take; None for one that cannot do it.

        Raises
        ------
        ServerUnreachableError
            None is there that could do it, and none came back.
        """
        waiting = _Wait(place, estimate)
        self.waiting.append(waiting)
        self.waiting.sort(key=lambda one: one.place)
        self.is_prepared = True
        self.queue.dispatch()
        try:
            await waiting.decided.wait()
            if waiting.server is None:
                raise ServerUnreachableError("No server is left that has the files of this picture.")
            self.started = self.started or time.monotonic()
            yield waiting.server
        finally:
            if waiting in self.waiting:
                self.waiting.remove(waiting)
            self.queue.free(waiting.server)


class RenderQueue(Generic[ServerT]):
    """All calls that wait or render, of all clients.

    A client's calls keep the order in which they came; clients take turns, request by request.

    Parameters
    ----------
    list_servers
        Those that can be used at the moment, the preferred first. Whoever changes that calls ``dispatch``.
    """

    def __init__(self, list_servers: Callable[[], Sequence[ServerT]]) -> None:
        self._list_servers = list_servers
        self._calls: list[QueuedCall[ServerT]] = []
        self._busy: dict[ServerT, float] = {}
        self._turns: dict[object, int] = {}
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no call is there."""
        return not self._calls

    @contextmanager
    def enter(self, client: object) -> Iterator[QueuedCall[ServerT]]:
        """Takes the last place; given up in the end."""
        call = QueuedCall(self, client)
        self._calls.append(call)
        try:
            yield call
        finally:
            self._calls.remove(call)
            if all(other.client is not client for other in self._calls):
                self._turns.pop(client, None)
            self.dispatch()

    def is_next(self, call: QueuedCall[ServerT]) -> bool:
        """Whether a call would get a server at once."""
        is_first = all(other.is_prepared for other in self._calls[: self._calls.index(call)])
        return is_first and not any(self._list_waiting()) and len(self._busy) < max(1, len(self._list_servers()))

    def free(self, server: ServerT | None) -> None:
        """Takes a server back from a request; None when it had none."""
        if server is not None:
            del self._busy[server]
        self.dispatch()

    def dispatch(self) -> None:
        """Gives servers that are free to the requests whose turn it is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = anyio.current_time()
        servers = self._list_servers()
        done_at = {server: max(self._busy.get(server, now), now) for server in servers}
        for call, waiting in self._list_waiting():
            seconds = {server: estimate for server in servers if (estimate := waiting.estimate(server)) is not None}
            server = _choose(waiting, seconds, done_at, self._busy, now)
            if server is not None:
                done_at[server] += seconds[server]
                if server not in self._busy:
                    self._grant(call, waiting, server, done_at[server])
            elif waiting.lost_since is not None and now - waiting.lost_since >= RETURN_SECONDS:
                self._decide(call, waiting)
        self._plan_next_look(now)

    def _list_waiting(self) -> list[tuple[QueuedCall[ServerT], _Wait[ServerT]]]:
        """All requests that wait, in the order of their turns."""
        lines: dict[object, list[tuple[QueuedCall[ServerT], _Wait[ServerT]]]] = {}
        held: set[object] = set()
        for call in self._calls:
            if call.client not in held:
                lines.setdefault(call.client, []).extend((call, waiting) for waiting in call.waiting)
            if not call.is_prepared:
                held.add(call.client)
        clients = sorted(lines, key=lambda client: self._turns.get(client, 0))
        return [turn for turn in chain.from_iterable(zip_longest(*map(lines.__getitem__, clients))) if turn is not None]

    def _grant(self, call: QueuedCall[ServerT], waiting: _Wait[ServerT], server: ServerT, done_at: float) -> None:
        self._busy[server] = done_at
        self._turn += 1
        self._turns[call.client] = self._turn
        waiting.server = server
        self._decide(call, waiting)

    def _decide(self, call: QueuedCall[ServerT], waiting: _Wait[ServerT]) -> None:
        call.waiting.remove(waiting)
        waiting.decided.set()

    def _plan_next_look(self, now: float) -> None:
        """Time alone can change a decision: nobody waits for ever for a server that is slower than it was."""
        moments = [
            moment
            for call in self._calls
            for waiting in call.waiting
            for moment in (waiting.patience_ends, (waiting.lost_since or math.inf) + RETURN_SECONDS)
            if now < moment < math.inf
        ]
        if moments:
            self._timer = asyncio.get_running_loop().call_at(min(moments), self.dispatch)


def _choose(
    waiting: _Wait[ServerT],
    seconds: dict[ServerT, float],
    done_at: dict[ServerT, float],
    busy: dict[ServerT, float],
    now: float,
) -> ServerT | None:
    """The server that will be done first, which may still be busy; None when there is none at all."""
    if not seconds:
        waiting.lost_since = now if waiting.lost_since is None else waiting.lost_since
        return None
    waiting.lost_since = None
    idle = {server: time for server, time in seconds.items() if server not in busy}
    if idle and now >= waiting.patience_ends:
        seconds = idle
    best = min(seconds, key=lambda server: done_at[server] + seconds[server])
    if idle and best in busy:
        waiting.patience_ends = min(waiting.patience_ends, now + min(idle.values()))
    return best
