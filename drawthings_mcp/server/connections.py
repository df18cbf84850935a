"""Connections to ``serve --http``: how many there may be, how long each may stay silent, and how TLS begins on them."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from contextlib import suppress
from typing import Any

import anyio
from uvicorn.protocols.http.h11_impl import H11Protocol

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


def limit_connections(context: ssl.SSLContext | None) -> type[asyncio.Protocol]:
    """Connections that are closed when no request comes, and the oldest such when there are too many.

    The event loop's own way to TLS knows no such limit, and takes a quarter of a MiB for whoever only connects; here
    that is taken once something was sent. A connection whose other end takes nothing counts as silent, too.
    """
    most = _count_connections(_MAX_CONNECTIONS if context is None else _MAX_ENCRYPTED)
    waiting: dict[_Waiting, asyncio.TimerHandle] = {}

    class _Waiting:
        transport: asyncio.Transport
        connections: set[Any]
        loop: asyncio.AbstractEventLoop

        def _enter(self) -> None:
            # The event loop does so only for sockets that name their protocol; without it the second part of an
            # answer waits 40 ms for the other end's word on the first.
            with suppress(OSError):
                self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._wait(_FIRST_REQUEST_SECONDS)
            if len(self.connections) > most:
                next(iter(waiting))._give_up()

        def _wait(self, seconds: float) -> None:
            self._stop_waiting()
            waiting[self] = self.loop.call_later(seconds, self._give_up)

        def _give_up(self) -> None:
            self._stop_waiting()
            self.transport.abort()

        def _stop_waiting(self) -> None:
            timer = waiting.pop(self, None)
            if timer is not None:
                timer.cancel()

    class Connection(_Waiting, H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._enter()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
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
            self._wait(_STALLED_SECONDS)

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
                self._stop_waiting()
            else:
                self._wait(KEEP_ALIVE_SECONDS + _FIRST_REQUEST_SECONDS)

    class Handshake(_Waiting, asyncio.Protocol):
        """A connection that is not encrypted yet."""

        def __init__(self, server_state: Any, _loop: Any = None, **options: Any) -> None:
            self.loop = _loop or asyncio.get_running_loop()
            self.connections = server_state.connections
            self._connection = Connection(server_state=server_state, _loop=_loop, **options)
            self._early = bytearray()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()
            self.transport = transport
            self.connections.add(self)
            self._task = self.loop.create_task(self._agree())
            self._enter()

        def data_received(self, data: bytes) -> None:
            self._early += data  # it came with the end of the handshake

        def shutdown(self) -> None:
            self._give_up()

        def _give_up(self) -> None:
            super()._give_up()
            self._task.cancel()
            self.connections.discard(self)  # a task that has not begun yet ends without a word

        async def _agree(self) -> None:
            assert context is not None
            try:
                with self.transport.get_extra_info("socket").dup() as peer:
                    await anyio.wait_readable(peer)
                encrypted = await self.loop.start_tls(self.transport, self, context, server_side=True)
            except OSError:
                encrypted = None
            finally:
                self._stop_waiting()
                self.connections.discard(self)
            if encrypted is None or encrypted.is_closing():
                self.transport.abort()
            else:
                encrypted.set_protocol(self._connection)
                self._connection.connection_made(encrypted)
                if self._early:
                    self._connection.data_received(bytes(self._early))

    return Connection if context is None else Handshake


def _count_connections(most: int) -> int:
    """How many connections there may be: every one takes a descriptor, and so do pictures and databases."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(_WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return most if soft == resource.RLIM_INFINITY else max(min(most, soft - _SPARE_FILES), 16)
