"""Fixtures that every test may use."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from drawthings_mcp.simulator.certificate import make_certificate


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """grpc.aio runs on asyncio only."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keeps one event loop for all tests.

    A gRPC server that was stopped still has events on their way. They are delivered through whichever loop runs
    then, and fail there when their own is closed.
    """
    yield  # noqa: PT022 - the fixture's own life is what keeps the loop


@pytest.fixture(scope="session", autouse=True)
def _home_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the files and settings of the person who runs it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
            patch.delenv(name, raising=False)
        for name in [name for name in os.environ if name.startswith("DRAWTHINGS_")] + ["BRAVE_API_KEY"]:
            patch.delenv(name, raising=False)
        yield


class WebServer:
    """A web server on loopback with TLS, whose answers a test decides.

    Attributes
    ----------
    answers
        By path: what is done with the request's handler.
    requests
        Path and headers of each request so far.
    certificate
        File of its certificate.
    tls
        Trusts the server's certificate, which is for ``localhost`` and ``127.0.0.1``.
    """

    def __init__(self, folder: Path, *, encrypted: bool) -> None:
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], object]] = {}
        self.requests: list[tuple[str, Message]] = []
        self.scheme = "https" if encrypted else "http"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        certificate, key = make_certificate()
        self.certificate = folder / "certificate.pem"
        self.certificate.write_bytes(certificate)
        if encrypted:
            (folder / "pair.pem").write_bytes(certificate + key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "pair.pem")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.tls = ssl.create_default_context(cadata=certificate.decode())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def url(self, path: str, host: str = "localhost") -> str:
        """The URL of a path."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    def put(self, path: str, data: bytes, content_type: str = "image/png", status: int = 200, **headers: str) -> str:
        """Give a path its content; its URL."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Content-Type", content_type)
            handler.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(data)

        self.answers[path] = answer
        return self.url(path)

    def close(self) -> None:
        """Ends it; connections that are open end with their peer."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append((self.path, self.headers))
                # A peer that has enough hangs up.
                with contextlib.suppress(OSError):
                    answer = server.answers.get(self.path)
                    self.send_error(404) if answer is None else answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@pytest.fixture
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A web server with TLS."""
    server = WebServer(tmp_path_factory.mktemp("web"), encrypted=True)
    yield server
    server.close()


@pytest.fixture
def plain_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A web server without TLS."""
    server = WebServer(tmp_path_factory.mktemp("web"), encrypted=False)
    yield server
    server.close()


@dataclass
class HttpService:
    """An HTTP server on loopback that answers as it is told and remembers what it was asked.

    Attributes
    ----------
    answers
        Path → status and body; or what takes the handler and answers by itself.
    requests
        Method, path, headers and parsed body of each request, in order.
    """

    url: str
    answers: dict[str, tuple[int, Any] | Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    """Set when the test is over: what holds an answer back waits for it."""


@pytest.fixture
def http_service() -> Iterator[HttpService]:
    """An HTTP server of the test's own."""
    service = HttpService("")

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            service.requests.append((self.command, self.path, dict(self.headers), json.loads(data or b"null")))
            answer = service.answers.get(self.path, (404, {"error": {"message": "no such path"}}))
            if callable(answer):
                answer(self)
                return
            status, body = answer
            reply = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_POST = answer  # noqa: N815 - the names that http.server looks for

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield service
    service.release.set()
    server.shutdown()
    server.server_close()
    thread.join()
