"""Serves MCP over stdin and stdout until stdin closes or a signal arrives.

A line of the client that is no JSON, or no text, is reported to it instead of being dropped.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, cast

import anyio
import anyio.lowlevel
from mcp.server.runner import serve_dual_era_loop
from mcp.server.stdio import stdio_server
from mcp.shared._stream_protocols import ReadStream
from mcp.shared.message import SessionMessage
from mcp.types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
)

from drawthings_mcp.memory import keep_freed_memory
from drawthings_mcp.server.app import build_server
from drawthings_mcp.settings import Settings

_logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CHUNK = 65_536

_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)")
"""One escape of a JSON text: a surrogate pair, half of one, or any other."""
_PAIR_LENGTH = 12

_MAX_DEPTH = 100
"""Levels of arrays and objects in a message; the SDK takes 200."""
_TOO_DEEP = f"params: nested more than {_MAX_DEPTH} levels deep"
_TOKEN = re.compile(r'"id"\s*:\s*(?P<id>"(?:[^"\\]|\\.)*"|-?\d+)|"(?:[^"\\]|\\.)*"|[\[\]{}]')
"""A member that may be the id, a text, or a bracket."""

_DISCOVER = "server/discover"


class StdinLines:
    """Lines of a file descriptor, as the SDK wants to read them.

    Parameters
    ----------
    descriptor
        Read as raw bytes.
    refuse
        Gets what is wrong with a line that cannot be used.
    """

    def __init__(self, descriptor: int, refuse: Callable[[LineProblem], Awaitable[None]]) -> None:
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
            _logger.warning("a line on stdin was refused: %s", problem.text)
            await self._refuse(problem)

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


@dataclass(frozen=True, slots=True)
class LineProblem:
    """Why a line cannot be a message.

    Attributes
    ----------
    request_id
        That of the request, so that its sender can tell; None when it has none that can be used.
    """

    code: int
    text: str
    request_id: str | int | None = None


def find_problem(text: str) -> LineProblem | None:
    """Why a line cannot be a message; None when it may be one.

    The SDK drops such messages, for whose answer their senders would wait.
    """
    try:
        data: Any = json.loads(text)
    except ValueError as error:
        return LineProblem(PARSE_ERROR, f"This line was not understood: not JSON: {error}")
    except RecursionError:
        return LineProblem(INVALID_PARAMS, _TOO_DEEP, _scan_id(text))
    if not isinstance(data, dict):
        return LineProblem(INVALID_REQUEST, "This line was not understood: a message must be a JSON object")
    request_id = data.get("id")
    if "id" in data and (isinstance(request_id, bool) or not isinstance(request_id, str | int)):
        return LineProblem(INVALID_REQUEST, "id: must be text or a whole number")
    if data.get("jsonrpc") != "2.0":
        return LineProblem(INVALID_REQUEST, 'jsonrpc: must be "2.0"', request_id)
    if "method" in data and not isinstance(data["method"], str):
        return LineProblem(INVALID_REQUEST, "method: must be text", request_id)
    if "method" in data and not isinstance(data.get("params", {}), dict):
        return LineProblem(INVALID_PARAMS, "params: must be an object", request_id)
    return LineProblem(INVALID_PARAMS, _TOO_DEEP, request_id) if _is_too_deep(data) else None


def _is_too_deep(data: Any) -> bool:
    level = [data]
    for _ in range(_MAX_DEPTH):
        children = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for items in children for child in items if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _scan_id(text: str) -> str | int | None:
    """The id of a request that is nested too deeply to be parsed."""
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        elif depth == 1 and token["id"] is not None:
            found: str | int = json.loads(token["id"])
            return found
    return None


class _ClientMessages:
    """The messages of a client, without those with which it only asked what the server is.

    Newer clients send ``server/discover`` first and, unanswered for some seconds on a busy machine, ``initialize``. The
    SDK would hold them to the protocol of their first request; here the first other request decides.

    Parameters
    ----------
    answer
        Answers a discovery.
    cancelled
        Gets the reason of a cancellation by the id of its request, before the request is cancelled.
    """

    def __init__(
        self,
        stream: ReadStream[SessionMessage | Exception],
        answer: Callable[[SessionMessage], Awaitable[None]],
        cancelled: dict[str, str],
    ) -> None:
        self._stream = stream
        self._answer = answer
        self._cancelled = cancelled
        self._is_open = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        while True:
            item = await anext(aiter(self._stream))
            message = item.message if isinstance(item, SessionMessage) else None
            if isinstance(message, JSONRPCRequest):
                if not self._is_open and message.method == _DISCOVER:
                    await self._answer(cast(SessionMessage, item))
                    continue
                self._is_open = True
            if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
                params = message.params or {}
                self._cancelled[str(params.get("requestId"))] = str(params.get("reason", ""))
            return item

    async def receive(self) -> SessionMessage | Exception:
        try:
            return await anext(self)
        except StopAsyncIteration:
            raise anyio.EndOfStream from None

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


async def serve_stdio(settings: Settings) -> None:
    """Serves one client; returns when it closes stdin, and on SIGTERM or SIGINT, which end it in the same way.

    From the first signal on further ones are ignored, also after this has returned: some clients send a second one
    while the process ends.
    """
    keep_freed_memory()
    if settings.mcp_url:
        await _serve_upstream(settings)
        return
    server = build_server(settings)._lowlevel_server  # MCPServer offers no way to run on streams of one's own

    async def refuse(problem: LineProblem) -> None:
        error = ErrorData(code=problem.code, message=problem.text)
        await write_stream.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=problem.request_id, error=error)))

    async def answer(discovery: SessionMessage) -> None:
        sender, received = anyio.create_memory_object_stream[SessionMessage | Exception](1)
        replies, reply = anyio.create_memory_object_stream[SessionMessage](8)
        await sender.send(discovery)
        async with anyio.create_task_group() as tasks, sender, reply:
            tasks.start_soon(partial(serve_dual_era_loop, server, received, replies, lifespan_state=session))
            await write_stream.send(await reply.receive())
            tasks.cancel_scope.cancel()

    with _private_stdin() as descriptor:
        lines = StdinLines(descriptor, refuse)
        end_on_signal(lines.close)
        async with (
            stdio_server(stdin=cast(Any, lines)) as (read_stream, write_stream),
            server.lifespan(server) as session,
        ):
            messages = _ClientMessages(read_stream, answer, session.cancelled)
            options = server.create_initialization_options()
            await serve_dual_era_loop(
                server, cast(Any, messages), write_stream, lifespan_state=session, init_options=options
            )


async def _serve_upstream(settings: Settings) -> None:
    """Serves the client by passing everything on to the server that ``DRAWTHINGS_MCP_URL`` names."""
    from drawthings_mcp.server.upstream import pass_on, write_line

    turn = anyio.Lock()

    async def refuse(problem: LineProblem) -> None:
        error = {"code": problem.code, "message": problem.text}
        await write_line({"jsonrpc": "2.0", "id": problem.request_id, "error": error}, turn)

    with _private_stdin() as descriptor:
        lines = StdinLines(descriptor, refuse)
        end_on_signal(lines.close)
        await pass_on(settings, lines, lambda message: write_line(message, turn))


def end_on_signal(end: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def stop(*_: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        loop.call_soon_threadsafe(end)

    for number in _SIGNALS:
        signal.signal(number, stop)


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
