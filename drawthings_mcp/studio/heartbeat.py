"""Signs of life while a server says nothing: queued, loading a model, decoding."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from drawthings_mcp.tasks import background_tasks

Report = Callable[[float, str], Awaitable[None]]
"""Takes the share of the whole call that is done, 0 to 1, and a message."""


@asynccontextmanager
async def keep_alive(report: Report, interval: float) -> AsyncIterator[Report]:
    """Passes reports on and repeats the last one, with the time that it stands, after each interval of silence.

    Parameters
    ----------
    interval
        Seconds.
    """
    last, changed = (0.0, "Connecting to the server"), anyio.Event()

    async def pass_on(fraction: float, message: str) -> None:
        nonlocal last
        last = fraction, message
        changed.set()
        await report(fraction, message)

    async def repeat() -> None:
        nonlocal changed
        while True:
            changed = anyio.Event()
            waited = 0.0
            while not changed.is_set():
                with anyio.move_on_after(interval):
                    await changed.wait()
                    break
                waited += interval
                await report(last[0], f"{last[1]} ({waited:.0f} s)")

    async with background_tasks() as tasks:
        tasks.start_soon(repeat)
        yield pass_on
