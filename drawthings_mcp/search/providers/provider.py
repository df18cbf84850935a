"""What a provider of pictures on the web is: requests out, documents in, no sockets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class WebImage:
    """A picture on the web, as far as its provider tells (formats §9.4).

    Attributes
    ----------
    image, thumbnail
        URLs; the thumbnail may be the image.
    page
        Where it is shown.
    source
        Who shows it: a domain, a collection.
    licence
        As in ``CC BY-SA 4.0``; empty when it is not known, which is not leave to use it.
    attribution
        Who made it, ready to be printed.
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
    """What a document contains.

    Attributes
    ----------
    total
        How many pictures there are; None when the provider does not tell.
    """

    images: tuple[WebImage, ...]
    total: int | None = None


class Provider(Protocol):
    """One way to find pictures on the web.

    Attributes
    ----------
    name
        As people know it.
    page_size
        Pictures of one answer; 0 when the provider decides.
    last_page
        How far one can turn the pages.
    refusals
        HTTP status → what to do about it, in one sentence.
    """

    name: ClassVar[str]
    page_size: ClassVar[int]
    last_page: ClassVar[int]
    refusals: ClassVar[Mapping[int, str]]

    def build_request(self, text: str, page: int) -> WebRequest:
        """The request for a page, counted from 1."""

    def parse(self, document: Any) -> WebAnswer:
        """The pictures of a document; entries that lack a URL are left out."""


def read_text(entry: Any, *path: str) -> str:
    """A text in nested objects; empty when there is none."""
    for key in path:
        entry = entry.get(key) if isinstance(entry, Mapping) else None
    return entry.strip() if isinstance(entry, str) else ""


def read_url(entry: Any, *path: str) -> str:
    """An address of the web in nested objects; empty when there is none. It may leave out its scheme."""
    url = read_text(entry, *path)
    url = f"https:{url}" if url.startswith("//") else url
    return url if url.lower().startswith(("http://", "https://")) else ""


def read_number(entry: Any, *path: str) -> int:
    """A whole number in nested objects; 0 when there is none."""
    for key in path:
        entry = entry.get(key) if isinstance(entry, Mapping) else None
    is_number = isinstance(entry, int | float) and not isinstance(entry, bool) and math.isfinite(entry)
    return max(0, int(entry)) if is_number and entry is not None else 0


def read_entries(document: Any, key: str) -> list[Any]:
    """The list of a document; empty when there is none."""
    entries = document.get(key) if isinstance(document, Mapping) else None
    return entries if isinstance(entries, list) else []
