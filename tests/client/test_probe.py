from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.abc import ByteStream

from drawthings_mcp.address import parse_address
from drawthings_mcp.client.probe import Speaks, probe

pytestmark = pytest.mark.anyio

Peer = Callable[..., Any]

HTTP1_ANSWER = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


async def close_at_once(stream: ByteStream) -> None:
    pass


async def stay_silent(stream: ByteStream) -> None:
    await anyio.sleep_forever()


async def answer_http1(stream: ByteStream) -> None:
    await stream.receive()
    await stream.send(HTTP1_ANSWER)


async def wait_for_a_get(stream: ByteStream) -> None:
    """A web server that says nothing before it has read a request line of its own protocol."""
    received = b""
    while not received.startswith(b"GET ") and b"HTTP/2.0" not in received:
        received += await stream.receive()
    if received.startswith(b"GET "):
        await stream.send(HTTP1_ANSWER)


async def greet_as_ssh(stream: ByteStream) -> None:
    await stream.send(b"SSH-2.0-test\r\n")
    await stream.receive()


async def alert_as_tls(stream: ByteStream) -> None:
    await stream.receive()
    await stream.send(b"\x15\x03\x01\x00\x02\x02\x46\x00\x00")


class Quiet(http.server.BaseHTTPRequestHandler):
    """Python's own web server without pages; to what it does not understand it answers without a status line."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (close_at_once, Speaks.CLOSES),
        (answer_http1, Speaks.HTTP1),
        (wait_for_a_get, Speaks.HTTP1),
        (greet_as_ssh, Speaks.OTHER),
        (alert_as_tls, Speaks.TLS_FAILS),
    ],
)
async def test_the_probe_tells_what_a_peer_speaks(serve_tcp: Peer, handler: Any, expected: Speaks) -> None:
    with anyio.fail_after(20):
        async with serve_tcp(handler) as address:
            result = await probe(parse_address(address))
    assert (result.speaks, result.ip) == (expected, "127.0.0.1")


async def test_a_web_server_that_answers_unknown_questions_with_a_bare_page_is_known_by_its_own_protocol() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            with anyio.fail_after(20):
                result = await probe(parse_address(f"127.0.0.1:{server.server_port}"))
        finally:
            await anyio.to_thread.run_sync(server.shutdown)
    assert (result.speaks, result.detail) == (Speaks.HTTP1, "HTTP/1.0 404 Not Found")


async def test_a_peer_that_greets_and_then_says_nothing_is_not_waited_for(serve_tcp: Peer) -> None:
    connections = 0

    async def greet_twice(stream: ByteStream) -> None:
        nonlocal connections
        connections += 1
        if connections <= 2:
            await stream.send(b"220 a mail server\r\n")
        await anyio.sleep_forever()

    with anyio.fail_after(20):
        async with serve_tcp(greet_twice) as address:
            result = await probe(parse_address(address), timeout=600)
    assert (result.speaks, result.detail) == (Speaks.OTHER, "first bytes b'220 a mail serve'")


async def test_a_grpc_server_without_tls_speaks_plaintext(serve_grpc: Peer) -> None:
    with anyio.fail_after(20):
        async with serve_grpc() as address:
            result = await probe(parse_address(address))
    assert (result.speaks, result.certificate) == (Speaks.PLAINTEXT, b"")


async def test_a_grpc_server_with_tls_shows_its_certificate(serve_grpc: Peer, issue: Peer) -> None:
    certificate = issue("localhost")
    with anyio.fail_after(20):
        async with serve_grpc(certificate=certificate) as address:
            result = await probe(parse_address(address))
    assert (result.speaks, result.certificate) == (Speaks.TLS, certificate.der)


async def test_a_web_server_behind_tls_is_distinguished_from_grpc(serve_tcp: Peer, issue: Peer, tmp_path: Path) -> None:
    context = issue("localhost").build_context(tmp_path, ["http/1.1"])
    with anyio.fail_after(20):
        async with serve_tcp(answer_http1, context) as address:
            result = await probe(parse_address(address))
    assert result.speaks is Speaks.TLS_ONLY


async def test_a_peer_that_never_answers_counts_as_silent_after_the_timeout(serve_tcp: Peer) -> None:
    with anyio.fail_after(20):
        async with serve_tcp(stay_silent) as address:
            result = await probe(parse_address(address), timeout=0.05)
    assert result.speaks is Speaks.SILENT


async def test_a_port_where_nothing_listens_refuses() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        with anyio.fail_after(20):
            result = await probe(parse_address(f"127.0.0.1:{reserved.getsockname()[1]}"))
    assert (result.speaks, result.ip) == (Speaks.REFUSED, "")
    assert "refused" in str(result)


async def test_a_name_that_nobody_knows_is_distinguished_from_a_server_that_is_off() -> None:
    with anyio.fail_after(60):
        result = await probe(parse_address("drawthings.invalid"), timeout=50)
    assert result.speaks is Speaks.UNRESOLVED
