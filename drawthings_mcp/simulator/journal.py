"""What the simulator noticed about its clients: requests that would crash a real server or be bent by it."""

from __future__ import annotations

import logging

_logger = logging.getLogger("drawthings_mcp.simulator")


class CrashError(Exception):
    """A request that crashes a real server's process (protocol §6.5). Never leaves the simulator."""


class Journal:
    """The two lists that tests read; their entries are also logged.

    Attributes
    ----------
    crashes
        Why requests would have crashed a real server, oldest first.
    degradations
        What a real server would have silently left out or replaced, oldest first.
    """

    def __init__(self) -> None:
        self.crashes: list[str] = []
        self.degradations: list[str] = []

    def crash(self, reason: str) -> None:
        """Note a request that would crash a real server."""
        self.crashes.append(reason)
        _logger.warning("A real server would crash: %s", reason)

    def degrade(self, reason: str) -> None:
        """Note something that a real server would silently leave out or replace."""
        self.degradations.append(reason)
        _logger.warning("Silently degraded: %s", reason)
