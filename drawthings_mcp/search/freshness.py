"""When the index is brought up to date: within a search's budget, and in the background after it.

Owns what is under way. Knows neither files nor queries.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.search.indexing import IndexReport, Stop

_logger = logging.getLogger(__name__)
T = TypeVar("T")


class Reading(Protocol):
    """The first phase."""

    def __call__(self, should_stop: Stop) -> IndexReport: ...


class Errand:
    """Work in the background, never twice at once; asked for while it is under way, it is done once more."""

    def __init__(self, work: Callable[[Stop], Awaitable[object]]) -> None:
        self._work = work
        self._is_wanted = False
        self._done: anyio.Event | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether it is not done yet."""
        return self._done is not None

    def begin(self, background: TaskGroup) -> None:
        """Have it done from now on."""
        self._is_wanted = True
        if self._done is None:
            self._done = anyio.Event()
            background.start_soon(self._run, self._done)

    async def wait(self) -> None:
        """Until it is done."""
        if self._done is not None:
            await self._done.wait()

    async def _run(self, done: anyio.Event) -> None:
        stopped = threading.Event()
        try:
            while self._is_wanted:
                self._is_wanted = False
                await self._work(stopped.is_set)
        finally:
            stopped.set()
            self._done = None
            done.set()


class Freshness:
    """Starts runs and waits for them, never longer than it is told.

    The second and the third phase may take hours; what is new meanwhile is read all the same.

    Parameters
    ----------
    read, look
        The first two phases; called in threads.
    mean
        The third, which only goes on in the background.
    background
        Where runs go on; without it they stop at the end of the budget.
    fresh_for
        Seconds after a complete run for which no other is begun; as many times longer as it took seconds to find out
        what there is.
    """

    def __init__(
        self,
        read: Reading,
        look: Callable[[Stop], object],
        mean: Callable[[Stop], Awaitable[object]],
        background: TaskGroup | None,
        fresh_for: float,
    ) -> None:
        self._read = read
        self._look = look
        self._background = background
        self._fresh_for = fresh_for
        self._fresh_until = float("-inf")
        self._reading = Errand(self._read_in_background)
        self._looking = Errand(partial(self._report_errors, partial(_run_in_thread, look)))
        self._understanding = Errand(partial(self._report_errors, mean))
        self._report: IndexReport | None = None
        self._error: DrawThingsError | None = None

    @property
    def is_reading(self) -> bool:
        """Whether the first phase of a run is under way."""
        return self._reading.is_under_way

    def expire(self) -> None:
        """Something has changed: the next search begins another run, also when one is under way."""
        self._fresh_until = float("-inf")
        if self._background is not None and self.is_reading:
            self._reading.begin(self._background)

    async def refresh(self, budget: float, *, with_looks: bool) -> IndexReport | None:
        """What the newest run found; None when it is not that far yet.

        Raises
        ------
        StorageError
            The index cannot be written.
        """
        if self._background is None:
            await self._run_within(budget, with_looks)
        else:
            await self._wait(self._background, budget, with_looks)
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        report, self._report = self._report, None
        return report

    async def _run_within(self, budget: float, with_looks: bool) -> None:
        start = time.monotonic()
        end = start + budget

        def is_over() -> bool:
            return time.monotonic() >= end

        if start >= self._fresh_until:
            self._report = await anyio.to_thread.run_sync(partial(self._read, is_over))
            if self._report.is_complete:
                self._rest(self._report)
        if with_looks:
            await anyio.to_thread.run_sync(partial(self._look, is_over))

    async def _wait(self, background: TaskGroup, budget: float, with_looks: bool) -> None:
        if not self.is_reading and time.monotonic() >= self._fresh_until:
            self._reading.begin(background)
        with anyio.move_on_after(budget):
            await self._reading.wait()
            if with_looks:
                await self._looking.wait()

    async def _read_in_background(self, should_stop: Stop) -> None:
        await self._report_errors(self._read_and_go_on, should_stop)

    async def _read_and_go_on(self, should_stop: Stop) -> None:
        self._report = await _run_in_thread(self._read, should_stop)
        self._rest(self._report)
        assert self._background is not None
        self._looking.begin(self._background)
        self._understanding.begin(self._background)

    async def _report_errors(self, work: Callable[[Stop], Awaitable[object]], should_stop: Stop) -> None:
        """An error is told by the next search; a mistake of ours ends this phase, not the program around it."""
        try:
            await work(should_stop)
        except DrawThingsError as error:
            _logger.warning("%s", error)
            self._error = error
        except Exception:
            _logger.exception("Indexing ended early")

    def _rest(self, report: IndexReport) -> None:
        """Begin no other run too soon after one."""
        self._fresh_until = time.monotonic() + self._fresh_for * max(1.0, report.listing_seconds)


async def _run_in_thread(work: Callable[[Stop], T], should_stop: Stop) -> T:
    return await anyio.to_thread.run_sync(partial(work, should_stop), abandon_on_cancel=True)
