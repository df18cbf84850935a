"""Searching, and what is told about pictures for searching: from a question to hits that can be shown and used."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.background import load_room
from drawthings_mcp.studio.gallery import Gallery
from drawthings_mcp.studio.results import FoundPictures, Hit, HitPage, Picture

if TYPE_CHECKING:
    from drawthings_mcp.search.engine import SearchEngine


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
        self._engine: SearchEngine | None = None

    async def search(self, *, like: str = "", report: Any = None, **wanted: Any) -> HitPage:
        """One page of hits, each with an id under which it can be used at once.

        Parameters
        ----------
        like
            A reference to a picture that hits should look like.
        report
            Told how far indexing is; see ``search.SearchEngine.search``.
        **wanted
            The other fields of ``search.SearchArguments``.

        Raises
        ------
        DrawThingsError
            An argument cannot be used, or the web that was asked for does not answer; says what to do.
        """
        room = await load_room("search.arguments")
        engine = await self._open()
        found = await self._gallery.find([like]) if like else FoundPictures(())
        alike = found.pictures[0].path if found.pictures else None
        result = await engine.search(room.SearchArguments(**wanted, like=alike), report)
        notes = found.notes
        hits = [await _build_hit(row, engine) for row in result.rows]
        return HitPage(
            tuple(hits), result.total, result.is_exact, result.offset, result.pending, (*notes, *result.notes)
        )

    async def draw_sheet(self, page: HitPage) -> Path:
        """A labelled sheet of the hits as a file, kept as ``iN``."""
        room = await load_room("studio.transforming")
        labelled = [(hit.id, hit.source) for hit in page.hits if hit.source]
        keep = partial(room.keep_sheet, labelled, await self._gallery.open_catalog(), self._settings.state_dir)
        picture: Picture = await anyio.to_thread.run_sync(keep)
        return picture.path

    async def index(self, folders: Sequence[Path], report: Any = None) -> Any:
        """Brings the whole index up to date; see ``search.SearchEngine.index``."""
        return await (await self._open()).index(folders, report)

    async def forget(self, folders: Sequence[Path]) -> None:
        """Searches folders no more that were indexed; see ``search.SearchEngine.forget``."""
        await (await self._open()).forget(folders)

    async def change_tags(
        self, references: Sequence[str], add: Sequence[str], remove: Sequence[str]
    ) -> dict[str, list[str]]:
        """Adds and removes tags of pictures; the tags that each has then, by id.

        Raises
        ------
        DrawThingsError
            A reference leads nowhere, or a tag cannot be used.
        """
        engine = await self._open()
        found = await self._gallery.find(references)
        tags: dict[str, list[str]] = {}
        for picture in found.pictures:
            place = str(picture.path)
            tags[picture.id] = await engine.change_tags(place, add=add, remove=remove)
        return tags

    async def list_tags(self) -> dict[str, int]:
        """Every tag and how many pictures have it."""
        return await (await self._open()).list_tags()

    async def _open(self) -> SearchEngine:
        async with self._opening:
            if self._engine is None:
                room = await load_room("search.engine")
                catalog = await self._gallery.open_catalog()

                def build() -> SearchEngine:
                    engine: SearchEngine = room.SearchEngine(self._settings, catalog, background=self._tasks)
                    return engine

                self._engine = await anyio.to_thread.run_sync(build)
            return self._engine


async def _build_hit(row: Any, engine: SearchEngine) -> Hit:
    try:
        source = await engine.read_picture(row)
    except DrawThingsError:
        source = b""  # it is listed all the same, as one that cannot be shown
    return Hit(
        id=row.id,
        source=source,
        size=(row.width, row.height),
        place=row.place,
        text=row.prompt or row.title,
        model=row.model,
        loras=tuple(name if weight is None else f"{name}@{weight:g}" for name, weight in row.loras),
        seed=row.seed,
        match=str(row.match),
        kind=row.source,
        created=row.created,
        page=row.page,
        licence=row.licence,
        attribution=row.attribution,
    )
