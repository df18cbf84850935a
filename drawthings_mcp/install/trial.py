"""Starts an entry once, as a chat client would, and says how that went."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_PATIENCE = 30.0
"""Seconds in which a server has to answer; the most patient clients wait that long for the first answer."""
_PATIENCE_FOR_MODELS = 15.0
"""Seconds of these for Draw Things."""
_MAX_REASON = 200


@dataclass(frozen=True, slots=True)
class Trial:
    """How a start went.

    Attributes
    ----------
    seconds
        Until the handshake was done.
    tools
        How many are offered; 0 when it did not start.
    unreached
        Why Draw Things was not reached, in the server's words; empty when it was.
    failure
        Why it did not start; empty when it did.
    """

    seconds: float = 0
    tools: int = 0
    unreached: str = ""
    failure: str = ""

    def __str__(self) -> str:
        if self.failure:
            return f"does not start: {self.failure}"
        reached = f"Draw Things not reached: {self.unreached}" if self.unreached else "Draw Things reached"
        return f"handshake {self.seconds:.1f} s, {self.tools} tools, {reached}"


async def try_entry(command: Sequence[str], environment: Mapping[str, str]) -> Trial:
    """Start a server with few variables besides its own, shake hands, and have it ask Draw Things for a model."""
    import tempfile

    import anyio
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client
    from mcp.types import TextContent

    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        parameters = StdioServerParameters(command=command[0], args=[*command[1:]], env=dict(environment))
        try:
            with anyio.fail_after(_PATIENCE):
                async with Client(stdio_client(parameters, errlog=log), read_timeout_seconds=_PATIENCE) as client:
                    seconds = time.monotonic() - started
                    tools = (await client.list_tools()).tools
                    unreached = f"it did not say anything within {_PATIENCE_FOR_MODELS:g} s"
                    with anyio.move_on_after(_PATIENCE_FOR_MODELS):
                        answer = await client.call_tool("list_models", {"kind": "models", "limit": 1})
                        words = " ".join(block.text for block in answer.content if isinstance(block, TextContent))
                        unreached = words if answer.is_error else ""
        except Exception as error:
            log.seek(0)
            return Trial(failure=_find_reason(log.read(), error))
    return Trial(seconds, len(tools), unreached)


def _find_reason(log: str, error: BaseException) -> str:
    """The error that a program named, or the last thing that it said, or else what its starter says."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if lines:
        return next((line for line in lines if line.lower().startswith("error")), lines[-1])[:_MAX_REASON]
    if isinstance(error, TimeoutError):
        return f"no answer within {_PATIENCE:g} s"
    return str(error) or type(error).__name__
