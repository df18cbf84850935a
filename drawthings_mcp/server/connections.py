"""What each client of ``serve --http`` may take: connections, time in which it is silent, bodies of requests.

The event loop's own way to TLS knows no such limit, and takes a quarter of a MiB for whoever only connects; here that
is taken once something was sent. A connection whose other end takes nothing counts as silent, too.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import anyio
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from drawthings_mcp.references.policy import MAX_DATA_BYTES
from drawthings_mcp.server.access import get_caller
from drawthings_mcp.server.clients import Clients

_MAX_CONNECTIONS = 1_000
_MAX_ENCRYPTED = 400
"""With TLS, where each takes a quarter of a MiB."""
_SPARE_FILES = 256
"""Descriptors that are kept for everything but connections."""
_WANTED_FILES = 4_096
_FIRST_REQUEST_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 75
"""Until the first request of a connection is there, and between two of them: longer than proxies keep theirs."""
_STALLED_SECONDS = 60.0
"""For a client to take what was sent; one that never does would keep its place for ever."""

MAX_BODY = MAX_DATA_BYTES * 4 // 3 + 1_000_000
"""Bytes of a request: the largest picture that is taken as a data: URI, in base64, and the rest of the call."""
_SMALL_BODY = 1_000_000
STRANGERS_BODY = 10_000
"""Of who is not known yet."""
_LARGE_BODIES = 4
"""Larger bodies that are read at once; others wait, so that they take no more than 140 MB together."""
_BODY_SECONDS = 60.0
_MAX_DRAINED = 4 * MAX_BODY
_DRAIN_SECONDS = 5.0
"""What is still read, and thrown away, of a body that is too large: a client that is cut off sees no answer."""
_CLOSING = {"Connection": "close"}
"""The rest of a body that was given up must not be taken for the next request."""


def limit_connections(context: ssl.SSLContext | None) -> Callable[..., asyncio.Protocol]:
    """What makes connections that are closed when no request comes, and the oldest such when there are too many."""
    patience = _Patience(_count_connections(_MAX_CONNECTIONS if context is None else _MAX_ENCRYPTED))
    return partial(_HttpConnection, patience) if context is None else partial(_Handshake, patience, context)


class _Patience:
    """How long a server waits for the other ends of its connections; the first to have begun is given up first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._timers: dict[_Limited, asyncio.TimerHandle] = {}

    def start(self, connection: _Limited, seconds: float) -> None:
        """It has so long, from now on."""
        self.stop(connection)
        self._timers[connection] = connection.loop.call_later(seconds, connection.give_up)

    def stop(self, connection: _Limited) -> None:
        """It has as long as it wants."""
        timer = self._timers.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def make_room(self, count: int) -> None:
        """Gives up the one that waits the longest when there are too many connections."""
        if count > self._most:
            next(iter(self._timers)).give_up()


class _Limited:
    """A connection that may not be silent for long."""

    patience: _Patience
    transport: asyncio.Transport
    connections: set[Any]
    loop: asyncio.AbstractEventLoop

    def enter(self) -> None:
        # The event loop does so only for sockets that name their protocol; without it the second part of an
        # answer waits 40 ms for the other end's word on the first.
        with suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.patience.start(self, _FIRST_REQUEST_SECONDS)
        self.patience.make_room(len(self.connections))

    def give_up(self) -> None:
        self.patience.stop(self)
        self.transport.abort()


class _HttpConnection(_Limited, H11Protocol):
    def __init__(self, patience: _Patience, **options: Any) -> None:
        super().__init__(**options)
        self.patience = patience

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.enter()

    def connection_lost(self, exc: Exception | None) -> None:
        self.patience.stop(self)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._note_progress()

    def on_response_complete(self) -> None:
        self._note_progress()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.patience.start(self, _STALLED_SECONDS)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._note_progress()

    def _is_answering(self) -> bool:
        # Whose body is still to come waits, the longer the less of it comes.
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def _note_progress(self) -> None:
        if self.flow.write_paused:
            return
        if self._is_answering():
            self.patience.stop(self)
        else:
            self.patience.start(self, KEEP_ALIVE_SECONDS + _FIRST_REQUEST_SECONDS)


class _Handshake(_Limited, asyncio.Protocol):
    """A connection that is not encrypted yet."""

    def __init__(
        self, patience: _Patience, context: ssl.SSLContext, server_state: Any, _loop: Any = None, **options: Any
    ) -> None:
        self.patience = patience
        self.loop = _loop or asyncio.get_running_loop()
        self.connections = server_state.connections
        self._context = context
        self._connection = _HttpConnection(patience, server_state=server_state, _loop=_loop, **options)
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        self.transport = transport
        self.connections.add(self)
        self._task = self.loop.create_task(self._agree())
        self.enter()

    def data_received(self, data: bytes) -> None:
        self._early += data  # it came with the end of the handshake

    def shutdown(self) -> None:
        self.give_up()

    def give_up(self) -> None:
        super().give_up()
        self._task.cancel()
        self.connections.discard(self)  # a task that has not begun yet ends without a word

    async def _agree(self) -> None:
        try:
            with self.transport.get_extra_info("socket").dup() as peer:
                await anyio.wait_readable(peer)
            encrypted = await self.loop.start_tls(self.transport, self, self._context, server_side=True)
        except OSError:
            encrypted = None
        finally:
            self.patience.stop(self)
            self.connections.discard(self)
        if encrypted is None or encrypted.is_closing():
            self.transport.abort()
        else:
            encrypted.set_protocol(self._connection)
            self._connection.connection_made(encrypted)
            if self._early:
                self._connection.data_received(bytes(self._early))


def _count_connections(most: int) -> int:
    """How many connections there may be: every one takes a descriptor, and so do pictures and databases."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(_WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return most if soft == resource.RLIM_INFINITY else max(min(most, soft - _SPARE_FILES), 16)


class Bodies:
    """Reads the bodies of requests for an application: whole, not too large, not too slowly, not too many at once."""

    def __init__(self, app: ASGIApp, clients: Clients | None = None, most: int = MAX_BODY) -> None:
        self._app = app
        self._clients = clients
        self._most = most
        self._large = anyio.Semaphore(_LARGE_BODIES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        declared = int(length) if length else None if "transfer-encoding" in headers else 0
        is_small = declared is not None and declared <= _SMALL_BODY
        try:
            async with nullcontext() if is_small else self._large:
                with anyio.fail_after(_BODY_SECONDS):
                    body = await _read(receive, declared, self._most)
        except TimeoutError:
            await PlainTextResponse("The request came too slowly.", 408, _CLOSING)(scope, receive, send)
            return
        if body is None:
            if "expect" not in headers:
                with anyio.move_on_after(_DRAIN_SECONDS):
                    await _drain(receive)
            refusal = PlainTextResponse(f"A request has at most {self._most} bytes.", 413, _CLOSING)
            await refusal(scope, receive, send)
            return
        if self._clients is not None:
            self._clients.note_cancellation(get_caller(scope), headers.get(MCP_SESSION_ID_HEADER, ""), body)
        message: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        del body

        async def replay() -> Message:
            return message.pop() if message else await receive()

        await self._app(scope, replay, send)


async def _read(receive: Receive, declared: int | None, most: int) -> bytes | None:
    """A body; what there is of it when the client goes away, None when it is too large."""
    body = bytearray()
    if declared is not None and declared > most:
        return None
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body", False):
            break
    return bytes(body)


async def _drain(receive: Receive) -> None:
    count = 0
    while count <= _MAX_DRAINED:
        message = await receive()
        count += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
