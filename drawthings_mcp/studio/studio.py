"""The studio: the front that tools and commands talk to.

Importing it loads no picture library and opens nothing; the rooms that do are loaded by the first call.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from drawthings_mcp.params import GenerateArguments
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.archive import Archive
from drawthings_mcp.studio.background import background_tasks, load_room
from drawthings_mcp.studio.connection import Connection, ServerConnection
from drawthings_mcp.studio.finder import Finder
from drawthings_mcp.studio.gallery import Gallery
from drawthings_mcp.studio.heartbeat import Report, keep_alive
from drawthings_mcp.studio.queue import Queue
from drawthings_mcp.studio.results import CatalogListing, DryRun, GenerationResult

if TYPE_CHECKING:
    from drawthings_mcp.planning.plan import Plan
    from drawthings_mcp.studio.inputs import Inputs
    from drawthings_mcp.studio.shelf import Shelf

HEARTBEAT_SECONDS = 5.0
"""Silence after which a caller is told that the work goes on: well under the 60 s that clients wait."""


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
    archive = Archive(settings)
    async with background_tasks() as tasks:
        gallery = Gallery(settings, archive, reads_anywhere=reads_anywhere)
        finder = Finder(settings, gallery, tasks if keeps_indexing else None)
        yield Studio(settings, ServerConnection(settings, tasks), archive, gallery, finder, heartbeat_seconds)


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
        archive: Archive,
        gallery: Gallery,
        finder: Finder,
        heartbeat_seconds: float,
    ) -> None:
        self.settings = settings
        self.gallery = gallery
        self.finder = finder
        self._server = server
        self._archive = archive
        self._heartbeat_seconds = heartbeat_seconds
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
                shelf_room = await load_room("studio.shelf")
                run_room = await load_room("studio.run")
                opened = await self._archive.open()
                inputs = await self._resolve_inputs(arguments)
                connection = await self._server.greet(fresh=is_idle)
                plan = await self._plan(inputs, connection)
                shelf: Shelf = shelf_room.Shelf(
                    plan, self.settings, connection, opened.catalog, output, parents=inputs.parents
                )
                shelf.notes.extend([*opened.notes, *inputs.notes])
                await shelf.prepare()
                await heartbeat(0.0, "Sending the request" if place.is_first else "Waiting for an earlier call")
                async with place.turn():
                    started = time.monotonic()
                    await run_room.run_plan(plan, connection.client, shelf, heartbeat)
                    return _build_result(plan, inputs, shelf, connection, time.monotonic() - started)

    async def resolve(self, arguments: GenerateArguments) -> DryRun:
        """What ``generate`` would do, without doing it.

        Raises
        ------
        DrawThingsError
            As ``generate`` before anything is rendered.
        """
        inputs = await self._resolve_inputs(arguments)
        plan = await self._plan(inputs, await self._server.greet(fresh=self._queue.is_empty))
        return DryRun(
            prompt=arguments.prompt,
            negative_prompt=plan.requests[0].negative_prompt,
            mode=plan.mode,
            model_file=plan.model.file,
            model_name=plan.model.name,
            family=plan.choice.family,
            preset=plan.preset,
            size=(plan.size.width, plan.size.height),
            rendered_size=plan.size.rendered,
            sampler=plan.configuration.sampler.display_name,
            settings=tuple(plan.resolution.list_rows()),
            notes=(*inputs.notes, *plan.notes),
        )

    async def _resolve_inputs(self, arguments: GenerateArguments) -> Inputs:
        room = await load_room("studio.inputs")
        policy = await self.gallery.build_policy()
        inputs: Inputs = await room.resolve_inputs(arguments, await self.gallery.open_catalog(), policy)
        return inputs

    async def _plan(self, inputs: Inputs, connection: Connection) -> Plan:
        room = await load_room("planning.plan")
        plan: Plan = await room.plan_generation(inputs.arguments, self.settings, connection.client, connection.catalog)
        return plan

    async def list_catalog(
        self, kind: str, *, query: str = "", family: str = "", mode: str = "", offset: int = 0, limit: int = 25
    ) -> CatalogListing:
        """A page of what the server offers; see ``studio.listing``."""
        listing_room = await load_room("studio.listing")
        connection = await self._server.greet(fresh=self._queue.is_empty)
        listing: CatalogListing = await listing_room.list_catalog(
            connection, self.settings, kind, query=query, family=family, mode=mode, offset=offset, limit=limit
        )
        return listing


def _build_result(plan: Plan, inputs: Inputs, shelf: Shelf, connection: Connection, seconds: float) -> GenerationResult:
    configuration = plan.configuration
    return GenerationResult(
        variants=tuple(shelf.variants),
        mode=plan.mode,
        model_file=plan.model.file,
        model_name=plan.model.name,
        family=plan.choice.family,
        preset=plan.preset,
        steps=configuration.steps,
        guidance_scale=configuration.guidance_scale,
        sampler=configuration.sampler.display_name,
        rendered_size=plan.size.rendered,
        seconds=seconds,
        server=connection.address,
        simulated=connection.client.simulated,
        inputs=inputs.pictures,
        sources=inputs.sources,
        notes=(*plan.notes, *shelf.notes),
    )
