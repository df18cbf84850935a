"""Words → pictures on the web with their thumbnails.

These are the only requests of this room that leave the machine; nothing is sent unless somebody asked for the web. A
provider is asked directly, the user named it; what it answers is fetched with the rules for strangers' URLs.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from importlib.metadata import version as get_version
from typing import Any

import anyio
import anyio.to_thread
import httpx2

from drawthings_mcp.errors import DrawThingsError, InvalidInputError, WebError
from drawthings_mcp.faces import Text, say
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.quoting import label
from drawthings_mcp.search.hits import Hit, HitPage, identify_origin
from drawthings_mcp.search.providers import Brave, Openverse, Provider, SearXNG, WebAnswer, WebImage, WebRequest
from drawthings_mcp.search.query import Query, SearchArguments
from drawthings_mcp.settings import Settings
from drawthings_mcp.tensors.picture_files import check_picture
from drawthings_mcp.web.fetch import fetch_public

_logger = logging.getLogger(__name__)
_TIMEOUT = 15.0
_THUMBNAIL_TIMEOUT = 8.0
_MAX_DOCUMENT = 8 << 20
_MAX_THUMBNAIL = 4 << 20
_MAX_REQUESTS = 3
"""Pages that are asked for to fill one of ours."""
_AT_ONCE = 6
_OK, _REFUSED, _FAILED = 200, 400, 500


async def fetch_thumbnail(url: str) -> bytes:
    """A thumbnail from a public address; raises ``DrawThingsError``."""
    fetched = await fetch_public(url, max_bytes=_MAX_THUMBNAIL, timeout=_THUMBNAIL_TIMEOUT, accept=("image/",))
    return fetched.data


def choose_provider(settings: Settings) -> Provider:
    """Brave for those who have a key, else their SearXNG, else Openverse."""
    if key := settings.brave_api_key.get_secret_value():
        return Brave(key)
    return SearXNG(settings.searxng_url) if settings.searxng_url else Openverse()


class WebSearch:
    """Searches the web by one provider."""

    def __init__(self, provider: Provider, fetch: Callable[[str], Awaitable[bytes]] = fetch_thumbnail) -> None:
        self.provider = provider
        self._fetch = fetch

    async def answer(self, catalog: ImageCatalog, query: Query, arguments: SearchArguments, now: datetime) -> HitPage:
        """One page of hits, with their thumbnails; raises as ``search``."""
        found = await self.search(query.text, arguments.offset, arguments.limit)
        thumbnails = await self.fetch_thumbnails(found.images)
        build = partial(_build_hit, catalog, self.provider.name, now=now)
        hits = [
            await anyio.to_thread.run_sync(partial(build, image, thumbnail))
            for image, thumbnail in zip(found.images, thumbnails, strict=True)
        ]
        seen = arguments.offset + len(hits)
        total = seen if found.total is None else found.total
        notes = (*query.notes, *_list_notes(query, arguments, thumbnails))
        return HitPage(tuple(hits), total, found.total is not None, arguments.offset, notes=notes)

    async def search(self, text: str, offset: int, limit: int) -> WebAnswer:
        """Some of the pictures that a provider finds.

        Raises ``WebError`` when it cannot be reached, refuses, or answers something else, and ``InvalidInputError``
        without words.
        """
        if not text.strip():
            raise InvalidInputError("the web is searched by words; give some.", parameter="query")
        size = self.provider.page_size
        page, skipped = (offset // size + 1, offset % size) if size else (1, offset)
        found: dict[str, WebImage] = {}  # pages may overlap
        total: int | None = None
        for number in range(page, min(page + _MAX_REQUESTS, self.provider.last_page + 1)):
            answer = self.provider.parse(await self._ask(self.provider.build_request(text, number)))
            before = len(found)
            found.update({image.image: image for image in answer.images if image.image not in found})
            total = answer.total
            is_last = len(answer.images) < max(size, 1) or len(found) == before
            if is_last or len(found) >= skipped + limit:
                break
        return WebAnswer(tuple(found.values())[skipped : skipped + limit], total)

    async def fetch_thumbnails(self, images: tuple[WebImage, ...]) -> list[bytes | None]:
        """The thumbnails of some pictures; None for those that cannot be had."""
        thumbnails: list[bytes | None] = [None] * len(images)
        limiter = anyio.CapacityLimiter(_AT_ONCE)

        async def fetch(place: int, image: WebImage) -> None:
            async with limiter:
                thumbnails[place] = await self._fetch_one(image)

        async with anyio.create_task_group() as tasks:
            for place, image in enumerate(images):
                tasks.start_soon(fetch, place, image)
        return thumbnails

    async def _fetch_one(self, image: WebImage) -> bytes | None:
        try:
            data = await self._fetch(image.thumbnail)
            # What a server calls a picture need not be one.
            await anyio.to_thread.run_sync(check_picture, io.BytesIO(data), "The thumbnail")
        except DrawThingsError as error:
            _logger.info("no thumbnail of %s: %s", image.thumbnail, error)
            return None
        return data

    async def _ask(self, request: WebRequest) -> Any:
        name = self.provider.name
        try:
            with anyio.fail_after(_TIMEOUT):
                status, data = await _get(request)
        except TimeoutError as error:
            raise WebError(f"{name} did not answer within {_TIMEOUT:g} s; try again.") from error
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError) as error:
            raise WebError(
                f"{name} cannot be reached ({type(error).__name__}); check the connection and the address."
            ) from error
        if status != _OK:
            advice = self.provider.refusals.get(status) or _advise(status)
            raise WebError(Text("{name} answered {status}: {advice}", name=name, status=status, advice=say(advice)))
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise WebError(f"{name} answered something else than JSON; check its address.") from error


def _advise(status: int) -> str:
    """What to do about a status that the provider does not explain."""
    if status < _REFUSED:
        return "it leads elsewhere; give the address where it is."
    return "it refuses the request; check its address and settings." if status < _FAILED else "try again later."


async def _get(request: WebRequest) -> tuple[int, bytes]:
    headers = {
        "Accept": "application/json",
        "User-Agent": f"drawthings-mcp/{get_version('drawthings-mcp')}",
        **request.headers,
    }
    async with (
        httpx2.AsyncClient(timeout=None) as client,
        client.stream("GET", request.url, params=dict(request.parameters), headers=headers) as response,
    ):
        data = bytearray()
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > _MAX_DOCUMENT:
                raise WebError(f"The answer is larger than {_MAX_DOCUMENT >> 20} MB and was not read.")
        return response.status_code, bytes(data)


def _build_hit(catalog: ImageCatalog, provider: str, image: WebImage, thumbnail: bytes | None, now: datetime) -> Hit:
    return Hit(
        record=identify_origin(
            catalog, image.image, created=now, prompt=image.title, width=image.width, height=image.height
        ),
        metadata=ImageMetadata("", image.width, image.height),
        match="web",
        kind=f"{provider}: {label(image.source)}" if image.source else provider,
        place=image.image,
        source=thumbnail or b"",
        web=image,
    )


def _list_notes(query: Query, arguments: SearchArguments, thumbnails: list[bytes | None]) -> list[str]:
    notes = []
    if query.filters or query.since or query.until or query.excluded or arguments.like is not None:
        notes.append("On the web only words are searched for; filters and like were left out.")
    if missing := thumbnails.count(None):
        notes.append(f"{missing} of {len(thumbnails)} thumbnails could not be fetched.")
    return notes
