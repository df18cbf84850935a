"""First come, first served: Draw Things renders one request at a time, and calls keep the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio


class Place:
    """A place in a queue, taken when a call comes and used when it is ready."""

    def __init__(self, queue: deque[Place]) -> None:
        self._queue = queue
        self._moved_up = anyio.Event()

    @property
    def is_first(self) -> bool:
        """Whether nobody is before it."""
        return self._queue[0] is self

    def move_up(self) -> None:
        """Wakes the one who waits here."""
        self._moved_up.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits until this place is the first; it stays so until it is given up."""
        while not self.is_first:
            self._moved_up = anyio.Event()
            await self._moved_up.wait()
        yield


class Queue:
    """Who waits for the server."""

    def __init__(self) -> None:
        self._places: deque[Place] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits or works."""
        return not self._places

    @contextmanager
    def enter(self) -> Iterator[Place]:
        """Takes the last place, and gives it up in the end."""
        place = Place(self._places)
        self._places.append(place)
        try:
            yield place
        finally:
            self._places.remove(place)
            if self._places:
                self._places[0].move_up()
