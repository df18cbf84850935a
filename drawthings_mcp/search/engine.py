"""Searching: one question from arguments to hits.

The index is brought up to date within a budget of time, answers come from what is there, indexing goes on in the
background. Nothing here knows SQL, MCP or the terminal.
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
from drawthings_mcp.faces import Text, join_texts, say
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.records import MediaKind
from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.metadata.reading import read_image_metadata_from
from drawthings_mcp.search import tags as tag_file
from drawthings_mcp.search.answer import Answerer
from drawthings_mcp.search.database import DamagedIndexError, open_index, open_tags
from drawthings_mcp.search.embeddings import embed_texts, name_model
from drawthings_mcp.search.folders import choose_sources
from drawthings_mcp.search.hits import HitPage, source_key
from drawthings_mcp.search.indexing import IndexReport, ReportProgress, drop_folder
from drawthings_mcp.search.query import WEB, SearchArguments, build_query
from drawthings_mcp.search.source import PictureSource
from drawthings_mcp.search.updates import IndexUpdater
from drawthings_mcp.search.web_search import WebSearch, choose_provider
from drawthings_mcp.settings import Settings
from drawthings_mcp.web.endpoint import Endpoint

FIRST_BUDGET = 5.0
"""Seconds that a search spends on indexing at most; what takes a second or more goes on in the background."""

_PATIENCE = 5.0
"""Seconds that an endpoint has to embed a query."""

_SILENCE = 30.0
"""Seconds for which an endpoint that did not serve is not asked again: its patience is the caller's time."""

_logger = logging.getLogger(__name__)
T = TypeVar("T")


def _read(file: BinaryIO, path: Path) -> ImageMetadata:
    return read_image_metadata_from(file, name=str(path))


class SearchEngine:
    """Finds pictures in the sources of some settings, and on the web when asked.

    Indexing goes on in ``background`` after an answer; without it, it stops and the next search continues. ``sources``
    and ``web`` replace those that the settings name. ``budget`` is the seconds that a search spends on indexing at
    most, ``fresh_for`` those for which the index is not compared with the sources again.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: ImageCatalog,
        *,
        background: TaskGroup | None = None,
        sources: Sequence[PictureSource] | None = None,
        web: WebSearch | None = None,
        budget: float = FIRST_BUDGET,
        fresh_for: float = 10.0,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._given = sources
        self._web = web
        self._index = open_index(settings.state_dir)
        self._damage: list[str] = []
        self._tags = open_tags(settings.state_dir, self._damage.append)
        self._budget = budget
        self._endpoint = _find_endpoint(settings)
        self._updater = IndexUpdater(
            self._index, self._tags, self._choose_sources, self._endpoint, background, fresh_for
        )
        self._told: set[str] = set()
        self._silent_until = float("-inf")
        self._silence: EndpointError | None = None
        model = name_model(self._endpoint) if self._endpoint else ""
        self._answerer = Answerer(self._index, self._tags, catalog, model)

    async def search(
        self, arguments: SearchArguments, report: ReportProgress | None = None, *, budget: float | None = None
    ) -> HitPage:
        """One page of the pictures that match; ``budget`` replaces the one of the engine.

        ``report`` is called from another thread with how far indexing is, when there is no background in which it could
        go on.

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
            return await web.answer(self._catalog, query, arguments, _now())
        with_features = arguments.like is not None or query.duplicates
        news, notes = await self._freshen(with_features, report, self._budget if budget is None else budget)
        sources = await self._in_thread(self._choose_sources)
        wants_meaning = query.terms and arguments.like is None and query.sort == "best" and not query.duplicates
        vector = await self._embed(query.text) if wants_meaning else None
        if wants_meaning:
            notes += await self._check_meaning(vector)
        page = await self._in_thread(partial(self._answerer.answer, query, arguments, sources, vector))
        pending = news.pending if news else page.pending
        all_notes = (*page.notes, *notes, *self._take_damage())
        return replace(page, pending=pending, notes=all_notes, is_current=not self._updater.is_reading)

    async def index(self, dirs: Iterable[Path] = (), report: ReportProgress | None = None) -> IndexReport:
        """Bring the whole index up to date, visual features and embeddings included.

        ``dirs`` are searched from now on, besides those of the settings. ``report`` is called from another thread.
        """
        await self._in_thread(partial(tag_file.remember_folders, self._tags, [path.resolve() for path in dirs]))
        result = await self._in_thread(partial(self._updater.read, report=report))
        await self._in_thread(partial(self._updater.measure, report=report))
        await self._updater.embed(report=report)
        if self._updater.embedding_problem is not None:
            result.problems.append(join_texts(self._updater.embedding_problem))
        result.problems += self._take_damage()
        return result

    async def forget(self, dirs: Iterable[Path]) -> None:
        """Search some folders no more that were given to ``index``, and keep nothing of them but tags.

        Raises ``UnknownNameError`` when one of them was never given.
        """
        folders = [path.resolve() for path in dirs]
        await self._in_thread(partial(tag_file.forget_folders, self._tags, folders))
        for folder in folders:
            await self._in_thread(partial(drop_folder, self._index, self._tags, folder))

    async def change_tags(self, place: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> list[str]:
        """Add tags to the picture at a path or ``project://<file>#<key>`` and take tags off; all that it has then."""
        return await self._in_thread(partial(self._answerer.change_tags, place, add, remove))

    async def list_tags(self) -> dict[str, int]:
        """Every tag and how many pictures have it, the most frequent first."""
        return dict(await self._in_thread(partial(tag_file.count_tags, self._tags)))

    async def mark_hidden(self, images: Iterable[str], *, hidden: bool, binned: bool = False) -> None:
        """Have a gallery show pictures no more, or again; see ``search.tags``."""
        mark = partial(tag_file.mark_hidden, binned=binned) if hidden else tag_file.unmark_hidden
        await self._in_thread(partial(mark, self._tags, tuple(images)))

    async def list_hidden(self) -> dict[str, bool]:
        """The pictures that a gallery does not show, and whether they are in the bin."""
        return await self._in_thread(partial(tag_file.list_hidden, self._tags))

    def _take_damage(self) -> list[str]:
        """What was lost since this was asked last."""
        damage = list(self._damage)
        del self._damage[: len(damage)]
        return damage

    async def _freshen(
        self, with_features: bool, report: ReportProgress | None, budget: float
    ) -> tuple[IndexReport | None, list[str]]:
        """Bring the index up to date as far as it gets; what its reader should know."""
        try:
            run = await self._updater.refresh(budget, with_features=with_features, report=report)
        except StorageError as error:
            # A disk that is full can still be read.
            return None, [error.problem]
        notes = self._list_news(run)
        if self._updater.is_reading:
            notes.append("Pictures are still being indexed, which goes on; search again for more.")
        return run, notes

    def _list_news(self, report: IndexReport | None) -> list[str]:
        """What a run of indexing met that its reader should know; problems once."""
        if report is None:
            return []
        # The output folder comes into being with the first picture.
        missing = [root for root in report.missing if root != self._settings.output_dir.absolute()]
        notes: list[str] = [
            Text("{root} is not there; its pictures are left out until it is.", root=root) for root in missing
        ]
        skipped = [note for note in report.list_skipped() if note not in self._told]
        self._told.update(skipped)
        notes += skipped
        if not report.is_listed:
            notes.append("Not all folders have been listed yet; search again for more.")
        problems = [problem for problem in report.problems if problem not in self._told]
        self._told.update(problems)
        if len(problems) > 1:
            first = say(problems[0])
            notes.append(Text("{count} files cannot be read, the first: {first}", count=len(problems), first=first))
        return notes if len(problems) > 1 else notes + problems

    async def _embed(self, text: str) -> NDArray[np.float32] | None:
        """The vector of a text; None when the endpoint does not serve now."""
        if self._endpoint is None or time.monotonic() < self._silent_until:
            return None
        self._silence = None
        try:
            vectors = await embed_texts(self._endpoint, [text], timeout=_PATIENCE)
        except EndpointError as error:
            _logger.info("searching by words only: %s", error)
            self._silent_until, self._silence = time.monotonic() + _SILENCE, error
            return None
        first: NDArray[np.float32] = vectors[0]
        return first

    async def _check_meaning(self, vector: NDArray[np.float32] | None) -> list[str]:
        """What the reader should know about search by meaning; a model that changed is noticed."""
        if self._silence is not None:
            return [Text("Search by meaning is off, words alone were searched: {problem}", problem=self._silence)]
        if (problem := self._updater.embedding_problem) is not None:
            return [Text("Not all pictures can be searched by meaning: {problem}", problem=problem)]
        if vector is not None and await self._in_thread(partial(self._answerer.forget_other_embeddings, len(vector))):
            self._updater.embed_soon()
            return [
                "Another embedding model answers now; pictures are embedded again for it, until then words alone were "
                "searched."
            ]
        return []

    def _choose_sources(self) -> dict[str, PictureSource]:
        sources = self._given
        if sources is None:
            folders = [*self._settings.search_dirs, *tag_file.list_remembered(self._tags)]

            def list_files(kind: MediaKind, searched: Iterable[Path]) -> Iterable[Path]:
                # The library has its folder as the user spells it. Its pictures are searched there, however many.
                return self._catalog.list_paths((kind,), outside=(*searched, self._settings.output_dir))

            skipped = self._settings.export_folders
            sources = choose_sources(self._settings.output_dir, folders, _read, skipped, list_files)
        return {source_key(source.root, source.kind): source for source in sources}

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Blocking work, repeated when a database was damaged and has been replaced."""
        with suppress(DamagedIndexError):
            return await anyio.to_thread.run_sync(work)
        await anyio.to_thread.run_sync(self._updater.read)
        return await anyio.to_thread.run_sync(work)


def _find_endpoint(settings: Settings) -> Endpoint | None:
    if not settings.embedding_url:
        return None
    return Endpoint(settings.embedding_url, settings.embedding_model, settings.embedding_key.get_secret_value())


def _now() -> datetime:
    return datetime.now().astimezone()
