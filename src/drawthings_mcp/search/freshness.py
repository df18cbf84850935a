"""When the index is brought up to date: within a search's budget, and in the background after it.

Owns the one run that is under way. Knows neither files nor queries.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.search.indexing import IndexReport, Stop

_logger = logging.getLogger(__name__)


class Reading(Protocol):
    """The first phase."""

    def __call__(self, should_stop: Stop) -> IndexReport: ...


class Freshness:
    """Starts runs and waits for them, never longer than it is told.

    Parameters
    ----------
    read, look
        The first two phases; called in threads.
    mean
        The third, which only goes on in the background.
    background
        Where runs go on; without it they stop at the end of the budget.
    fresh_for
        Seconds after a complete run for which no other is begun; as many times longer as it took seconds.
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
        self._mean = mean
        self._background = background
        self._fresh_for = fresh_for
        self._fresh_until = float("-inf")
        self._was_read: anyio.Event | None = None
        self._was_looked: anyio.Event | None = None
        self._report: IndexReport | None = None
        self._error: DrawThingsError | None = None

    @property
    def is_reading(self) -> bool:
        """Whether the first phase of a run is under way."""
        return self._was_read is not None and not self._was_read.is_set()

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
                self._rest(start)
        if with_looks:
            await anyio.to_thread.run_sync(partial(self._look, is_over))

    async def _wait(self, background: TaskGroup, budget: float, with_looks: bool) -> None:
        if self._was_looked is None and time.monotonic() >= self._fresh_until:
            self._was_read, self._was_looked = anyio.Event(), anyio.Event()
            background.start_soon(self._work, self._was_read, self._was_looked)
        event = self._was_looked if with_looks else self._was_read
        with anyio.move_on_after(budget):
            if event is not None:
                await event.wait()

    async def _work(self, was_read: anyio.Event, was_looked: anyio.Event) -> None:
        start = time.monotonic()
        stopped = threading.Event()
        run = partial(anyio.to_thread.run_sync, abandon_on_cancel=True)
        try:
            self._report = await run(partial(self._read, stopped.is_set))
            self._rest(start)
            was_read.set()
            await run(partial(self._look, stopped.is_set))
            was_looked.set()
            await self._mean(stopped.is_set)
        except DrawThingsError as error:
            _logger.warning("%s", error)
            self._error = error
        finally:
            stopped.set()
            self._was_looked = self._was_read = None
            was_read.set()
            was_looked.set()

    def _rest(self, start: float) -> None:
        """Begin no other run too soon after one that began at ``start``."""
        now = time.monotonic()
        self._fresh_until = now + self._fresh_for * max(1.0, now - start)
