"""Serves MCP over stdin and stdout until stdin closes or a signal arrives.

A line of the client that is no JSON, or no text, is reported to it instead of being dropped.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, cast

import anyio
import anyio.lowlevel
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types import PARSE_ERROR, ErrorData, JSONRPCError

from drawthings_mcp.server.app import build_server
from drawthings_mcp.settings import Settings

_logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CHUNK = 65_536

_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)")
"""One escape of a JSON text: a surrogate pair, half of one, or any other."""
_PAIR_LENGTH = 12


class StdinLines:
    """Lines of a file descriptor, as the SDK wants to read them.

    Parameters
    ----------
    descriptor
        Read as raw bytes.
    refuse
        Gets the id of a line that cannot be used, when it has one, and what is wrong with it.
    """

    def __init__(self, descriptor: int, refuse: Callable[[str | int | None, str], Awaitable[None]]) -> None:
        self._descriptor = descriptor
        self._refuse = refuse
        self._buffer = bytearray()
        self._closed = anyio.Event()

    def close(self) -> None:
        """Ends the lines here, also for one who waits for the next."""
        self._closed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while True:
            line = await self._read_line()
            if line is None or self._closed.is_set():
                raise StopAsyncIteration
            text = repair_surrogates(line.decode("utf-8", "replace"))
            problem = find_problem(text)
            if problem is None:
                return text
            _logger.warning("a line on stdin was refused: %s", problem)
            await self._refuse(None, problem)

    async def _read_line(self) -> bytes | None:
        """The next line that is not empty; None at the end."""
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                if line.strip():
                    return bytes(line)
                continue
            chunk = await self._read_chunk()
            if not chunk:
                self._buffer.clear()
                return bytes(line) if line.strip() else None
            self._buffer += chunk

    async def _read_chunk(self) -> bytes:
        """What there is to read; nothing at the end, and after ``close``."""
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(self._end_with, self._closed.wait, waiting.cancel_scope)
            waiting.start_soon(self._end_with, self._wait_for_data, waiting.cancel_scope)
        return b"" if self._closed.is_set() else os.read(self._descriptor, _CHUNK)

    async def _end_with(self, wait: Callable[[], Awaitable[object]], scope: anyio.CancelScope) -> None:
        await wait()
        scope.cancel()

    async def _wait_for_data(self) -> None:
        # This can be cancelled; a thread in a read could not, and the interpreter would wait for it in the end.
        try:
            await anyio.wait_readable(self._descriptor)
        except PermissionError:
            # A regular file cannot be waited for, and need not be.
            await anyio.lowlevel.checkpoint()


def repair_surrogates(text: str) -> str:
    """A JSON text in which halves of surrogate pairs are replacement characters.

    Programs that cut texts between the halves of an emoji write such escapes, which are no text.
    """
    return _ESCAPE.sub(_repair_escape, text) if "\\u" in text else text


def _repair_escape(match: re.Match[str]) -> str:
    escape = match[0]
    is_half = len(escape) < _PAIR_LENGTH and escape[1:3].lower() == "ud" and escape[3] not in "01234567"
    return "\\ufffd" if is_half else escape


def find_problem(text: str) -> str | None:
    """Why a line cannot be a message; None when it may be one."""
    try:
        data: Any = json.loads(text)
    except ValueError as error:
        return f"not JSON: {error}"
    except RecursionError:
        return "nested too deeply"
    return None if isinstance(data, dict) else "a message must be a JSON object"


async def serve_stdio(settings: Settings) -> None:
    """Serves one client; returns when it closes stdin, and on SIGTERM or SIGINT, which end it in the same way."""
    server = build_server(settings)

    async def refuse(request_id: str | int | None, problem: str) -> None:
        error = ErrorData(code=PARSE_ERROR, message=f"This line was not understood: {problem}")
        await write_stream.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=request_id, error=error)))

    async def stop_on_signal() -> None:
        with anyio.open_signal_receiver(*_SIGNALS) as received:
            async for _ in received:
                lines.close()

    with _private_stdin() as descriptor:
        lines = StdinLines(descriptor, refuse)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_on_signal)
            async with stdio_server(stdin=cast(Any, lines)) as (read_stream, write_stream):
                lowlevel = server._lowlevel_server  # MCPServer offers no way to run on streams of one's own
                await lowlevel.run(read_stream, write_stream, lowlevel.create_initialization_options())
            tasks.cancel_scope.cancel()


@contextmanager
def _private_stdin() -> Iterator[int]:
    """The client's end of stdin for us alone; children and stray reads get an empty one."""
    private = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        yield private
    finally:
        os.dup2(private, 0)
        os.close(private)
