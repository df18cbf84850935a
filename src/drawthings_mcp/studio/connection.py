"""The one open client of a studio, made at the first call that needs it.

Owns the choice among several addresses and the embedded simulator; the studio's task group keeps both alive.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup, TaskStatus

from drawthings_mcp.errors import ServerUnreachableError
from drawthings_mcp.settings import DEMO_SERVER, Settings
from drawthings_mcp.studio.background import load_room

if TYPE_CHECKING:
    from drawthings_mcp.client import AsyncDrawThingsClient, ServerInfo

_DEMO_STEP_SECONDS = 0.05
"""Slow enough to watch the progress, fast enough for a first try."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open client and the address it speaks to, as the user wrote it."""

    client: AsyncDrawThingsClient
    address: str


class ServerConnection:
    """Gives the connection, opening it when there is none yet."""

    def __init__(self, settings: Settings, tasks: TaskGroup) -> None:
        self._settings = settings
        self._tasks = tasks
        self._lock = anyio.Lock()
        self._connection: Connection | None = None

    async def greet(self) -> tuple[Connection, ServerInfo]:
        """The connection and what the server says of itself right now.

        Raises
        ------
        ServerError
            No address answers as it should; with several, the text of the last one.
        """
        async with self._lock:
            if self._connection is not None:
                return self._connection, await self._connection.client.echo()
            return await self._connect()

    async def _connect(self) -> tuple[Connection, ServerInfo]:
        *others, last = self._settings.servers
        for address in others:
            try:
                return await self._open(address)
            except ServerUnreachableError:
                continue
        return await self._open(last)

    async def _open(self, address: str) -> tuple[Connection, ServerInfo]:
        scope = anyio.CancelScope()
        client = await self._tasks.start(self._keep_client, address, scope)
        try:
            info = await client.echo()
        except BaseException:
            scope.cancel()
            raise
        self._connection = Connection(client, address)
        return self._connection, info

    async def _keep_client(
        self, address: str, scope: anyio.CancelScope, *, task_status: TaskStatus[AsyncDrawThingsClient]
    ) -> None:
        # One task enters and leaves these contexts, whichever tool call came first: cancel scopes demand it.
        with scope:
            async with AsyncExitStack() as stack:
                task_status.started(await self._enter_client(address, stack))
                await anyio.sleep_forever()

    async def _enter_client(self, address: str, stack: AsyncExitStack) -> AsyncDrawThingsClient:
        client_room = await load_room("client")
        tls, ca_file = self._settings.tls, self._settings.ca_file
        if address == DEMO_SERVER:
            simulator_room = await load_room("simulator")
            simulator = await stack.enter_async_context(simulator_room.Simulator(step_seconds=_DEMO_STEP_SECONDS))
            address, tls, ca_file = simulator.address, "off", None
        client: AsyncDrawThingsClient = client_room.AsyncDrawThingsClient(
            address,
            tls=tls,
            ca_file=ca_file,
            shared_secret=self._settings.shared_secret.get_secret_value(),
            state_dir=self._settings.state_dir,
        )
        return await stack.enter_async_context(client)
