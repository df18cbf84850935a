"""A peer on a free port that speaks no protocol but what a test has it say."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

Handler = Callable[[ByteStream], Awaitable[None]]


@asynccontextmanager
async def serve_tcp(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """``async with serve_tcp(handler) as address``; with a context it speaks TLS."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.listeners[0].extra(SocketAttribute.local_port)

    async def handle(stream: ByteStream) -> None:
        try:
            async with stream:
                await handler(stream)
        except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
            pass

    async with listener, anyio.create_task_group() as group:
        wrapped = listener if context is None else TLSListener(listener, context, standard_compatible=False)
        group.start_soon(wrapped.serve, handle)
        yield f"127.0.0.1:{port}"
        group.cancel_scope.cancel()
