"""The studio: the front that tools and commands talk to.

Importing it loads no picture library and opens nothing; the rooms that do are loaded by the first call.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.archive import Archive
from drawthings_mcp.studio.arguments import GenerateArguments
from drawthings_mcp.studio.background import background_tasks, load_room
from drawthings_mcp.studio.connection import Connection, ServerConnection
from drawthings_mcp.studio.heartbeat import Report, keep_alive
from drawthings_mcp.studio.queue import Queue
from drawthings_mcp.studio.results import CatalogListing, GenerationResult

if TYPE_CHECKING:
    from drawthings_mcp.studio.plan import Plan
    from drawthings_mcp.studio.shelf import Shelf

HEARTBEAT_SECONDS = 5.0
"""Silence after which a caller is told that the work goes on: well under the 60 s that clients wait."""


async def say_nothing(fraction: float, message: str) -> None:
    """A report for callers who do not want any."""


@asynccontextmanager
async def open_studio(settings: Settings, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> AsyncIterator[Studio]:
    """A studio, which connects at its first call and closes everything when left."""
    async with background_tasks() as tasks:
        yield Studio(settings, ServerConnection(settings, tasks), heartbeat_seconds)


class Studio:
    """Makes pictures with one Draw Things server and keeps them; made by ``open_studio``."""

    def __init__(self, settings: Settings, server: ServerConnection, heartbeat_seconds: float) -> None:
        self.settings = settings
        self._server = server
        self._heartbeat_seconds = heartbeat_seconds
        self._archive = Archive(settings)
        self._queue = Queue()

    async def generate(
        self, arguments: GenerateArguments, report: Report = say_nothing, *, output: Path | None = None
    ) -> GenerationResult:
        """Makes and saves the pictures of one call.

        Parameters
        ----------
        report
            Told the progress, step by step, and at least every few seconds that the work goes on.
        output
            File to write instead of one in the output folder; when it exists, a number is added to its name.

        Raises
        ------
        DrawThingsError
            With a text that says what to do next; what had been rendered before is saved all the same.
        """
        async with keep_alive(report, self._heartbeat_seconds) as heartbeat:
            is_idle = self._queue.is_empty
            with self._queue.enter() as place:
                plan_room = await load_room("studio.plan")
                shelf_room = await load_room("studio.shelf")
                run_room = await load_room("studio.run")
                connection = await self._server.greet(fresh=is_idle)
                plan: Plan = await plan_room.plan_generation(arguments, connection.client, connection.catalog)
                opened = await self._archive.open()
                shelf: Shelf = shelf_room.Shelf(plan, self.settings, connection, opened.catalog, output)
                shelf.notes.extend(opened.notes)
                await shelf.prepare()
                await heartbeat(0.0, "Sending the request" if place.is_first else "Waiting for an earlier call")
                async with place.turn():
                    started = time.monotonic()
                    await run_room.run_plan(plan, connection.client, shelf, heartbeat)
                    return _build_result(plan, shelf, connection, time.monotonic() - started)

    async def list_catalog(
        self, kind: str, *, query: str = "", family: str = "", mode: str = "", offset: int = 0, limit: int = 25
    ) -> CatalogListing:
        """A page of what the server offers; see ``studio.listing``."""
        listing_room = await load_room("studio.listing")
        connection = await self._server.greet(fresh=self._queue.is_empty)
        listing: CatalogListing = await listing_room.list_catalog(
            connection, connection.catalog, kind, query=query, family=family, mode=mode, offset=offset, limit=limit
        )
        return listing


def _build_result(plan: Plan, shelf: Shelf, connection: Connection, seconds: float) -> GenerationResult:
    configuration = plan.configuration
    return GenerationResult(
        variants=tuple(shelf.variants),
        mode=plan.mode,
        model_file=plan.model.file,
        model_name=plan.model.name,
        family=plan.family,
        preset=plan.preset,
        steps=configuration.steps,
        guidance_scale=configuration.guidance_scale,
        sampler=configuration.sampler.display_name,
        rendered_size=plan.size.rendered,
        seconds=seconds,
        server=connection.address,
        simulated=connection.client.simulated,
        notes=(*plan.notes, *shelf.notes),
    )
