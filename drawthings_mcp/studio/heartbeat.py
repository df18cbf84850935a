"""Signs of life while a server says nothing: queued, loading a model, decoding."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from drawthings_mcp.tasks import background_tasks

Report = Callable[[float, str], Awaitable[None]]
"""Takes the share of the whole call that is done, 0 to 1, and a message."""


class Heartbeat:
    """Passes reports on and repeats the last one, with the time that it stands, while nothing new comes."""

    def __init__(self, report: Report, interval: float) -> None:
        self._report = report
        self._interval = interval
        self._fraction = 0.0
        self._message = "Connecting to the server"
        self._changed = anyio.Event()

    async def __call__(self, fraction: float, message: str) -> None:
        """Reports something new."""
        self._fraction, self._message = fraction, message
        self._changed.set()
        await self._report(fraction, message)

    async def beat(self) -> None:
        """Repeats until cancelled."""
        while True:
            self._changed = anyio.Event()
            waited = 0.0
            while not self._changed.is_set():
                with anyio.move_on_after(self._interval):
                    await self._changed.wait()
                    break
                waited += self._interval
                await self._report(self._fraction, f"{self._message} ({waited:.0f} s)")


@asynccontextmanager
async def keep_alive(report: Report, interval: float) -> AsyncIterator[Heartbeat]:
    """A heartbeat around a piece of work.

    Parameters
    ----------
    interval
        Seconds of silence after which the last message is repeated.
    """
    heartbeat = Heartbeat(report, interval)
    async with background_tasks() as tasks:
        tasks.start_soon(heartbeat.beat)
        yield heartbeat
