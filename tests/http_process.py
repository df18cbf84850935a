"""``drawthings-mcp serve --http`` as a process, and clients that speak to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from mcp import Client
from mcp.client.extension import ClientExtension
from mcp.client.streamable_http import streamable_http_client
from mcp.types import Implementation

from tests.warm_start import list_command

_MAIN = """\
import os, sys
from drawthings_mcp.server import clients, connections, http
print(os.getpid(), file=sys.stderr)
for given in sys.argv.pop(1).split():
    name, _, value = given.partition("=")
    module = next(module for module in (clients, connections, http) if hasattr(module, name))
    setattr(module, name, float(value) if "." in value else int(value))
from drawthings_mcp.cli import main
main()
"""
"""The command with other limits than those that a test would have to wait for; it says first which process it is."""


class HttpProcess:
    """A server process.

    Attributes
    ----------
    url
        Of MCP.
    lines
        What it said until it served.
    token
        The one that was made, or the first of the file.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *arguments: str,
        limits: str = "",
        server: str = "demo",
        within: Sequence[str] = (),
    ) -> None:
        command = ["-c", _MAIN, limits, "--server", server, "serve", "--http", *arguments]
        self.process = subprocess.Popen(
            [*within, sys.executable, *command] if within else list_command(*command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            text=True,
        )
        # A test that waits for a line that never comes must end.
        self._watchdog = threading.Timer(100, self.process.kill)
        self._watchdog.start()
        assert self.process.stderr is not None
        self._pid = int(self.process.stderr.readline())
        self.lines: list[str] = []
        while not any(line.startswith("Tokens are in") for line in self.lines):
            line = self.process.stderr.readline()
            if not line:
                self._end()
            assert line, self.lines
            self.lines.append(line.strip())
        self._watchdog.cancel()  # what is asked of it later has limits of its own
        said = urlsplit(next(line for line in self.lines if line.startswith("Serving")).rpartition(" ")[2])
        self.url = said._replace(netloc=f"127.0.0.1:{said.port}").geturl()
        self.token_file = Path(self.lines[-1].removeprefix("Tokens are in "))
        self.token = self.token_file.read_text(encoding="utf-8").split()[-1]
        # What it says later must not fill the pipe.
        self.later: list[str] = []
        self._reader = threading.Thread(target=self.later.extend, args=[self.process.stderr], daemon=True)
        self._reader.start()

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def ask(
        self, method: str, path: str, body: bytes | None = None, /, *, token: str | None = None, **headers: str
    ) -> tuple[HTTPResponse, bytes]:
        """One request on a connection of its own; underscores in names of headers stand for hyphens."""
        if self.url.startswith("https:"):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection: HTTPConnection = HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)
        else:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, body, given)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def status(self, method: str, path: str, body: bytes | None = None, /, **headers: str) -> int:
        """The status of one request."""
        return self.ask(method, path, body, **headers)[0].status

    def connect_raw(self) -> socket.socket:
        """A connection on which nothing was sent yet."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    @asynccontextmanager
    async def client(
        self,
        name: str = "test",
        *,
        token: str = "",
        mode: str = "auto",
        host: str = "",
        extensions: Sequence[ClientExtension] = (),
    ) -> AsyncIterator[Client]:
        """A client by the SDK; ``host`` is the name under which it reaches the server."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if host:
            headers["Host"] = host
        # The certificates of tests are nobody's.
        async with httpx2.AsyncClient(headers=headers, timeout=60, verify=False) as http:
            transport = streamable_http_client(self.url, http_client=http)
            info = Implementation(name=name, version="1.2")
            async with Client(
                transport, read_timeout_seconds=60, mode=mode, client_info=info, extensions=extensions
            ) as client:
                yield client

    def measure_memory(self) -> int:
        """Resident bytes."""
        asked = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self._pid)], capture_output=True, text=True, check=True, timeout=60
        )
        return int(asked.stdout) * 1024

    def end(self) -> int:
        """Its exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def kill(self) -> None:
        """Ends it as a crash does."""
        os.kill(self._pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def close(self) -> None:
        self._end(self._reader.join)

    def _end(self, settle: Callable[[], object] = bool) -> None:
        self._watchdog.cancel()
        self.process.kill()
        self.process.wait()
        settle()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def serve_http(
    environment: Mapping[str, str], *arguments: str, limits: str = "", server: str = "demo", within: Sequence[str] = ()
) -> Iterator[HttpProcess]:
    """``with serve_http(environment, "127.0.0.1:0") as server:``; ``within`` is a command that runs another."""
    process = HttpProcess(environment, *(arguments or ("127.0.0.1:0",)), limits=limits, server=server, within=within)
    try:
        yield process
    finally:
        process.close()


def build_call(number: int, **arguments: Any) -> tuple[bytes, dict[str, str]]:
    """A call of ``generate_image`` by the newest revision, with its headers."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
        "progressToken": number,
    }
    params = {"name": "generate_image", "arguments": arguments, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "generate_image",
    }
    return json.dumps(body).encode(), headers
