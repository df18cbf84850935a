"""Progress of a tool call as MCP notifications."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context

_TOTAL = 100.0
_CREEP = 0.02
"""Part of the way to the next percent that a message without progress moves the bar: the protocol wants every
value above the last, also while a request waits."""


class ProgressNotifier:
    """Sends fractions and messages as notifications whose values only ever rise."""

    def __init__(self, context: Context[Any, Any]) -> None:
        self._context = context
        self._last = 0.0

    async def __call__(self, fraction: float, message: str) -> None:
        """Reports a fraction of the whole call, 0 to 1; silent when the client did not ask for progress."""
        value = fraction * _TOTAL
        if value <= self._last:
            value = self._last + (min(self._last + 1, _TOTAL) - self._last) * _CREEP
        if value > self._last:
            self._last = value
            await self._context.report_progress(value, _TOTAL, message)
