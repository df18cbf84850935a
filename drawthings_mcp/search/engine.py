"""Searching: one question from arguments to rows.

Owns the order of things: bring the index up to date within a budget of time, answer from what is there, go on in the
background. The parts are elsewhere; nothing here knows SQL, MCP or the terminal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import anyio
import anyio.to_thread
import numpy as np
from anyio.abc import TaskGroup
from numpy.typing import NDArray

from drawthings_mcp.errors import EndpointError, StorageError
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.metadata.reading import read_image_metadata_from
from drawthings_mcp.search import tags as tag_file
from drawthings_mcp.search.answer import Answerer
from drawthings_mcp.search.arguments import WEB, SearchArguments, SearchResult, SearchRow, build_query
from drawthings_mcp.search.database import DamagedIndexError, open_index, open_tags
from drawthings_mcp.search.embeddings import embed_texts, run_meaning
from drawthings_mcp.search.entry import Source
from drawthings_mcp.search.freshness import Freshness
from drawthings_mcp.search.indexing import IndexReport, Report, Stop, drop_folder, never, run_indexing
from drawthings_mcp.search.looking import run_looking, source_key
from drawthings_mcp.search.providers import WebSearch, choose_provider
from drawthings_mcp.search.sources import choose_sources
from drawthings_mcp.search.web_answer import answer_from_web
from drawthings_mcp.settings import Settings
from drawthings_mcp.tensors.pixels import ImageLike
from drawthings_mcp.web.endpoint import Endpoint

FIRST_BUDGET = 5.0
"""Seconds that a search spends on indexing at most: a chat client's patience is sixty."""

_PATIENCE = 5.0
"""Seconds that an endpoint has to tell what a query means."""

_SILENCE = 30.0
"""Seconds for which an endpoint that did not serve is not asked again: its patience is the caller's time."""

_logger = logging.getLogger(__name__)
T = TypeVar("T")


def _read(file: BinaryIO, path: Path) -> ImageMetadata:
    return read_image_metadata_from(file, name=str(path))


class SearchEngine:
    """Finds pictures in the sources of some settings, and on the web when asked.

    Parameters
    ----------
    background
        Where indexing goes on after an answer; without it, it stops and the next search continues.
    sources, web
        Instead of those that the settings name.
    budget
        Seconds that a search spends on indexing at most.
    fresh_for
        Seconds for which the index is not compared with the sources again.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: ImageCatalog,
        *,
        background: TaskGroup | None = None,
        sources: Sequence[Source] | None = None,
        web: WebSearch | None = None,
        budget: float = FIRST_BUDGET,
        fresh_for: float = 10.0,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._given = sources
        self._web = web
        self._index = open_index(settings.state_dir)
        self._tags = open_tags(settings.state_dir)
        self._budget = budget
        self._freshness = Freshness(
            partial(self._within_search, self._run_reading),
            partial(self._within_search, self._run_looking),
            self._run_meaning,
            background,
            fresh_for,
        )
        self._report: Report | None = None
        self._newest_own = ""
        self._told: set[str] = set()
        self._silent_until = float("-inf")
        self._endpoint = _find_endpoint(settings)
        self._answerer = Answerer(self._index, self._tags, catalog, settings.embedding_model)

    async def search(self, arguments: SearchArguments, report: Report | None = None) -> SearchResult:
        """One page of the pictures that match.

        Parameters
        ----------
        report
            Told from another thread how far indexing is, when there is no background in which it could go on.

        Raises
        ------
        InvalidInputError
            An argument cannot be used.
        StorageError
            The index cannot be used.
        WebError
            The web was asked for, and its provider cannot be reached or refuses.
        """
        query = build_query(arguments, _now())
        if arguments.source == WEB:
            web = self._web or WebSearch(choose_provider(self._settings))
            return await answer_from_web(web, self._catalog, query, arguments, _now())
        self._report = report
        news, notes = await self._freshen(with_looks=arguments.like is not None)
        sources = await self._in_thread(self._choose_sources)
        meaning = await self._embed(query.text) if query.terms and arguments.like is None else None
        result = await self._in_thread(partial(self._answerer.answer, query, arguments, sources, meaning))
        notes = [*result.notes, *notes]
        return replace(result, pending=news.pending if news else result.pending, notes=tuple(notes))

    async def index(self, dirs: Iterable[Path] = (), report: Report | None = None) -> IndexReport:
        """Bring the whole index up to date, looks and meanings included.

        Parameters
        ----------
        dirs
            Folders to search from now on, besides those of the settings.
        report
            Called from another thread, now and then.
        """
        await self._in_thread(partial(tag_file.remember_folders, self._tags, [path.resolve() for path in dirs]))
        result = await self._in_thread(partial(self._run_reading, report=report))
        await self._in_thread(partial(self._run_looking, report=report))
        await self._run_meaning(report=report)
        return result

    async def forget(self, dirs: Iterable[Path]) -> None:
        """Search some folders no more that ``index`` was told of, and keep nothing of them but tags.

        Raises
        ------
        UnknownNameError
            It was not told of one of them.
        """
        folders = [path.resolve() for path in dirs]
        await self._in_thread(partial(tag_file.forget_folders, self._tags, folders))
        for folder in folders:
            await self._in_thread(partial(drop_folder, self._index, self._tags, folder))

    async def change_tags(self, place: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> list[str]:
        """Add tags to a picture and take tags off; all that it has then.

        Parameters
        ----------
        place
            Its path or ``project://<file>#<key>``.
        """
        return await self._in_thread(partial(self._answerer.change_tags, place, add, remove))

    async def list_tags(self) -> dict[str, int]:
        """Every tag and how many pictures have it, the most frequent first."""
        return dict(await self._in_thread(partial(tag_file.count_tags, self._tags)))

    async def read_picture(self, row: SearchRow) -> ImageLike:
        """What shows a row's picture: its file, or a small one for those that have none."""
        if row.thumbnail is not None:
            return row.thumbnail
        sources = await self._in_thread(self._choose_sources)
        return await self._in_thread(partial(self._answerer.read_preview, row.place, sources))

    async def _freshen(self, *, with_looks: bool) -> tuple[IndexReport | None, list[str]]:
        """Bring the index up to date as far as it gets; what its reader should know."""
        try:
            await self._notice_own()
            report = await self._freshness.refresh(self._budget, with_looks=with_looks)
        except StorageError as error:
            # A disk that is full can still be read.
            return None, [str(error)]
        notes = self._list_news(report)
        if self._freshness.is_reading:
            notes.append("Pictures are still being indexed; search again for more.")
        return report, notes

    async def _notice_own(self) -> None:
        """A picture of our own that is new is found at once, whichever process made it."""
        newest = await self._in_thread(self._catalog.find_latest)
        if newest is not None and newest.id != self._newest_own:
            self._newest_own = newest.id
            self._freshness.expire()

    def _list_news(self, report: IndexReport | None) -> list[str]:
        """What a run of indexing met that its reader should know; problems once."""
        if report is None:
            return []
        # The output folder comes into being with the first picture.
        missing = [root for root in report.missing if root != self._settings.output_dir.absolute()]
        notes = [f"{root} is not there; its pictures are left out until it is." for root in missing]
        if not report.is_listed:
            notes.append("Not all folders have been listed yet; search again for more.")
        problems = [problem for problem in report.problems if problem not in self._told]
        self._told.update(problems)
        if len(problems) > 1:
            notes.append(f"{len(problems)} files cannot be read, the first: {problems[0]}")
        return notes if len(problems) > 1 else notes + problems

    def _within_search(self, run: Callable[[Stop, Report | None], T], should_stop: Stop) -> T:
        return run(should_stop, self._report)

    def _run_reading(self, should_stop: Stop = never, report: Report | None = None) -> IndexReport:
        sources = list(self._choose_sources().values())
        run = partial(run_indexing, self._index, self._tags, sources, should_stop=should_stop, report=report)
        try:
            return run()
        except DamagedIndexError:
            return run()

    def _run_looking(self, should_stop: Stop = never, report: Report | None = None) -> None:
        run_looking(self._index, self._choose_sources(), should_stop=should_stop, report=report)

    async def _run_meaning(self, should_stop: Stop = never, report: Report | None = None) -> None:
        if self._endpoint is not None:
            await run_meaning(self._index, self._endpoint, should_stop=should_stop, report=report)

    async def _embed(self, text: str) -> NDArray[np.float32] | None:
        """What a text means; None when nobody can tell now."""
        if self._endpoint is None or time.monotonic() < self._silent_until:
            return None
        try:
            vectors = await embed_texts(self._endpoint, [text], timeout=_PATIENCE)
        except EndpointError as error:
            _logger.info("searching by words only: %s", error)
            self._silent_until = time.monotonic() + _SILENCE
            return None
        first: NDArray[np.float32] = vectors[0]
        return first

    def _choose_sources(self) -> dict[str, Source]:
        sources = self._given
        if sources is None:
            folders = [*self._settings.search_dirs, *tag_file.list_remembered(self._tags)]
            sources = choose_sources(self._settings.output_dir, folders, _read)
        return {source_key(source.root, source.kind): source for source in sources}

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Blocking work; a damaged index is made anew and the work done again."""
        with suppress(DamagedIndexError):
            return await anyio.to_thread.run_sync(work)
        await anyio.to_thread.run_sync(self._run_reading)
        return await anyio.to_thread.run_sync(work)


def _find_endpoint(settings: Settings) -> Endpoint | None:
    if not settings.embedding_url:
        return None
    return Endpoint(settings.embedding_url, settings.embedding_model, settings.embedding_key.get_secret_value())


def _now() -> datetime:
    return datetime.now().astimezone()
