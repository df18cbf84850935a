"""What the simulator noticed about its clients: requests that a real server would not survive, or would bend."""

from __future__ import annotations

import logging

_logger = logging.getLogger("drawthings_mcp.simulator")


class CrashError(Exception):
    """A request that takes a real server's process down (protocol §6.5). Never leaves the simulator."""


class Journal:
    """The two lists that tests look at; everything in them is logged as well.

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
        """Note a request that a real server would not survive."""
        self.crashes.append(reason)
        _logger.warning("A real server would crash: %s", reason)

    def degrade(self, reason: str) -> None:
        """Note something that a real server passes over without a word."""
        self.degradations.append(reason)
        _logger.warning("Silently degraded: %s", reason)
