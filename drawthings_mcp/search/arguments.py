"""What a search is asked for and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.search.query import Match, Query, narrow, parse_query
from drawthings_mcp.validation import suggest

if TYPE_CHECKING:
    from drawthings_mcp.tensors.pixels import ImageLike

SOURCES = ("all", "generated", "folders", "projects", "web")
WEB = "web"
MAX_LIMIT = 25
MAX_OFFSET = 10_000
_FILTERS = ("model", "lora", "size", "since", "until", "tag")


@dataclass(frozen=True, slots=True)
class SearchArguments:
    """What to look for (contract §5).

    Attributes
    ----------
    query
        Words, ``"exact phrases"``, ``-without``, and filters as ``model:flux``.
    source
        ``all``, ``generated``, ``folders``, ``projects`` or ``web``.
    like
        A picture that the hits should look like; colours among the words of the query say what to change.
    since, until
        ``2026-11-20``, ``2026-11``, ``yesterday``, ``7d``.
    """

    query: str = ""
    source: str = "all"
    like: ImageLike | None = None
    model: str = ""
    lora: str = ""
    size: str = ""
    since: str = ""
    until: str = ""
    tag: str = ""
    offset: int = 0
    limit: int = 12


@dataclass(frozen=True, slots=True)
class SearchRow:
    """One picture that was found.

    Attributes
    ----------
    id
        ``v3`` for pictures of our own, ``p2`` for others; the same picture has the same id in every search.
    loras
        Name and weight.
    match
        How it was found.
    source
        Where: ``generated``, ``folders``, ``comfyui``, ``lm-studio``, ``projects``, or the provider of a web search.
    created
        Time zone aware; None when it is not known.
    place
        Its path, ``project://<file>#<key>``, or the URL of the picture on the web.
    path
        Its file, when it has one of its own.
    title, page, licence, attribution
        Of pictures on the web, as far as the provider tells.
    thumbnail
        The bytes of a small picture, when the full one is not at hand.
    """

    id: str
    prompt: str
    width: int
    height: int
    match: Match
    source: str
    place: str
    model: str = ""
    loras: tuple[tuple[str, float | None], ...] = ()
    seed: int | None = None
    created: datetime | None = None
    path: Path | None = None
    title: str = ""
    page: str = ""
    licence: str = ""
    attribution: str = ""
    thumbnail: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page of hits.

    Attributes
    ----------
    total
        How many there are, or how many at least.
    is_exact
        Whether the total is the whole number.
    pending
        Files that are not in the index yet; they may be hits as well.
    notes
        What the reader should know, one sentence each.
    """

    rows: tuple[SearchRow, ...]
    total: int
    is_exact: bool
    offset: int
    pending: int = 0
    notes: tuple[str, ...] = ()


def build_query(arguments: SearchArguments, now: datetime) -> Query:
    """The query with all filters.

    Raises
    ------
    InvalidInputError
        An argument cannot be used; says what can.
    """
    _check(arguments)
    query = parse_query(arguments.query, now)
    if arguments.query.strip() and query == Query():
        query = Query(notes=("The query has no letter and no digit; these are the newest.",))
    for name in _FILTERS:
        if value := getattr(arguments, name).strip():
            query = narrow(query, name, value, now)
    if arguments.source not in ("all", WEB):
        query = narrow(query, "source", arguments.source, now)
    if query.since and query.until and query.since > query.until:
        return replace(query, notes=(*query.notes, "since is later than until, so that there can be no picture."))
    return query


def _check(arguments: SearchArguments) -> None:
    if arguments.source not in SOURCES:
        hint = suggest(arguments.source, SOURCES)
        raise InvalidInputError(f"source: must be one of {', '.join(SOURCES)}, got {arguments.source!r}.{hint}")
    bounds: Mapping[str, tuple[int, int]] = {"limit": (1, MAX_LIMIT), "offset": (0, MAX_OFFSET)}
    for name, (least, most) in bounds.items():
        value = getattr(arguments, name)
        if not least <= value <= most:
            raise InvalidInputError(f"{name}: must be from {least} to {most}, got {value}.")
