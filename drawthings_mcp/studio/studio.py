"""The studio: the front that tools and commands talk to. Importing it is cheap; the first call imports the rest."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.connection import Connection, ServerConnection
from drawthings_mcp.studio.finder import Finder
from drawthings_mcp.studio.gallery import Gallery
from drawthings_mcp.studio.heartbeat import Report, keep_alive
from drawthings_mcp.studio.results import GenerationResult, SavedImage
from drawthings_mcp.tasks import background_tasks

if TYPE_CHECKING:
    from drawthings_mcp.params import GenerateParams
    from drawthings_mcp.planning.compose import Plan
    from drawthings_mcp.studio.inputs import Inputs
    from drawthings_mcp.studio.listing import CatalogListing
    from drawthings_mcp.studio.saver import Prepare

HEARTBEAT_SECONDS = 5.0
"""Silence after which the last progress is reported again: well under the 60 s that clients wait."""


async def say_nothing(fraction: float, message: str) -> None:
    """A report for callers who do not want any."""


@asynccontextmanager
async def open_studio(
    settings: Settings,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    *,
    reads_anywhere: bool = False,
    keeps_indexing: bool = True,
) -> AsyncIterator[Studio]:
    """A studio, which connects at its first call and closes everything when left.

    Parameters
    ----------
    reads_anywhere
        Whether paths of pictures may lead out of the input folders: for a person at a shell.
    keeps_indexing
        Whether indexing goes on after the answer to a search, as long as the studio is open.
    """
    async with background_tasks() as tasks:
        gallery = Gallery(settings, tasks, reads_anywhere=reads_anywhere)
        finder = Finder(settings, gallery, tasks if keeps_indexing else None)
        yield Studio(settings, ServerConnection(settings, tasks), gallery, finder, heartbeat_seconds)


class _Queue:
    """First come, first served: Draw Things renders one request at a time, and calls keep the order they came in."""

    def __init__(self) -> None:
        self._places: deque[anyio.Event] = deque()

    @property
    def is_empty(self) -> bool:
        return not self._places

    @contextmanager
    def enter(self) -> Iterator[anyio.Event]:
        """Takes the last place, which is set once it is the first; given up in the end."""
        place = anyio.Event()
        self._places.append(place)
        self._places[0].set()
        try:
            yield place
        finally:
            self._places.remove(place)
            if self._places:
                self._places[0].set()


class Studio:
    """Makes pictures with one Draw Things server and keeps them; made by ``open_studio``.

    Attributes
    ----------
    gallery
        The pictures that there are.
    finder
        Finds them again.
    """

    def __init__(
        self,
        settings: Settings,
        server: ServerConnection,
        gallery: Gallery,
        finder: Finder,
        heartbeat_seconds: float,
    ) -> None:
        self.settings = settings
        self.gallery = gallery
        self.finder = finder
        self._server = server
        self._heartbeat_seconds = heartbeat_seconds
        self._queue = _Queue()

    async def generate(
        self,
        params: GenerateParams,
        report: Report = say_nothing,
        *,
        output: Path | None = None,
        prepare: Prepare | None = None,
        saved: list[SavedImage] | None = None,
    ) -> GenerationResult:
        """Makes and saves the pictures of one call; when it fails, what had been rendered before is saved.

        Parameters
        ----------
        report
            Gets the progress step by step, and at least every few seconds that the work goes on.
        output
            File to write instead of one in the output folder; when it exists, a number is added to its name.
        prepare
            Makes what each picture is shown by, in a thread, while its file is written.
        saved
            Gets every picture once it is on disk: a call that is cancelled has no result.
        """
        from drawthings_mcp.studio.render import run_plan
        from drawthings_mcp.studio.saver import Saver

        async with keep_alive(report, self._heartbeat_seconds) as heartbeat:
            is_idle = self._queue.is_empty
            with self._queue.enter() as place:
                opened = await self.gallery.open()
                connection, inputs, plan = await self._prepare(params, fresh=is_idle)
                saver = Saver(
                    *(plan, self.settings, connection, opened.catalog, output),
                    parents=inputs.parents,
                    asked=params.digest,
                    prepare=prepare,
                )
                await saver.prepare()
                await heartbeat(0.0, "Sending the request" if place.is_set() else "Waiting for an earlier call")
                await place.wait()
                started = time.monotonic()
                try:
                    await run_plan(plan, connection.client, saver, heartbeat)
                finally:
                    if saved is not None:
                        saved.extend(saver.images)
                return GenerationResult(
                    plan=plan,
                    variants=tuple(saver.images),
                    seconds=time.monotonic() - started,
                    server=connection.address,
                    simulated=connection.client.simulated,
                    inputs=tuple(inputs.pictures.values()),
                    parents=tuple(inputs.parents),
                    notes=(*plan.notes, *opened.notes, *inputs.notes, *saver.notes),
                )

    async def plan(self, params: GenerateParams) -> Plan:
        """What ``generate`` would do, without rendering anything."""
        _, inputs, plan = await self._prepare(params, fresh=self._queue.is_empty)
        return replace(plan, notes=(*inputs.notes, *plan.notes))

    async def _prepare(self, params: GenerateParams, *, fresh: bool) -> tuple[Connection, Inputs, Plan]:
        from drawthings_mcp.planning.plan import plan
        from drawthings_mcp.presets.collection import read_presets
        from drawthings_mcp.studio.inputs import resolve_inputs

        policy = await self.gallery.build_policy()
        params, inputs = await resolve_inputs(params, await self.gallery.open_catalog(), policy)
        connection = await self._server.greet(fresh=fresh)
        presets = await anyio.to_thread.run_sync(read_presets, self.settings.custom_configs, self.settings.state_dir)
        inventory = connection.inventory
        made = await connection.client.work_out(inventory, partial(plan, params, inventory, presets))
        return connection, inputs, made

    async def list_catalog(
        self, kind: str, *, query: str = "", family: str = "", mode: str = "", offset: int = 0, limit: int = 25
    ) -> CatalogListing:
        """A page of what the server has; see ``studio.listing``."""
        from drawthings_mcp.studio.listing import list_catalog

        connection = await self._server.greet(fresh=self._queue.is_empty)
        return await list_catalog(
            connection, self.settings, kind, query=query, family=family, mode=mode, offset=offset, limit=limit
        )
