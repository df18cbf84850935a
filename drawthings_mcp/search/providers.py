"""Providers of pictures on the web: requests out, documents in, no sockets (formats §9)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from drawthings_mcp.faces import Step, Text

_PUBLIC_DOMAIN = {"cc0": "CC0", "pdm": "Public Domain Mark"}
_RESOLUTION = re.compile(r"(\d{1,5})\s*[x×]\s*(\d{1,5})")


@dataclass(frozen=True, slots=True)
class WebImage:
    """A picture on the web, as far as its provider tells (formats §9.4).

    ``image`` and ``thumbnail`` are URLs; the thumbnail may be the image. ``page`` is where it is shown, ``source`` who
    shows it: a domain, a collection. ``licence`` is as in ``CC BY-SA 4.0``; empty when it is not known, which is not
    leave to use it. ``attribution`` is who made it, ready to be printed.
    """

    title: str
    image: str
    thumbnail: str
    page: str = ""
    source: str = ""
    width: int = 0
    height: int = 0
    licence: str = ""
    attribution: str = ""


@dataclass(frozen=True, slots=True)
class WebRequest:
    """A GET request for a JSON document."""

    url: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # they may carry a key


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """What a document contains; ``total`` counts all that there are and is None when the provider does not tell."""

    images: tuple[WebImage, ...]
    total: int | None = None


class Provider(Protocol):
    """One way to find pictures on the web, by the ``name`` that people know.

    An answer has ``page_size`` pictures, 0 when the provider decides; one can turn the pages up to ``last_page``.
    ``refusals`` say in one sentence what to do about an HTTP status.
    """

    name: ClassVar[str]
    page_size: ClassVar[int]
    last_page: ClassVar[int]
    refusals: ClassVar[Mapping[int, str]]

    def build_request(self, text: str, page: int) -> WebRequest:
        """The request for a page, counted from 1."""

    def parse(self, document: Any) -> WebAnswer:
        """The pictures of a document; entries that lack a URL are left out."""


def _read_text(entry: Any, *path: str) -> str:
    """A text in nested objects; empty when there is none."""
    for key in path:
        entry = entry.get(key) if isinstance(entry, Mapping) else None
    return entry.strip() if isinstance(entry, str) else ""


def _read_url(entry: Any, *path: str) -> str:
    """An address of the web in nested objects; empty when there is none. It may leave out its scheme."""
    url = _read_text(entry, *path)
    url = f"https:{url}" if url.startswith("//") else url
    return url if url.lower().startswith(("http://", "https://")) else ""


def _read_number(entry: Any, *path: str) -> int:
    """A whole number in nested objects; 0 when there is none."""
    for key in path:
        entry = entry.get(key) if isinstance(entry, Mapping) else None
    is_number = isinstance(entry, int | float) and not isinstance(entry, bool) and math.isfinite(entry)
    return max(0, int(entry)) if is_number and entry is not None else 0


def _list_images(document: Any, read: Callable[[Any], WebImage]) -> tuple[WebImage, ...]:
    """The results of a document that have a URL; none when it has no list of them."""
    entries = document.get("results") if isinstance(document, Mapping) else None
    return tuple(image for image in map(read, entries if isinstance(entries, list) else ()) if image.image)


@dataclass(frozen=True, slots=True)
class Brave(Provider):
    """Brave, for people who have a key (formats §9.1); its answers cannot be paged, so that all come at once."""

    key: str = field(repr=False)
    base: str = "https://api.search.brave.com"
    name: ClassVar[str] = "Brave"
    page_size: ClassVar[int] = 200
    last_page: ClassVar[int] = 1
    refusals: ClassVar[Mapping[int, str]] = {
        401: Text("check its key or {step}.", step=Step("set", setting="brave_api_key")),
        403: Text("its plan may not include image search: {step}.", step=Step("set", setting="brave_api_key")),
        422: Text("check the query, or {step}.", step=Step("set", setting="brave_api_key")),
        429: "wait a second, or until the plan's month is over; without a key, Openverse is searched.",
    }

    def build_request(self, text: str, page: int) -> WebRequest:
        """The one request, of at most 400 characters and 50 words."""
        query = " ".join(text.split()[:50])[:400]
        return WebRequest(
            f"{self.base}/res/v1/images/search",
            {"q": query, "count": str(self.page_size), "safesearch": "strict"},
            {"X-Subscription-Token": self.key},
        )

    def parse(self, document: Any) -> WebAnswer:
        """The pictures of a document."""
        images = _list_images(document, _read_brave)
        return WebAnswer(images, len(images))


def _read_brave(entry: Any) -> WebImage:
    thumbnail = _read_url(entry, "thumbnail", "src")
    image = _read_url(entry, "properties", "url") or thumbnail
    return WebImage(
        title=_read_text(entry, "title"),
        image=image,
        thumbnail=thumbnail or image,
        page=_read_url(entry, "url"),
        source=_read_text(entry, "source"),
        width=_read_number(entry, "properties", "width"),
        height=_read_number(entry, "properties", "height"),
    )


@dataclass(frozen=True, slots=True)
class Openverse(Provider):
    """Openverse: openly licensed pictures, without a key (formats §9.3)."""

    base: str = "https://api.openverse.org"
    name: ClassVar[str] = "Openverse"
    # What is served to those who have not registered.
    page_size: ClassVar[int] = 20
    last_page: ClassVar[int] = 20
    refusals: ClassVar[Mapping[int, str]] = {
        401: "ask for an earlier page, this one is for registered programs.",
        429: Text(
            "wait a minute, this address has used up its limit; or {brave}, or {searxng}.",
            brave=Step("set", setting="brave_api_key", value="a key"),
            searxng=Step("set", setting="searxng_url", value="a server of yours"),
        ),
    }

    def build_request(self, text: str, page: int) -> WebRequest:
        """The request for a page, of at most 200 characters."""
        parameters = {"q": text[:200], "page": str(page), "page_size": str(self.page_size)}
        return WebRequest(f"{self.base}/v1/images/", parameters)

    def parse(self, document: Any) -> WebAnswer:
        """The pictures of a document."""
        return WebAnswer(_list_images(document, _read_openverse), _read_number(document, "result_count"))


def _read_openverse(entry: Any) -> WebImage:
    image = _read_url(entry, "url")
    return WebImage(
        title=_read_text(entry, "title"),
        image=image,
        thumbnail=_read_url(entry, "thumbnail") or image,
        page=_read_url(entry, "foreign_landing_url"),
        source=_read_text(entry, "source") or _read_text(entry, "provider"),
        width=_read_number(entry, "width"),
        height=_read_number(entry, "height"),
        licence=_name_licence(_read_text(entry, "license"), _read_text(entry, "license_version")),
        attribution=_read_text(entry, "attribution") or _read_text(entry, "creator"),
    )


def _name_licence(licence: str, version: str) -> str:
    """``by-sa`` and ``4.0`` → ``CC BY-SA 4.0``."""
    return f"{_PUBLIC_DOMAIN.get(licence, f'CC {licence.upper()}')} {version}".strip() if licence else ""


@dataclass(frozen=True, slots=True)
class SearXNG(Provider):
    """A SearXNG server of one's own (formats §9.2); how many pictures make a page is the server's choice."""

    base: str
    name: ClassVar[str] = "SearXNG"
    page_size: ClassVar[int] = 0
    last_page: ClassVar[int] = 10
    refusals: ClassVar[Mapping[int, str]] = {
        403: "add json to search.formats in the server's settings.yml, it answers in HTML only.",
        429: "the server's limiter refuses programs: allow this address there, or wait.",
    }

    def build_request(self, text: str, page: int) -> WebRequest:
        """The request for a page."""
        parameters = {"q": text, "categories": "images", "format": "json", "safesearch": "1", "pageno": str(page)}
        return WebRequest(f"{self.base}/search", parameters)

    def parse(self, document: Any) -> WebAnswer:
        """The pictures of a document."""
        return WebAnswer(_list_images(document, _read_searxng))


def _read_searxng(entry: Any) -> WebImage:
    image = _read_url(entry, "img_src")
    size = _RESOLUTION.search(_read_text(entry, "resolution"))
    return WebImage(
        title=_read_text(entry, "title"),
        image=image,
        thumbnail=_read_url(entry, "thumbnail_src") or _read_url(entry, "thumbnail") or image,
        page=_read_url(entry, "url"),
        source=_read_text(entry, "source") or _read_text(entry, "engine"),
        width=int(size[1]) if size else 0,
        height=int(size[2]) if size else 0,
        attribution=_read_text(entry, "author"),
    )
