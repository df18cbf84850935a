"""How many pixels may be decoded at the same time in one process, whoever asks: calls, previews, search."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from drawthings_mcp.tensors.header import MAX_PIXELS


class PixelBudget:
    """A number of pixels that threads share; who asks first is served first.

    Parameters
    ----------
    pixel_count
        Decoded at once at most; a single picture that has more waits until it is alone.
    """

    def __init__(self, pixel_count: int) -> None:
        self._free = self._all = pixel_count
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._holders: set[int] = set()

    @contextmanager
    def hold(self, pixel_count: int) -> Iterator[None]:
        """Take a picture's share for as long as it is decoded; blocks until there is room for it.

        A thread that has a share gets no second one and never waits for it: so nobody waits for a thread that waits.
        """
        thread = threading.get_ident()
        if thread in self._holders:
            yield
            return
        share = min(pixel_count, self._all)
        self._take(share, thread)
        try:
            yield
        finally:
            self._give_back(share, thread)

    def _take(self, share: int, thread: int) -> None:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is ticket and share <= self._free)
                self._free -= share
                self._holders.add(thread)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _give_back(self, share: int, thread: int) -> None:
        with self._changed:
            self._free += share
            self._holders.discard(thread)
            self._changed.notify_all()


DECODING = PixelBudget(2 * MAX_PIXELS)
"""Of this process: two of the largest pictures, each of which takes half a gigabyte until it is reduced."""
