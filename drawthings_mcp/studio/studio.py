"""The studio: the front that tools and commands talk to. Importing it is cheap; the first call imports the rest."""

from __future__ import annotations

import copy
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from drawthings_mcp.errors import DrawThingsError, InvalidInputError
from drawthings_mcp.faces import Phrase, Step, Text
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.connection import ServerConnection
from drawthings_mcp.studio.finder import Finder
from drawthings_mcp.studio.gallery import Gallery
from drawthings_mcp.studio.heartbeat import Report, keep_alive
from drawthings_mcp.studio.results import GenerationResult, SavedImage, describe_axes
from drawthings_mcp.studio.servers import Reached, Servers
from drawthings_mcp.tasks import background_tasks

if TYPE_CHECKING:
    from drawthings_mcp.client.discovery import FoundServer
    from drawthings_mcp.client.pool import QueuedCall
    from drawthings_mcp.library.catalog import ImageCatalog
    from drawthings_mcp.library.records import ImageRecord
    from drawthings_mcp.library.recovery import OpenedCatalog
    from drawthings_mcp.params import GenerateParams
    from drawthings_mcp.planning.compose import Plan
    from drawthings_mcp.planning.enlarging import UpscaleRun
    from drawthings_mcp.planning.sweep import Axis, Cell
    from drawthings_mcp.presets.collection import PresetCollection
    from drawthings_mcp.references.policy import Visitor
    from drawthings_mcp.studio.inputs import Inputs
    from drawthings_mcp.studio.listing import CatalogListing
    from drawthings_mcp.studio.render import Rendering
    from drawthings_mcp.studio.saver import PlannedCall, Prepare, Saver

_SHOWN = 5
"""Announced servers that are named."""
HEARTBEAT_SECONDS = 5.0
"""Silence after which the last progress is reported again: well under the 60 s that clients wait."""


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
        yield Studio(settings, Servers(settings, tasks), gallery, finder, heartbeat_seconds)


async def _say_nothing(fraction: float, message: str) -> None:
    pass


async def _begin_anyhow() -> None:
    pass


@dataclass(slots=True)
class JobRun:
    """How a call is carried out, perhaps as a job that outlives its process.

    Attributes
    ----------
    report
        Gets the progress step by step, and at least every few seconds that the work goes on.
    output
        File to write instead of one in the output folder; when it exists, a number is added to its name.
    prepare
        Makes what each picture is shown by, in a thread, while its file is written.
    key
        What the pictures are recorded with; empty for one that is drawn.
    is_again
        Whether an earlier process may have rendered a part of it: what that saved is not rendered again.
    begin
        Is awaited before the first request; may refuse.
    saved
        Gets every picture once it is on disk: a call that is cancelled has no result.
    peek
        Gets what is there of a picture meanwhile, as the payload of a latent, and the version of its model.
    """

    report: Report = _say_nothing
    output: Path | None = None
    prepare: Prepare | None = None
    key: str = ""
    is_again: bool = False
    begin: Callable[[], Awaitable[None]] = _begin_anyhow
    saved: list[SavedImage] = field(default_factory=list)
    peek: Callable[[bytes, str], None] = lambda *_: None

    async def list_done(self, catalog: ImageCatalog) -> list[ImageRecord]:
        """What an earlier process saved."""
        return await anyio.to_thread.run_sync(catalog.list_job, self.key) if self.is_again else []


class _Once:
    """Awaits a function at the first call; whoever calls meanwhile waits for it, too."""

    def __init__(self, begin: Callable[[], Awaitable[None]]) -> None:
        self._begin = begin
        self._lock = anyio.Lock()
        self._has_begun = False

    async def __call__(self) -> None:
        async with self._lock:
            if not self._has_begun:
                await self._begin()
                self._has_begun = True


@dataclass(slots=True)
class _Turn:
    """The place of one call in the queue, and what it needs meanwhile.

    Attributes
    ----------
    is_idle
        Whether nobody was there before it.
    """

    servers: Servers
    report: Report
    call: QueuedCall[ServerConnection]
    is_idle: bool
    opened: OpenedCatalog

    @asynccontextmanager
    async def render(self, saver: Saver, run: JobRun, failover: str) -> AsyncIterator[Rendering]:
        """What renders; in the end hands over what is on disk, however it ended."""
        from drawthings_mcp.studio.render import Rendering

        await saver.prepare()
        is_next = self.servers.queue.is_next(self.call)
        await self.report(0.0, "Sending the request" if is_next else "Waiting for an earlier call")
        try:
            yield Rendering(self.servers, self.call, self.report, failover, _Once(run.begin), run.peek)
        finally:
            run.saved.extend(saver.images)


class Studio:
    """Makes pictures with Draw Things servers and keeps them; made by ``open_studio``.

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
        servers: Servers,
        gallery: Gallery,
        finder: Finder,
        heartbeat_seconds: float,
    ) -> None:
        self.settings = settings
        self.gallery = gallery
        self.finder = finder
        self._servers = servers
        self._client = object()
        self._found: Mapping[str, FoundServer] = {}
        self._heartbeat_seconds = heartbeat_seconds

    @asynccontextmanager
    async def watch_network(self, *, active: bool = True) -> AsyncIterator[None]:
        """Lists servers that announce themselves, for views that are opened meanwhile too; raises as discovery does."""
        if not active:
            yield
            return
        from drawthings_mcp.client.discovery import watch_network

        async with watch_network() as self._found:
            yield

    def open_to(self, visitor: Visitor) -> Studio:
        """The same studio for one of several clients, who take turns: queue, connections and pictures are shared."""
        view = copy.copy(self)
        view._client = object()
        view.gallery = self.gallery.open_to(visitor)
        view.finder = self.finder.open_to(view.gallery)
        return view

    async def generate(self, params: GenerateParams, run: JobRun | None = None) -> GenerationResult:
        """Makes and saves the pictures of one call; when it fails, what had been rendered before is saved."""
        from drawthings_mcp.planning.sweep import list_axes
        from drawthings_mcp.studio.render import run_calls
        from drawthings_mcp.studio.saver import Saver

        run = run or JobRun()
        async with self._take_turn(run.report) as turn:
            calls = await self._prepare(params, fresh=turn.is_idle)
            axes = list_axes(params)
            # Of many pictures the sheet is shown, which is drawn from their files.
            saver = Saver(
                *(self.settings, turn.opened.catalog, run.output),
                prepare=None if axes else run.prepare,
                keeps_pixels=not axes,
                job=run.key,
                done=await run.list_done(turn.opened.catalog),
            )
            try:
                async with turn.render(saver, run, self.settings.failover) as rendering:
                    await run_calls(calls, rendering, saver)
            finally:
                self.gallery.note_own(*(image.record.id for image in saver.images))
            result = _gather(turn, saver, calls)
            return await self._add_sheet(result, axes) if axes else result

    async def upscale(self, picture: str, long_edge: int | None = None, run: JobRun | None = None) -> GenerationResult:
        """Enlarges a picture; see ``planning.enlarging`` for how.

        Parameters
        ----------
        picture
            A reference.
        long_edge
            Longest side of the result in pixels; by default twice what it is.
        """
        from drawthings_mcp.planning.enlarging import find_target, list_runs, plan_run
        from drawthings_mcp.studio.inputs import read_source
        from drawthings_mcp.studio.render import run_calls
        from drawthings_mcp.studio.saver import PlannedCall, Saver

        run = run or JobRun()
        async with self._take_turn(run.report) as turn:
            catalog, policy = await self.gallery.open_catalog(), await self.gallery.build_policy()
            record, pixels, inputs = await read_source(picture, catalog, policy)
            target = find_target(record.size, long_edge)
            reached = await self._servers.greet(fresh=turn.is_idle)
            presets = await self._read_presets()
            runs = await reached.work_out(partial(list_runs, record.size, target, record.model, reached.inventory))
            done = await run.list_done(catalog)
            name = record.path.stem if record.path is not None and not record.prompt else ""
            saver = Saver(*(self.settings, catalog, run.output), name=name, prepare=run.prepare, job=run.key, done=done)
            calls: list[PlannedCall] = []

            async def plan_next(step: UpscaleRun) -> PlannedCall:
                said = (record.prompt, record.seed or 0, reached.inventory, presets)
                return PlannedCall(await reached.work_out(partial(plan_run, step, pixels, *said)), inputs)

            first, *others = runs
            calls.append(await plan_next(first))
            async with turn.render(saver, run, self.settings.failover) as rendering:
                await run_calls(calls, rendering, saver, after=len(others))
                for place, step in enumerate(others, 1):
                    enlarged = saver.images[-1]
                    assert enlarged.pixels is not None
                    pixels, inputs = enlarged.pixels, inputs.follow(enlarged.record)
                    calls.append(await plan_next(step))
                    rest = len(others) - place
                    await run_calls(calls[-1:], rendering, saver, before=place, after=rest)
            return _gather(turn, saver, calls)

    async def _add_sheet(self, result: GenerationResult, axes: tuple[Axis, ...]) -> GenerationResult:
        """The result with a labelled sheet of its pictures; they are there, whatever becomes of it."""
        from drawthings_mcp.studio.transform import keep_sweep

        pictures = [image.record for image in result.variants]
        catalog = await self.gallery.open_catalog()
        result = replace(result, axes=axes)
        try:
            sheet = await anyio.to_thread.run_sync(keep_sweep, pictures, axes, catalog, self.settings.state_dir)
        except DrawThingsError as error:
            return replace(result, notes=(*result.notes, Text("there is no sheet of them: {error}", error=error)))
        self.gallery.note_own(sheet.id)
        return replace(result, sheet=sheet)

    @asynccontextmanager
    async def _take_turn(self, report: Report) -> AsyncIterator[_Turn]:
        async with keep_alive(report, self._heartbeat_seconds) as heartbeat:
            queue = self._servers.queue
            is_idle = queue.is_empty
            with queue.enter(self._client) as call:
                opened = await self.gallery.open()
                await self._servers.recall_paces(opened.catalog)
                yield _Turn(self._servers, heartbeat, call, is_idle, opened)

    async def settle(self, params: GenerateParams) -> tuple[GenerateParams, tuple[str, ...]]:
        """The call in a form that outlives this process, and what is to be said of it; see ``studio.inputs``."""
        from drawthings_mcp.studio.inputs import settle_inputs

        return await settle_inputs(params, await self.gallery.open_catalog(), await self.gallery.build_policy())

    async def plan(self, params: GenerateParams) -> Plan:
        """What ``generate`` would do, without rendering anything; of several pictures the plan of the first."""
        from drawthings_mcp.planning.sweep import list_axes

        calls = await self._prepare(params, fresh=self._servers.queue.is_empty)
        varied = describe_axes(list_axes(params))
        note = Text("{count} pictures, {varied}; above is the first", count=len(calls), varied=Phrase(varied))
        return replace(calls[0].plan, notes=(*([note] if varied else []), *_join_notes(calls)))

    async def _prepare(self, params: GenerateParams, *, fresh: bool) -> list[PlannedCall]:
        """Plans every picture of a call before the first is rendered."""
        from drawthings_mcp.planning.sweep import list_cells
        from drawthings_mcp.studio.inputs import KnownPictures, find_seed, resolve_inputs

        policy = await self.gallery.build_policy()
        catalog, known = await self.gallery.open_catalog(), KnownPictures()
        cells = list_cells(await find_seed(params, catalog, policy))
        resolved = [await resolve_inputs(cell.params, catalog, policy, known) for cell in cells]
        reached = await self._servers.greet(fresh=fresh)
        presets = await self._read_presets()
        calls: list[PlannedCall] = []
        for cell, (asked, inputs) in zip(cells, resolved, strict=True):
            calls.append(await _plan_cell(cell, asked, inputs, self._servers, reached, presets, calls[:1]))
        return calls

    async def _read_presets(self) -> PresetCollection:
        from drawthings_mcp.presets.collection import read_presets

        return await anyio.to_thread.run_sync(read_presets, self.settings.custom_configs, self.settings.state_dir)

    async def list_catalog(
        self, kind: str, *, query: str = "", family: str = "", mode: str = "", offset: int = 0, limit: int = 25
    ) -> CatalogListing:
        """A page of what the server has; see ``studio.listing``."""
        from drawthings_mcp.studio.listing import list_catalog

        reached = await self._servers.greet(fresh=self._servers.queue.is_empty)
        listing = await list_catalog(
            reached, self.settings, kind, query=query, family=family, mode=mode, offset=offset, limit=limit
        )
        return replace(listing, notes=(*listing.notes, *self._describe_found()))

    def _describe_found(self) -> Iterator[Text]:
        """Servers that are announced and were not accepted."""
        used = {server.address for server in self.settings.list_servers()}
        new = [server for server in self._found.values() if str(server.address) not in used]
        if new:
            template = "not used, but announced on the network: {servers}. To accept one, {step}"
            names = tuple(Text("{name} at {address}", name=one.name, address=str(one.address)) for one in new[:_SHOWN])
            yield Text(template, servers=names, step=Step("accept_server"))


async def _plan_cell(
    cell: Cell,
    params: GenerateParams,
    inputs: Inputs,
    servers: Servers,
    reached: Reached,
    presets: PresetCollection,
    others: Sequence[PlannedCall],
) -> PlannedCall:
    """The plan of one picture, whose ``params`` have pictures in place of references.

    Raises
    ------
    InvalidInputError
        As ``planning.plan``; says which of several pictures it is about.
    """
    from drawthings_mcp.planning.plan import plan
    from drawthings_mcp.planning.sweep import blame_cell, check_cell, share_pictures
    from drawthings_mcp.studio.inputs import explain_crop
    from drawthings_mcp.studio.saver import PlannedCall

    try:
        made = await servers.plan(reached, lambda inventory: plan(params, inventory, presets))
        check_cell(made, cell)
    except InvalidInputError as error:
        blame_cell(error, cell)
        raise
    for other in others:
        made = share_pictures(made, other.plan)
    inputs.notes += explain_crop(params, inputs, made)
    return PlannedCall(made, inputs, cell.params.digest, cell.label)


def _join_notes(calls: Sequence[PlannedCall]) -> tuple[str, ...]:
    from drawthings_mcp.planning.sweep import join_notes

    notes = (note for call in calls for note in call.inputs.notes)
    return (*dict.fromkeys(notes), *join_notes([call.plan for call in calls], [call.label for call in calls]))


def _gather(turn: _Turn, saver: Saver, calls: Sequence[PlannedCall]) -> GenerationResult:
    inputs = {name: picture for call in calls for name, picture in call.inputs.pictures.items()}
    # What a later run of the call began with is none of its inputs.
    parents = (parent for call in calls for parent in call.inputs.parents if parent.id in inputs)
    return GenerationResult(
        plan=calls[-1].plan,
        variants=tuple(saver.images),
        seconds=time.monotonic() - turn.call.started if turn.call.started else 0.0,
        servers=tuple(dict.fromkeys(image.record.server for image in saver.images)),
        simulated=any(image.record.simulated for image in saver.images),
        inputs=tuple(inputs.values()),
        parents=tuple(dict.fromkeys(parents)),
        notes=(*turn.opened.notes, *_join_notes(calls), *saver.notes),
    )
