"""A SearXNG server of one's own (formats §9.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from drawthings_mcp.search.providers.provider import (
    Provider,
    WebAnswer,
    WebImage,
    WebRequest,
    read_entries,
    read_text,
    read_url,
)

_RESOLUTION = re.compile(r"(\d{1,5})\s*[x×]\s*(\d{1,5})")


@dataclass(frozen=True, slots=True)
class SearXNG(Provider):
    """The provider; how many pictures make a page is the server's choice."""

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
        return WebAnswer(tuple(image for entry in read_entries(document, "results") if (image := _parse_entry(entry))))


def _parse_entry(entry: Any) -> WebImage | None:
    image = read_url(entry, "img_src")
    if not image:
        return None
    thumbnail = read_url(entry, "thumbnail_src") or read_url(entry, "thumbnail") or image
    size = _RESOLUTION.search(read_text(entry, "resolution"))
    return WebImage(
        title=read_text(entry, "title"),
        image=image,
        thumbnail=thumbnail,
        page=read_url(entry, "url"),
        source=read_text(entry, "source") or read_text(entry, "engine"),
        width=int(size[1]) if size else 0,
        height=int(size[2]) if size else 0,
        attribution=read_text(entry, "author"),
    )
