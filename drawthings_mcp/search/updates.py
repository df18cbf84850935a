"""When the index is brought up to date: within a search's budget, and in the background after it.

A run has three phases: what pictures say is read, their visual features are measured, embeddings are asked for.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import anyio
import anyio.to_thread

from drawthings_mcp.errors import DrawThingsError, EndpointError
from drawthings_mcp.search.database import DamagedIndexError
from drawthings_mcp.search.embeddings import run_embedding
from drawthings_mcp.search.indexing import IndexReport, KnownSources, ReportProgress, Stop, ignore, never, run_indexing
from drawthings_mcp.search.visual_index import run_visual_indexing

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from drawthings_mcp.databases import Database
    from drawthings_mcp.search.source import PictureSource
    from drawthings_mcp.web.endpoint import Endpoint

_logger = logging.getLogger(__name__)
T = TypeVar("T")
Work: TypeAlias = Callable[[Stop, Callable[[], object]], Awaitable[object]]
"""A phase: asks whether to stop, and says when a search should not wait for it any longer."""


class IndexUpdater:
    """Starts runs of indexing and waits for them, never longer than it should.

    The second and the third phase may take hours; what is new meanwhile is read all the same. Runs go on in
    ``background``; without it they stop at the end of the budget. For ``fresh_for`` seconds after a complete run no
    other is begun; as many times longer as it took seconds to find out what there is. Meanwhile a glance at the folders
    finds new files.
    """

    def __init__(
        self,
        index: Database,
        tags: Database,
        choose_sources: Callable[[], Mapping[str, PictureSource]],
        endpoint: Endpoint | None,
        background: TaskGroup | None,
        fresh_for: float,
    ) -> None:
        self._index = index
        self._tags = tags
        self._choose_sources = choose_sources
        self._endpoint = endpoint
        self._background = background
        self._fresh_for = fresh_for
        self._fresh_until = float("-inf")
        self._known: KnownSources = {}
        self._reading = _BackgroundWork(self._report_errors(self._read_and_go_on))
        self._measuring = _BackgroundWork(self._report_errors(partial(_run_in_thread, self.measure)))
        self._embedding = _BackgroundWork(self._report_errors(self.embed))
        self.embedding_problem: EndpointError | None = None
        """Why the newest run got no embeddings."""
        self._report: IndexReport | None = None
        self._error: DrawThingsError | None = None

    @property
    def is_reading(self) -> bool:
        """Whether the first phase of a run is under way."""
        return self._reading.is_under_way

    async def refresh(
        self, budget: float, *, with_features: bool, report: ReportProgress | None = None
    ) -> IndexReport | None:
        """What the newest run found; None when it is not that far yet.

        ``report`` is called from another thread, when there is no background in which the run could go on.
        """
        if self._background is None:
            await self._run_within(budget, with_features, report)
        else:
            await self._wait(self._background, budget, with_features)
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        result, self._report = self._report, None
        return result

    def read(
        self, should_stop: Stop = never, answer: Callable[[], object] = ignore, report: ReportProgress | None = None
    ) -> IndexReport:
        """The first phase. Blocks, and calls ``answer`` and ``report`` from its thread; see ``run_indexing``."""
        return self._run(should_stop=should_stop, answer=answer, report=report)

    def _run(self, **options: Any) -> IndexReport:
        sources = list(self._choose_sources().values())
        run = partial(run_indexing, self._index, self._tags, sources, known=self._known, **options)
        try:
            return run()
        except DamagedIndexError:
            return run()

    def measure(
        self, should_stop: Stop = never, answer: Callable[[], object] = ignore, report: ReportProgress | None = None
    ) -> None:
        """The second phase. Blocks, and calls ``answer`` when it takes long."""
        run_visual_indexing(self._index, self._choose_sources(), should_stop=should_stop, answer=answer, report=report)

    async def embed(
        self, should_stop: Stop = never, answer: Callable[[], object] = ignore, report: ReportProgress | None = None
    ) -> None:
        """The third phase; none without an endpoint."""
        self.embedding_problem = None
        if self._endpoint is not None:
            try:
                await run_embedding(self._index, self._endpoint, should_stop=should_stop, report=report)
            except EndpointError as error:
                _logger.info("no embeddings: %s", error)
                self.embedding_problem = error

    def embed_soon(self) -> None:
        """Begin the third phase again."""
        if self._background is not None:
            self._embedding.begin(self._background)

    async def _run_within(self, budget: float, with_features: bool, report: ReportProgress | None) -> None:
        start = time.monotonic()
        end = start + budget

        def is_over() -> bool:
            return time.monotonic() >= end

        if start >= self._fresh_until:
            self._report = await anyio.to_thread.run_sync(partial(self.read, is_over, report=report))
            if self._report.is_complete:
                self._rest(self._report)
        else:
            await self._glance(budget)
        if with_features:
            await anyio.to_thread.run_sync(partial(self.measure, is_over, report=report))

    async def _wait(self, background: TaskGroup, budget: float, with_features: bool) -> None:
        with anyio.move_on_after(budget):
            if time.monotonic() >= self._fresh_until and not self.is_reading:
                self._reading.begin(background)
                await self._reading.wait()
            else:
                await self._glance(budget)
            if with_features:
                await self._measuring.wait()

    async def _glance(self, budget: float) -> None:
        """Read what is new in the folders, as far as it gets."""
        end = time.monotonic() + budget
        look = partial(self._run, is_glance=True, should_stop=lambda: time.monotonic() >= end)
        report = await anyio.to_thread.run_sync(look)
        if self._background is not None and report.pending and not self.is_reading:
            self._reading.begin(self._background)
        elif self._background is not None and report.read:
            self._measuring.begin(self._background)
            self._embedding.begin(self._background)

    async def _read_and_go_on(self, should_stop: Stop, answer: Callable[[], object]) -> None:
        self._report = await _run_in_thread(self.read, should_stop, answer)
        self._rest(self._report)
        assert self._background is not None
        self._measuring.begin(self._background)
        self._embedding.begin(self._background)

    def _report_errors(self, work: Work) -> Work:
        """An error is reported by the next search; a mistake of ours ends this phase, not the program around it."""

        async def run(should_stop: Stop, answer: Callable[[], object]) -> None:
            try:
                await work(should_stop, answer)
            except DrawThingsError as error:
                _logger.warning("%s", error)
                self._error = error
            except Exception:
                _logger.exception("Indexing ended early")

        return run

    def _rest(self, report: IndexReport) -> None:
        """Begin no other run too soon after one."""
        self._fresh_until = time.monotonic() + self._fresh_for * max(1.0, report.listing_seconds)


class _BackgroundWork:
    """Work that never runs twice at once; asked for while it is under way, it is done once more.

    It is waited for until it is done, or calls its second argument to say that it takes too long for that.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._is_wanted = False
        self._awaited: anyio.Event | None = None
        self.is_under_way = False

    def begin(self, background: TaskGroup) -> None:
        self._is_wanted = True
        if not self.is_under_way:
            self.is_under_way, self._awaited = True, anyio.Event()
            background.start_soon(self._run, self._awaited)

    async def wait(self) -> None:
        if self._awaited is not None:
            await self._awaited.wait()

    async def _run(self, awaited: anyio.Event) -> None:
        stopped = threading.Event()
        loop = asyncio.get_running_loop()

        def answer() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(awaited.set)

        try:
            while self._is_wanted:
                self._is_wanted = False
                await self._work(stopped.is_set, answer)
        finally:
            stopped.set()
            self.is_under_way = False
            awaited.set()


async def _run_in_thread(
    work: Callable[[Stop, Callable[[], object]], T], should_stop: Stop, answer: Callable[[], object]
) -> T:
    return await anyio.to_thread.run_sync(partial(work, should_stop, answer), abandon_on_cancel=True)
