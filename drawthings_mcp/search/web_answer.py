"""A query and the web → one page of rows."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import anyio.to_thread

from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.search.arguments import SearchArguments, SearchResult, SearchRow
from drawthings_mcp.search.identity import identify_origin
from drawthings_mcp.search.providers import WebImage, WebSearch
from drawthings_mcp.search.query import Query


async def answer_from_web(
    web: WebSearch, catalog: ImageCatalog, query: Query, arguments: SearchArguments, now: datetime
) -> SearchResult:
    """One page of pictures on the web.

    Raises
    ------
    WebError
        The provider cannot be reached or refuses.
    InvalidInputError
        There are no words to search for.
    """
    found = await web.search(query.text, arguments.offset, arguments.limit)
    thumbnails = await web.fetch_thumbnails(found.images)
    rows = [
        await anyio.to_thread.run_sync(partial(_build_row, catalog, web.provider.name, image, thumbnail, now))
        for image, thumbnail in zip(found.images, thumbnails, strict=True)
    ]
    seen = arguments.offset + len(rows)
    notes = [*query.notes, *_list_notes(query, arguments, thumbnails)]
    total = seen if found.total is None else found.total
    return SearchResult(tuple(rows), total, found.total is not None, arguments.offset, notes=tuple(notes))


def _build_row(
    catalog: ImageCatalog, provider: str, image: WebImage, thumbnail: bytes | None, now: datetime
) -> SearchRow:
    record = identify_origin(catalog, image.image, now, prompt=image.title, width=image.width, height=image.height)
    return SearchRow(
        id=record.id,
        prompt="",
        width=image.width,
        height=image.height,
        match="web",
        source=f"{provider}: {image.source}" if image.source else provider,
        place=image.image,
        title=image.title,
        page=image.page,
        licence=image.licence,
        attribution=image.attribution,
        thumbnail=thumbnail,
    )


def _list_notes(query: Query, arguments: SearchArguments, thumbnails: list[bytes | None]) -> list[str]:
    notes = []
    if query.conditions or query.since or query.until or query.excluded or arguments.like is not None:
        notes.append("On the web only words are searched for; filters and like were left out.")
    if missing := thumbnails.count(None):
        notes.append(f"{missing} of {len(thumbnails)} thumbnails could not be fetched.")
    return notes
