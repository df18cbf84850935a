"""Openverse: openly licensed pictures, without a key (formats §9.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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

BASE = "https://api.openverse.org"
_MAX_CHARACTERS, _PAGE_SIZE, _LAST_PAGE = 200, 20, 20
"""What is served to those who have not registered."""
_PUBLIC_DOMAIN = {"cc0": "CC0", "pdm": "Public Domain Mark"}


@dataclass(frozen=True, slots=True)
class Openverse(Provider):
    """The provider that everybody has."""

    base: str = BASE
    name: ClassVar[str] = "Openverse"
    page_size: ClassVar[int] = _PAGE_SIZE
    last_page: ClassVar[int] = _LAST_PAGE
    refusals: ClassVar[Mapping[int, str]] = {
        401: "ask for an earlier page, this one is for registered programs.",
        429: Text(
            "wait a minute, this address has used up its limit; or {brave}, or {searxng}.",
            brave=Step("set", setting="brave_api_key", value="a key"),
            searxng=Step("set", setting="searxng_url", value="a server of yours"),
        ),
    }

    def build_request(self, text: str, page: int) -> WebRequest:
        """The request for a page."""
        parameters = {"q": text[:_MAX_CHARACTERS], "page": str(page), "page_size": str(_PAGE_SIZE)}
        return WebRequest(f"{self.base}/v1/images/", parameters)

    def parse(self, document: Any) -> WebAnswer:
        """The pictures of a document."""
        images = tuple(image for entry in read_entries(document, "results") if (image := _parse_entry(entry)))
        return WebAnswer(images, read_number(document, "result_count"))


def _parse_entry(entry: Any) -> WebImage | None:
    image = read_url(entry, "url")
    if not image:
        return None
    return WebImage(
        title=read_text(entry, "title"),
        image=image,
        thumbnail=read_url(entry, "thumbnail") or image,
        page=read_url(entry, "foreign_landing_url"),
        source=read_text(entry, "source") or read_text(entry, "provider"),
        width=read_number(entry, "width"),
        height=read_number(entry, "height"),
        licence=_name_licence(read_text(entry, "license"), read_text(entry, "license_version")),
        attribution=read_text(entry, "attribution") or read_text(entry, "creator"),
    )


def _name_licence(licence: str, version: str) -> str:
    """``by-sa`` and ``4.0`` → ``CC BY-SA 4.0``."""
    if not licence:
        return ""
    return f"{_PUBLIC_DOMAIN.get(licence, f'CC {licence.upper()}')} {version}".strip()
