"""The open client of one server, connected at the first call that needs it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus

from drawthings_mcp.errors import DrawThingsError, ServerError, SharedSecretError
from drawthings_mcp.settings import DEMO_SERVER, ServerSettings, Settings

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
    name
        The server's, as the user wrote it.
    inventory
        What the server has, as of when it was last asked.
    scope
        Ends the client when cancelled.
    identifier
        The server's own, drawn at its start; 0 from a proxy.
    """

    client: ServerClient
    name: str
    inventory: ServerInventory
    scope: anyio.CancelScope
    identifier: int

    @property
    def lists_files(self) -> bool:
        """Whether it can be browsed."""
        return self.inventory.catalog is not None

    async def learn(self, files: Collection[str]) -> None:
        """Asks the server about files, if it does not list them; it keeps the answers."""
        if files and self.inventory.catalog is None and self.inventory.can_ask:
            ask = partial(self.inventory.ask, sorted(filter(None, files)))
            await self.client.work_out(self.inventory, ask)

    def has_all(self, files: Collection[str]) -> bool:
        """Whether the server has files, as far as it says what it has."""
        from drawthings_mcp.catalog import UnansweredError

        try:
            return all(self.inventory.has(file) is not False for file in files)
        except UnansweredError:
            return False


class ServerConnection:
    """Opens the connection to one server when there is none yet; the client and the simulator live in ``tasks``.

    Attributes
    ----------
    is_up
        Whether it answered when it was last asked, and did not go away since.
    is_asked
        Whether an answer is on its way.
    is_watched
        Whether it is asked again and again, because it is away.
    failure
        Why it is not up; None before it was asked.
    same_as
        The one that is used in its place, because both are names of one server, which renders one picture at a time.
    """

    def __init__(self, server: ServerSettings, settings: Settings, tasks: TaskGroup) -> None:
        self.name = server.name
        self.address = server.address
        self.is_up = False
        self.is_asked = False
        self.is_watched = False
        self.failure: DrawThingsError | None = None
        self.same_as: ServerConnection | None = None
        self._server = server
        self._table = server.name if server.name in settings.servers else ""
        self._state_dir = settings.state_dir
        self._tasks = tasks
        self._opening = anyio.Lock()
        self.connection: Connection | None = None

    @property
    def is_used(self) -> bool:
        """Whether it is up, and not another one's second name."""
        return self.is_up and self.same_as is None

    def is_same(self, other: ServerConnection) -> bool:
        """Whether both lead to one server, as that says itself (protocol §8.1)."""
        own, others = self.connection, other.connection
        return own is not None and others is not None and own.identifier == others.identifier != 0

    async def greet(self, *, fresh: bool = True) -> Connection:
        """The connection, with what the server says of itself; see ``Servers.greet``."""
        from drawthings_mcp.client.status import point_to_table

        try:
            return await self._greet(fresh=fresh)
        except SharedSecretError as error:
            point_to_table(error, self._table)
            raise

    async def _greet(self, *, fresh: bool) -> Connection:
        async with self._opening:
            current = self.connection
            if current is None:
                return await self._open()
        if not fresh:
            return current
        try:
            info = await current.client.echo()
        except ServerError:
            async with self._opening:
                if self.connection is current:
                    self._drop(current)
                    return await self._open()
            return await self._greet(fresh=False)
        self.connection = replace(current, inventory=info.take_inventory(), identifier=info.identifier)
        return self.connection

    def _drop(self, connection: Connection) -> None:
        connection.scope.cancel()
        self.connection = None

    async def _open(self) -> Connection:
        scope = anyio.CancelScope()
        client = await self._tasks.start(self._keep_client, scope)
        try:
            info = await client.echo()
        except BaseException:
            scope.cancel()
            raise
        self.connection = Connection(client, self.name, info.take_inventory(), scope, info.identifier)
        return self.connection

    async def _keep_client(self, scope: anyio.CancelScope, *, task_status: TaskStatus[ServerClient]) -> None:
        # One task enters and leaves these contexts, whichever tool call came first: cancel scopes demand it.
        with scope:
            async with AsyncExitStack() as stack:
                task_status.started(await self._enter_client(stack))
                await anyio.sleep_forever()

    async def _enter_client(self, stack: AsyncExitStack) -> ServerClient:
        from drawthings_mcp.client.server_client import ServerClient

        address, tls, ca_file = self.address, self._server.tls or "auto", self._server.ca_file
        if address == DEMO_SERVER:
            from drawthings_mcp.simulator import Simulator

            simulator = await stack.enter_async_context(Simulator(step_seconds=_DEMO_STEP_SECONDS))
            address, tls, ca_file = simulator.address, "off", None
        client = ServerClient(
            address,
            tls=tls,
            ca_file=ca_file,
            shared_secret=self._server.shared_secret.get_secret_value(),
            state_dir=self._state_dir,
        )
        return await stack.enter_async_context(client)

    def has_all(self, files: Collection[str]) -> bool:
        """Whether it has files, as far as it says what it has; one that has not been asked has none."""
        return not files or (self.connection is not None and self.connection.has_all(files))
