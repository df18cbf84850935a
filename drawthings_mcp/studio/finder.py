"""Searching and tagging pictures: from a question to hits that can be used at once."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.gallery import Gallery

if TYPE_CHECKING:
    from drawthings_mcp.search.engine import SearchEngine
    from drawthings_mcp.search.hits import HitPage
    from drawthings_mcp.search.indexing import IndexReport, ReportProgress


_LIKE = re.compile(r"\b(?:like|wie)[:\s]+((?:[avpi][1-9]\d*|latest(?::[avpi]\d*)?)\b)", re.IGNORECASE)
_BUDGET_ALONE = 2.0
"""Seconds that a search spends on indexing when nothing goes on after it."""


class Finder:
    """Finds pictures of one studio; its index is opened at the first question.

    Parameters
    ----------
    tasks
        Where indexing goes on after an answer; None ends it with the answer.
    """

    def __init__(self, settings: Settings, gallery: Gallery, tasks: TaskGroup | None) -> None:
        self._settings = settings
        self._gallery = gallery
        self._tasks = tasks
        self._opening = anyio.Lock()
        self._engines: list[SearchEngine] = []
        """The engine, once it is open; shared by all views."""

    def open_to(self, gallery: Gallery) -> Finder:
        """The same finder for one of several clients, with its view of the gallery."""
        view = copy.copy(self)
        view._gallery = gallery
        return view

    async def search(
        self, *, like: str = "", report: ReportProgress | None = None, budget: float | None = None, **wanted: Any
    ) -> HitPage:
        """One page of hits, each with an id under which it can be used at once; see ``SearchEngine.search``.

        Parameters
        ----------
        like
            A reference to a picture that hits should look like; the query may name one too, as in ``like v8 but blue``.
        budget
            Seconds that it may spend on news of the folders; by default what suits somebody who asks once.
        **wanted
            The other fields of ``SearchArguments``.
        """
        from drawthings_mcp.search.query import SearchArguments

        engine = await self._open()
        if named := _LIKE.search(wanted.get("query", "")):
            like = like or named[1]
            wanted["query"] = wanted["query"].replace(named[0], " ")
        alike = await self._gallery.find([like]) if like else None
        picture = alike.pictures[0].source if alike else None
        page = await engine.search(SearchArguments(**wanted, like=picture), report, budget=budget)
        self._gallery.note_own(*(hit.id for hit in reversed(page.hits) if hit.id.startswith("p")))
        return replace(page, notes=(*alike.notes, *page.notes)) if alike else page

    async def draw_sheet(self, page: HitPage) -> Path:
        """A labelled sheet of the hits as a file, kept as ``iN``."""
        catalog = await self._gallery.open_catalog()

        def draw() -> Path:
            from drawthings_mcp.studio.transform import keep_sheet

            labelled = [(hit.id, hit.source) for hit in page.hits if hit.is_shown]
            record = keep_sheet(labelled, catalog, self._settings.state_dir)
            assert record.path is not None
            return record.path

        return await anyio.to_thread.run_sync(draw)

    async def index(self, folders: Sequence[Path], report: ReportProgress | None = None) -> IndexReport:
        """Brings the whole index up to date; see ``SearchEngine.index``."""
        return await (await self._open()).index(folders, report)

    async def forget(self, folders: Sequence[Path]) -> None:
        """Stops searching folders, and removes them from the index; see ``SearchEngine.forget``."""
        await (await self._open()).forget(folders)

    async def change_tags(
        self, references: Sequence[str], add: Sequence[str], remove: Sequence[str], rating: int | None = None
    ) -> dict[str, list[str]]:
        """Adds and removes tags of pictures; the tags that each has then, by id.

        Parameters
        ----------
        rating
            1 to 5, which is a tag like ``rating:4``; 0 takes it off, None leaves it.
        """
        from drawthings_mcp.search.query import RATINGS, name_rating

        add = [*add, name_rating(rating)] if rating else add
        remove = [*remove, *map(name_rating, RATINGS)] if rating == 0 else remove
        engine = await self._open()
        found = await self._gallery.find(references)
        return {
            picture.id: await engine.change_tags(str(picture.path), add=add, remove=remove)
            for picture in found.pictures
        }

    async def list_tags(self) -> dict[str, int]:
        """Every tag and how many pictures have it."""
        return await (await self._open()).list_tags()

    async def mark_hidden(self, images: Iterable[str], *, hidden: bool, binned: bool = False) -> None:
        """Has the gallery's page show pictures no more, or again; ``binned`` when their files are in the bin."""
        await (await self._open()).mark_hidden(images, hidden=hidden, binned=binned)

    async def list_hidden(self) -> dict[str, bool]:
        """The pictures that the page does not show, and whether they are in the bin."""
        return await (await self._open()).list_hidden()

    async def _open(self) -> SearchEngine:
        async with self._opening:
            if not self._engines:
                catalog = await self._gallery.open_catalog()

                def build() -> SearchEngine:
                    from drawthings_mcp.search.engine import FIRST_BUDGET, SearchEngine

                    budget = FIRST_BUDGET if self._tasks is not None else _BUDGET_ALONE
                    return SearchEngine(self._settings, catalog, background=self._tasks, budget=budget)

                self._engines.append(await anyio.to_thread.run_sync(build))
            return self._engines[0]
