"""A real MCP client, over stdio or in process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.extension import ClientExtension
from mcp.types import Implementation

from drawthings_mcp.server.app import build_server
from drawthings_mcp.settings import load_settings
from tests.warm_start import list_command

KNOWN = Implementation(name="mcp-inspector", version="1.2")
"""A client that gets whatever there is; one that is not known gets little until its model has proven that it sees."""

Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def server_environment(tmp_path: Path) -> dict[str, str]:
    """Folders of the test for the server's files."""
    return {
        "HOME": os.environ["HOME"],
        "DRAWTHINGS_OUTPUT_DIR": str(tmp_path / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(tmp_path / "state"),
    }


@pytest.fixture
def over_stdio(server_environment: dict[str, str]) -> Connect:
    """``over_stdio("--server", "demo")`` is a client of a fresh server process."""

    def connect(*arguments: str) -> AbstractAsyncContextManager[Client]:
        python, *rest = list_command("-m", "drawthings_mcp", *arguments)
        command = StdioServerParameters(command=python, args=rest, env=server_environment)
        return Client(command, read_timeout_seconds=60, client_info=KNOWN)

    return connect


@pytest.fixture
def in_process(server_environment: dict[str, str]) -> Connect:
    """``in_process(server="host:port", tls="off")`` is a client of a server in the test's own process.

    ``mode="legacy"`` makes it one that speaks the protocol as it was before requests stood for themselves;
    ``name`` and ``version`` are what the client says that it is, ``extensions`` those that it declares.
    """

    @asynccontextmanager
    async def connect(
        *,
        heartbeat_seconds: float = 5.0,
        mode: str = "auto",
        name: str | None = None,
        version: str = "1.2",
        extensions: Sequence[ClientExtension] = (),
        **options: str,
    ) -> AsyncIterator[Client]:
        settings = load_settings(options, environment=server_environment)
        server = build_server(settings, heartbeat_seconds=heartbeat_seconds)
        info = Implementation(name=name, version=version) if name else KNOWN
        async with Client(
            server, read_timeout_seconds=60, mode=mode, client_info=info, extensions=extensions
        ) as client:
            yield client

    return connect
