"""The one open client of a studio: the first of its servers that answers, connected at the first call that needs it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup, TaskStatus

from drawthings_mcp.errors import ServerError, ServerUnreachableError
from drawthings_mcp.faces import Text, join_texts
from drawthings_mcp.settings import DEMO_SERVER, Settings

if TYPE_CHECKING:
    from drawthings_mcp.catalog import ServerInventory
    from drawthings_mcp.client.server_client import ServerClient

_DEMO_STEP_SECONDS = 0.05
"""Slow enough to watch the progress, fast enough for a first try."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open client.

    Attributes
    ----------
    address
        As the user wrote it.
    inventory
        What the server has, as of when it was last asked.
    scope
        Ends the client when cancelled.
    """

    client: ServerClient
    address: str
    inventory: ServerInventory
    scope: anyio.CancelScope


class ServerConnection:
    """Opens the connection when there is none yet; the client and the simulator live in ``tasks``."""

    def __init__(self, settings: Settings, tasks: TaskGroup) -> None:
        self._settings = settings
        self._tasks = tasks
        self._opening = anyio.Lock()
        self._connection: Connection | None = None

    async def greet(self, *, fresh: bool = True) -> Connection:
        """The connection, with what the server says of itself.

        Parameters
        ----------
        fresh
            Ask again. A server may hold its reply back until its current run is done (protocol §8.1), so that asking
            during a run of our own would only wait for it.

        Raises
        ------
        ServerError
            No address answers as it should; says why, of each.
        """
        async with self._opening:
            current = self._connection
            if current is None:
                return await self._connect()
        if not fresh:
            return current
        try:
            info = await current.client.echo()
        except ServerError:
            async with self._opening:
                if self._connection is current:
                    self._drop(current)
                    return await self._connect()
            return await self.greet(fresh=False)
        self._connection = replace(current, inventory=info.take_inventory())
        return self._connection

    def _drop(self, connection: Connection) -> None:
        connection.scope.cancel()
        self._connection = None

    async def _connect(self) -> Connection:
        """Opens the first address that answers as it should."""
        failures: dict[str, ServerError] = {}
        for address in self._settings.servers:
            try:
                return await self._open(address)
            except ServerError as error:
                failures[address] = error
        if len(failures) == 1:
            raise next(iter(failures.values()))
        lines = (Text("{address}: {error}", address=address, error=error) for address, error in failures.items())
        raise ServerUnreachableError(join_texts(f"None of {len(failures)} servers can be used.", *lines, by="\n"))

    async def _open(self, address: str) -> Connection:
        scope = anyio.CancelScope()
        client = await self._tasks.start(self._keep_client, address, scope)
        try:
            info = await client.echo()
        except BaseException:
            scope.cancel()
            raise
        self._connection = Connection(client, address, info.take_inventory(), scope)
        return self._connection

    async def _keep_client(
        self, address: str, scope: anyio.CancelScope, *, task_status: TaskStatus[ServerClient]
    ) -> None:
        # One task enters and leaves these contexts, whichever tool call came first: cancel scopes demand it.
        with scope:
            async with AsyncExitStack() as stack:
                task_status.started(await self._enter_client(address, stack))
                await anyio.sleep_forever()

    async def _enter_client(self, address: str, stack: AsyncExitStack) -> ServerClient:
        from drawthings_mcp.client.server_client import ServerClient

        tls, ca_file = self._settings.tls, self._settings.ca_file
        if address == DEMO_SERVER:
            from drawthings_mcp.simulator import Simulator

            simulator = await stack.enter_async_context(Simulator(step_seconds=_DEMO_STEP_SECONDS))
            address, tls, ca_file = simulator.address, "off", None
        client = ServerClient(
            address,
            tls=tls,
            ca_file=ca_file,
            shared_secret=self._settings.shared_secret.get_secret_value(),
            state_dir=self._settings.state_dir,
        )
        return await stack.enter_async_context(client)
