"""All servers of a studio: what they have together, which of them a request can go to, and which is away."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from drawthings_mcp.errors import (
    DrawThingsError,
    InvalidInputError,
    ServerError,
    ServerUnreachableError,
    StorageError,
)
from drawthings_mcp.faces import Step, Text, join_texts
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.connection import Connection, ServerConnection

if TYPE_CHECKING:
    from drawthings_mcp.catalog import ServerInventory
    from drawthings_mcp.client.pool import Paces, QueuedCall, RenderQueue
    from drawthings_mcp.generation import ImageGenerationConfig
    from drawthings_mcp.library.catalog import ImageCatalog
    from drawthings_mcp.planning.compose import Plan
    from drawthings_mcp.studio.lora_folder import LoRAFolder

_logger = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

_LIST = Step("list_models")
_UPLOAD_BYTES_PER_SECOND = 50e6
"""What a network at home does: enough to prefer a server that has a file."""
_FIRST_GRACE = 3.0
"""Seconds that the first call waits for further servers once one has answered: what they have is not known before."""
_GRACE = 2.0
"""The same of later calls, for which it is known."""
_FIRST_RETRY, _LAST_RETRY = 0.25, 30.0
"""Seconds between two looks at a server that is away; each wait is twice the one before."""


@dataclass(frozen=True, slots=True)
class Reached:
    """The servers that can be used.

    Attributes
    ----------
    inventory
        What they have together.
    """

    connections: tuple[Connection, ...]
    inventory: ServerInventory

    @property
    def name(self) -> str:
        """Of all of them."""
        return ", ".join(connection.name for connection in self.connections)

    async def work_out(self, work: Callable[[], ResultT]) -> ResultT:
        """The result of a function that may look into the inventory; see ``ServerClient.work_out``."""
        first = self.connections[0]
        if len(self.connections) == 1:
            return await first.client.work_out(self.inventory, work)
        from drawthings_mcp.catalog import UnansweredError

        while True:
            try:
                return await anyio.to_thread.run_sync(work)
            except UnansweredError as question:
                await self.ask(question.files)
                self.inventory.answers.update(
                    (file, any(one.inventory.answers.get(file) for one in self.connections)) for file in question.files
                )

    async def ask(self, files: Iterable[str]) -> None:
        """Has each of several servers say which of some files it has."""
        wanted = set(files)
        if len(self.connections) > 1:
            for connection in self.connections:
                # One that went away meanwhile has nothing.
                with contextlib.suppress(ServerError):
                    await connection.learn(wanted)

    def locate(self, file: str) -> tuple[str, ...]:
        """Names of the servers that have a file; none when there is nothing to choose."""
        there = [connection.name for connection in self.connections if connection.has_all([file])]
        return tuple(there) if file and len(there) < len(self.connections) else ()


@dataclass(eq=False)
class _Changes:
    """Wakes those who wait for something about any server to change."""

    event: anyio.Event = field(default_factory=anyio.Event)

    def announce(self) -> None:
        self.event.set()
        self.event = anyio.Event()


class Servers:
    """All servers of a studio, and the queue in front of them.

    Of one alone nothing is asked but by calls. Of several each is watched when it went away.
    """

    def __init__(self, settings: Settings, tasks: TaskGroup) -> None:
        self._members = tuple(ServerConnection(server, settings, tasks) for server in settings.list_servers())
        self._tasks = tasks
        self._changes = _Changes()
        self._wanted: set[str] = set()
        self._catalog: ImageCatalog | None = None
        self._lora_dir = settings.lora_dir

    @cached_property
    def loras(self) -> LoRAFolder:
        """What can be uploaded."""
        from drawthings_mcp.studio.lora_folder import LoRAFolder

        return LoRAFolder(self._lora_dir)

    @cached_property
    def queue(self) -> RenderQueue[ServerConnection]:
        """Where requests wait."""
        from drawthings_mcp.client.pool import RenderQueue

        return RenderQueue(self._list_usable)

    @cached_property
    def paces(self) -> Paces:
        """How fast each server is."""
        from drawthings_mcp.client.pool import Paces

        return Paces()

    @property
    def are_several(self) -> bool:
        """Whether there is more than one, up or not."""
        return len(self._members) > 1

    def _list_usable(self) -> Sequence[ServerConnection]:
        if not self.are_several:
            return self._members
        up = [member for member in self._members if member.is_used]
        # One that holds back its answer is busy with somebody else's picture.
        return [member for member in up if not member.is_asked] or up

    async def greet(self, *, fresh: bool = True) -> Reached:
        """The connections, with what the servers say of themselves and what can be uploaded to them.

        Raises
        ------
        ServerError
            As ``_reach``.
        """
        reached = await self._reach(fresh=fresh)
        if self._lora_dir is None:
            return reached
        return replace(reached, inventory=await anyio.to_thread.run_sync(self.loras.add_to, reached.inventory))

    async def _reach(self, *, fresh: bool) -> Reached:
        """The connections, with what the servers say of themselves.

        Parameters
        ----------
        fresh
            Ask again. A server may hold its reply back until its current run is done (protocol §8.1), so that asking
            during a run of our own would only wait for it.

        Raises
        ------
        ServerError
            No server answers as it should; says why, of each.
        """
        if not self.are_several:
            connection = await self._members[0].greet(fresh=fresh)
            return Reached((connection,), connection.inventory)
        from drawthings_mcp.catalog import merge_inventories

        is_first = all(member.connection is None and member.failure is None for member in self._members)
        for member in self._members:
            is_unknown = member.connection is None and member.failure is None
            if is_unknown or (fresh and member.is_up):
                self._ask(member)
        await self._settle(_FIRST_GRACE if is_first else _GRACE)
        if not any(member.is_up for member in self._members):
            for member in self._members:
                self._ask(member)
            await self._settle(_GRACE)
        up = [member.connection for member in self._members if member.is_used and member.connection is not None]
        if not up:
            raise self._explain()
        return Reached(tuple(up), merge_inventories([one.inventory for one in up]))

    def _ask(self, member: ServerConnection) -> None:
        if not member.is_asked:
            member.is_asked = True
            self._tasks.start_soon(self._ask_now, member)

    async def _ask_now(self, member: ServerConnection) -> None:
        try:
            await (await member.greet()).learn(self._wanted)
        except DrawThingsError as error:
            self.note_loss(member, error)
        else:
            member.is_up, member.failure = True, None
            others = (other for other in self._members if other is not member and other.is_used)
            member.same_as = next(filter(member.is_same, others), None)
        finally:
            member.is_asked = False
            self._changes.announce()
            self.queue.dispatch()

    async def _settle(self, grace: float) -> None:
        """Waits for the answers of all, but not long for the rest once one has come."""
        deadline = float("inf")
        while any(member.is_asked for member in self._members):
            if any(member.is_up and not member.is_asked for member in self._members):
                deadline = min(deadline, anyio.current_time() + grace)
            with anyio.CancelScope(deadline=deadline) as scope:
                await self._changes.event.wait()
            if scope.cancelled_caught:
                return

    def note_loss(self, member: ServerConnection, error: DrawThingsError) -> None:
        """A server went away: it gets nothing more until it answers again."""
        member.is_up, member.failure, member.same_as = False, error, None
        for other in self._members:
            if other.same_as is member:
                # It may have been started again, and is another one then.
                self.note_loss(other, error)
        self._changes.announce()
        if not member.is_watched:
            member.is_watched = True
            _logger.warning("%s cannot be used for now: %s", member.name, error)
            self._tasks.start_soon(self._watch, member)

    async def _watch(self, member: ServerConnection) -> None:
        delay = _FIRST_RETRY
        while member.failure is not None:
            await anyio.sleep(delay)
            delay = min(2 * delay, _LAST_RETRY)
            if member.failure is not None and not member.is_asked:
                member.is_asked = True
                await self._ask_now(member)
        member.is_watched = False
        _logger.info("%s is back", member.name)

    def _explain(self) -> ServerError:
        failures = {member.name: member.failure for member in self._members if member.failure is not None}
        lines = (Text("{address}: {error}", address=name, error=error) for name, error in failures.items())
        return ServerUnreachableError(join_texts(f"None of {len(self._members)} servers can be used.", *lines, by="\n"))

    @asynccontextmanager
    async def take(
        self, call: QueuedCall[ServerConnection], place: int, config: ImageGenerationConfig
    ) -> AsyncIterator[tuple[ServerConnection, Connection]]:
        """Waits for a server that has what a configuration names, and has it alone.

        Raises
        ------
        ServerError
            There is none, and none came back.
        """
        files = self._require(config)
        sizes = await anyio.to_thread.run_sync(self._measure_uploads, config) if self._lora_dir is not None else {}

        def estimate(member: ServerConnection) -> float | None:
            if not member.has_all(files - sizes.keys()):
                return None
            missing = sum(size for file, size in sizes.items() if not member.has_all({file}))
            return self.paces.estimate(member.address, config) + missing / _UPLOAD_BYTES_PER_SECOND

        async with call.take_server(place, estimate) as member:
            yield member, member.connection or await member.greet(fresh=False)

    async def plan(self, reached: Reached, make: Callable[[ServerInventory], Plan]) -> Plan:
        """The plan for what the servers have together, or for one of them where none has all that this plan needs.

        Raises
        ------
        InvalidInputError
            As ``make`` does; no server has everything.
        """
        try:
            plan = await reached.work_out(partial(make, reached.inventory))
        except InvalidInputError:
            # What a server has that does not list its files is not part of what they have together.
            silent = [one for one in reached.connections if not one.lists_files] if self.are_several else []
            if plan_of_one := await _plan_for_one(silent, make):
                return plan_of_one
            raise
        if not self.are_several:
            return plan
        await self.expect([plan.configuration])
        lacking = self._list_lacking(plan.configuration)
        if not all(lacking.values()):
            return plan
        if plan_of_one := await _plan_for_one(reached.connections, make):
            return plan_of_one
        lines = (f"{name} lacks {', '.join(files)}" for name, files in lacking.items())
        raise InvalidInputError(
            Text("No server has all files of this picture: {lines}. {step:C}.", lines=tuple(lines), step=_LIST)
        )

    def _list_lacking(self, config: ImageGenerationConfig) -> dict[str, list[str]]:
        """What each server lacks that another one has."""
        files = sorted(self._require(config))
        return {
            member.name: [
                file
                for file in files
                if not member.has_all([file]) and (self._lora_dir is None or self.loras.find(file) is None)
            ]
            for member in self._members
            if member.is_used
        }

    async def expect(self, configs: Iterable[ImageGenerationConfig]) -> None:
        """Finds out which server has what will be asked of them, as far as they do not list it."""
        if self.are_several:
            self._wanted.update(file for config in configs for file in config.list_files())
            for member in self._members:
                if member.is_up and member.connection is not None:
                    try:
                        await member.connection.learn(self._wanted)
                    except ServerError as error:
                        self.note_loss(member, error)

    async def recall_paces(self, catalog: ImageCatalog) -> None:
        """Takes over how fast several servers were when it was last measured, by whichever process."""
        if self.are_several and self._catalog is None:
            with contextlib.suppress(StorageError):
                self.paces.recall(await anyio.to_thread.run_sync(catalog.list_paces))
        self._catalog = catalog

    async def keep_pace(self, member: ServerConnection, config: ImageGenerationConfig, pace: float | None) -> None:
        """Remembers seconds per step for later processes."""
        if self.are_several and self._catalog is not None and pace is not None:
            measured = (member.address, config.model, config.width * config.height, pace)
            with contextlib.suppress(StorageError):
                await anyio.to_thread.run_sync(self._catalog.record_pace, *measured)

    def _measure_uploads(self, config: ImageGenerationConfig) -> dict[str, int]:
        """Bytes of the LoRAs of a configuration that can be uploaded; blocks."""
        found = {lora.file: self.loras.find(lora.file) for lora in config.loras}
        return {file: path.stat().st_size for file, path in found.items() if path is not None}

    async def list_uploads(self, connection: Connection, config: ImageGenerationConfig) -> list[Path]:
        """LoRAs of a configuration that a server lacks and that are in the user's folder."""
        if self._lora_dir is None:
            return []
        found = {lora.file: await anyio.to_thread.run_sync(self.loras.find, lora.file) for lora in config.loras}
        await connection.learn(found)
        return [path for file, path in found.items() if path is not None and not connection.has_all({file})]

    def _require(self, config: ImageGenerationConfig) -> frozenset[str]:
        """Files that tell servers apart: what none is known to have is a matter for whichever it is."""
        if not self.are_several:
            return frozenset()
        return frozenset(
            file for file in config.list_files() if any(member.has_all({file}) for member in self._members)
        )


async def _plan_for_one(connections: Sequence[Connection], make: Callable[[ServerInventory], Plan]) -> Plan | None:
    """The plan for the first server for which there is one."""
    for connection in connections:
        with contextlib.suppress(InvalidInputError):
            return await connection.client.work_out(connection.inventory, partial(make, connection.inventory))
    return None
