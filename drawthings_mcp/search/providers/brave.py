"""Brave's image search, for people who have a key (formats §9.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from drawthings_mcp.faces import Step, Text
from drawthings_mcp.search.providers.provider import (
    Provider,
    WebAnswer,
    WebImage,
    WebRequest,
    read_entries,
    read_number,
    read_text,
    read_url,
)

BASE = "https://api.search.brave.com"
_MAX_CHARACTERS, _MAX_WORDS, _COUNT = 400, 50, 200


@dataclass(frozen=True, slots=True)
class Brave(Provider):
    """The provider; its answers cannot be paged, so that all that there are come at once."""

    key: str = field(repr=False)
    base: str = BASE
    name: ClassVar[str] = "Brave"
    page_size: ClassVar[int] = _COUNT
    last_page: ClassVar[int] = 1
    refusals: ClassVar[Mapping[int, str]] = {
        401: Text("check its key or {step}.", step=Step("set", setting="brave_api_key")),
        403: Text("its plan may not include image search: {step}.", step=Step("set", setting="brave_api_key")),
        422: Text("check the query, or {step}.", step=Step("set", setting="brave_api_key")),
        429: "wait a second, or until the plan's month is over; without a key, Openverse is searched.",
    }

    def build_request(self, text: str, page: int) -> WebRequest:
        """The one request."""
        query = " ".join(text.split()[:_MAX_WORDS])[:_MAX_CHARACTERS]
        return WebRequest(
            f"{self.base}/res/v1/images/search",
            {"q": query, "count": str(_COUNT), "safesearch": "strict"},
            {"X-Subscription-Token": self.key},
        )

    def parse(self, document: Any) -> WebAnswer:
        """The pictures of a document."""
        images = tuple(image for entry in read_entries(document, "results") if (image := _parse_entry(entry)))
        return WebAnswer(images, len(images))


def _parse_entry(entry: Any) -> WebImage | None:
    thumbnail = read_url(entry, "thumbnail", "src")
    image = read_url(entry, "properties", "url") or thumbnail
    if not image:
        return None
    return WebImage(
        title=read_text(entry, "title"),
        image=image,
        thumbnail=thumbnail or image,
        page=read_url(entry, "url"),
        source=read_text(entry, "source"),
        width=read_number(entry, "properties", "width"),
        height=read_number(entry, "properties", "height"),
    )
