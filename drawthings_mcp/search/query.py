"""What a search is asked for: its arguments, the language of queries, dates. Pure; a query's text is never refused.

The language has words, ``"exact phrases"``, ``-without``, ``this OR that`` and ``key:value``, where values may be
ranges: ``steps:<10``, ``size:>=1024``, ``cfg:4..7``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Phrase, Text
from drawthings_mcp.search.words import split_words
from drawthings_mcp.validation import shorten, suggest

if TYPE_CHECKING:
    from drawthings_mcp.tensors.pixels import ImageLike

Term: TypeAlias = tuple[str, ...]
"""Folded words that stand side by side; nearly always one."""
Match: TypeAlias = Literal[
    "exact", "words", "forms", "prefix", "fuzzy", "some words", "near-duplicate", "visual", "meaning", "recent", "web"
]
"""How a picture was found: by all words in a row; all words; forms of them; their beginnings; with typing errors
forgiven; most words; showing the same as another; looking like another; its meaning; for no words at all, only by
filters and date; on the web."""
MAX_TERMS = 24
"""Words of one query that are looked for; more make no picture easier to find."""
SHAPES = ("square", "landscape", "portrait")
_SIZE = re.compile(r"(\d{1,5})\s*[x×*]\s*(\d{1,5})")
_SEED_DIGITS = 20
"""Of the largest number of 64 bits."""
_TOKEN = re.compile(
    r"""
    (?P<minus>-)?
    (?:(?P<key>[^\W\d]+):)?
    (?: "(?P<quoted>[^"]*)"? | (?P<plain>[^\s"]+) )
    """,
    re.VERBOSE,
)
_PLAIN_SIGNS = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "：": ":", "−": "-", "≥": ">=", "≤": "<=", "\0": " "}
)
"""What keyboards and chat models write for the signs of the language."""
_OR = ("OR", "|", "||")
_ALIASES: Mapping[str, str] = {
    "after": "since",
    "before": "until",
    "loras": "lora",
    "models": "model",
    "tags": "tag",
    "folder": "path",
    "neg": "negative",
    "negative_prompt": "negative",
    "guidance": "cfg",
    "guidance_scale": "cfg",
    "cfg_scale": "cfg",
    "stars": "rating",
    "order": "sort",
}
SORTS = ("best", "newest", "oldest", "rating", "size")
"""The best matches first; by date; the best rated; the largest."""
_SORT_ALIASES: Mapping[str, str] = {"latest": "newest", "date": "newest", "largest": "size", "stars": "rating"}
_DUPLICATES = ("duplicate", "duplicates", "near-duplicate", "near-duplicates")
_NUMBER = r"(\d{1,6}(?:\.\d{1,6})?)"
_BOUNDS = re.compile(rf"(>=|<=|=|>|<)?\s*{_NUMBER}(?:\s*[x×*]\s*{_NUMBER})?(?:\.\.{_NUMBER})?")
RATINGS = (5, 4, 3, 2, 1)
SOURCES = ("all", "generated", "folders", "projects", "web")
WEB = "web"
MAX_LIMIT = 25
MAX_OFFSET = 10_000
_FILTERS = ("model", "lora", "size", "since", "until", "tag", "sort")
_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)
_CALENDAR = re.compile(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?")
_AGO = re.compile(r"(\d{1,4})\s*(min|h|d|w|m|y)[a-z]*(?: ago)?")
_UNITS: Mapping[str, timedelta] = {
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": _DAY,
    "w": 7 * _DAY,
    "m": 30 * _DAY,
    "y": 365 * _DAY,
}
_NAMES: Mapping[str, Callable[[datetime], Span]] = {
    "today": lambda midnight: Span(midnight, midnight + _DAY - _TICK),
    "yesterday": lambda midnight: Span(midnight - _DAY, midnight - _TICK),
    "this week": lambda midnight: _span_week(midnight),
    "last week": lambda midnight: _span_week(midnight - 7 * _DAY),
    "this month": lambda midnight: _span_month(midnight),
    "last month": lambda midnight: _span_month(midnight.replace(day=1) - _DAY),
    "this year": lambda midnight: _span_year(midnight),
    "last year": lambda midnight: _span_year(midnight.replace(year=midnight.year - 1, day=1)),
}
_TIMES: Mapping[str, str] = {
    **{name: name for name in _NAMES},
    **{"heute": "today", "aujourd'hui": "today", "aujourd’hui": "today", "gestern": "yesterday"},
    **dict.fromkeys(("diese woche", "dieser woche", "cette semaine"), "this week"),
    **dict.fromkeys(("letzte woche", "letzter woche", "la semaine dernière", "semaine dernière"), "last week"),
    **dict.fromkeys(("diesen monat", "diesem monat", "ce mois-ci"), "this month"),
    **dict.fromkeys(("letzten monat", "letztem monat", "le mois dernier", "mois dernier"), "last month"),
    **dict.fromkeys(("dieses jahr", "diesem jahr"), "this year"),
    **dict.fromkeys(("letztes jahr", "letztem jahr"), "last year"),
}
"""What people say for times in a sentence."""
_TIME = re.compile(rf"(?<![\w:-])(?P<time>{'|'.join(_TIMES)})(?:['’]s)?(?![\w:-])", re.IGNORECASE)


def name_rating(rating: int) -> str:
    """The tag of a rating, 1 to 5 stars."""
    return f"rating:{rating}"


@dataclass(frozen=True, slots=True)
class QueryFilter:
    """What a picture must have, or must not: one of the values, as typed, of a key such as ``model``.

    Values of ``size``, ``steps``, ``cfg`` and ``rating`` may be ranges; see ``parse_bounds``.
    """

    key: str
    values: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

    ``terms`` should be there; ranking tells how well they are. ``phrases`` must be there, word for word, one of each
    of ``choices`` too, and ``excluded`` must not. ``sort`` is one of ``SORTS``; ``duplicates``: only pictures that
    show the same as another one. Between ``since`` and ``until``, time zone aware; both ends belong to the range.
    ``text`` has the words as typed, for those who read sentences: embeddings, web search. ``notes`` say what was not
    understood.
    """

    terms: tuple[Term, ...] = ()
    phrases: tuple[Term, ...] = ()
    choices: tuple[tuple[Term, ...], ...] = ()
    excluded: tuple[Term, ...] = ()
    filters: tuple[QueryFilter, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    sort: str = "best"
    duplicates: bool = False
    text: str = ""
    notes: tuple[str, ...] = ()

    def list_limits(self) -> list[str]:
        """What narrows it besides words, as one types it."""
        limits = [f'"{" ".join(phrase)}"' for phrase in self.phrases]
        limits += [f"-{' '.join(term)}" for term in self.excluded]
        limits += [f"{'-' * one.negated}{one.key}:{','.join(one.values)}" for one in self.filters]
        dates = {"since": self.since, "until": self.until}
        limits += [f"{name}:{moment:%Y-%m-%d}" for name, moment in dates.items() if moment is not None]
        return [*limits, *(["is:duplicate"] if self.duplicates else [])]


def parse_query(text: str, now: datetime) -> Query:
    """The query that a text stands for; a key or a value that is not understood counts as words.

    ``now``, time zone aware, is what ``since:yesterday`` refers to.
    """
    query, text = _take_time(text.translate(_PLAIN_SIGNS), now)
    typed: list[str] = []
    joins, last = False, ""
    for token in _TOKEN.finditer(text):
        if token["plain"] in _OR and not token["key"] and last:
            joins = True
            continue
        before, query = query, _add_token(query, token, typed, now)
        grown = next((name for name in _JOINED if len(getattr(query, name)) > len(getattr(before, name))), "")
        if joins and grown:
            query, grown = _join(before, query, last, grown)
        joins, last = joins and not grown, grown or last
    return replace(query, terms=query.terms[:MAX_TERMS], text=" ".join(typed))


def _take_time(text: str, now: datetime) -> tuple[Query, str]:
    """The limits that words like ``from last week`` stand for, and the text without them; quoted they are words."""
    match = next((found for found in _TIME.finditer(text) if text[: found.start()].count('"') % 2 == 0), None)
    if match is None:
        return Query(), text
    name = match["time"].lower()
    span = parse_moment(_TIMES[name], now)
    note = Text(
        "{words} is read as since:{since} until:{until}; in quotes it is searched for as words.",
        words=name,
        since=f"{span.start:%Y-%m-%d}",
        until=f"{span.end:%Y-%m-%d}",
    )
    return Query(since=span.start, until=span.end, notes=(note,)), f"{text[: match.start()]} {text[match.end() :]}"


_JOINED = ("terms", "phrases", "filters")
"""What may stand on both sides of OR."""


def _join(before: Query, query: Query, last: str, grown: str) -> tuple[Query, str]:
    """The query with its two last parts as alternatives, and the field where they are then."""
    if grown == last == "filters":
        one, other = query.filters[-2:]
        if (one.key, one.negated) == (other.key, other.negated):
            merged = replace(one, values=(*one.values, *other.values))
            return replace(query, filters=(*query.filters[:-2], merged)), grown
    elif "filters" not in (last, grown):
        added: Term = getattr(query, grown)[-1]
        earlier = before.choices[-1] if last == "choices" else (getattr(before, last)[-1],)
        kept = before if last == "choices" else replace(before, **{last: getattr(before, last)[:-1]})
        rest = kept.choices[:-1] if last == "choices" else kept.choices
        return replace(kept, choices=(*rest, (*earlier, added))), "choices"
    return replace(query, notes=(*query.notes, "OR joins words, or values of one filter; it was left out.")), grown


def _add_token(query: Query, token: re.Match[str], typed: list[str], now: datetime) -> Query:
    key = (token["key"] or "").lower()
    value = token["quoted"] if token["quoted"] is not None else token["plain"]
    negated = token["minus"] is not None
    key = _ALIASES.get(key, key)
    if key in KEYS and value.strip():
        try:
            return _narrow(query, key, value, negated, now)
        except InvalidInputError as error:
            note = Text("{key}: {error} It was searched for as words.", key=Phrase(key), error=error)
            query = replace(query, notes=(*query.notes, note))
    words = tuple(split_words(f"{token['key'] or ''} {value}"))
    if not words:
        return query
    if negated:
        return replace(query, excluded=(*query.excluded, words))
    typed.append(value)
    if token["quoted"] is not None and not token["key"]:
        return replace(query, phrases=(*query.phrases, words))
    return replace(query, terms=(*query.terms, words))


def _narrow(query: Query, key: str, value: str, negated: bool, now: datetime) -> Query:
    if key in _PARSERS:
        condition = QueryFilter(key, _PARSERS[key](value), negated)
        return replace(query, filters=(*query.filters, condition))
    if key == "sort":
        return replace(query, sort=_parse_sort(value))
    if key == "is":
        return replace(query, duplicates=_parse_duplicate(value))
    span = parse_moment(value, now)
    if (key == "since") != negated:
        return replace(query, since=span.start)
    return replace(query, until=span.end)


def _parse_names(value: str) -> tuple[str, ...]:
    names = tuple(part for part in value.split(",") if split_words(part))
    if not names:
        raise InvalidInputError(f"{shorten(value)} contains no letter and no digit.", value=value)
    return names


def _parse_seed(value: str) -> tuple[str, ...]:
    if not (value.isascii() and value.isdigit() and len(value) <= _SEED_DIGITS):
        raise InvalidInputError(f"must be a whole number like 4294967295, got {shorten(value)}.", value=value)
    return (str(int(value)),)


def _parse_sort(value: str) -> str:
    sort = value.strip().lower()
    sort = _SORT_ALIASES.get(sort, sort)
    if sort not in SORTS:
        raise InvalidInputError(f"must be one of {', '.join(SORTS)}, got {shorten(value)}.", value=value)
    return sort


def _parse_duplicate(value: str) -> bool:
    if value.strip().lower() not in _DUPLICATES:
        raise InvalidInputError(f"must be {_DUPLICATES[0]}, got {shorten(value)}.", value=value)
    return True


def _parse_numbers(value: str) -> tuple[str, ...]:
    numbers = tuple(part.strip() for part in value.split(","))
    if not all(len(parse_bounds(number)) == 1 for number in numbers):
        raise InvalidInputError(f"must be a number or like >=4, <10, 4..7, got {shorten(value)}.", value=value)
    return numbers


Bounds: TypeAlias = tuple[float, float]
"""The least and the greatest number."""


@lru_cache
def parse_bounds(text: str) -> tuple[Bounds, ...]:
    """The range that ``7``, ``>=4``, ``<10`` or ``4..7`` stands for; two of them for two sides: ``>=1024x768``.

    Empty for what is no range.
    """
    match = _BOUNDS.fullmatch(text)
    if match is None or (match[4] and (match[1] or match[3])):
        return ()
    if match[4]:
        return ((float(match[2]), float(match[4])),)
    return tuple(_bound(match[1], float(number)) for number in (match[2], match[3]) if number)


def _bound(sign: str | None, number: float) -> Bounds:
    if sign in (">=", ">"):
        return (number if sign == ">=" else math.nextafter(number, math.inf)), math.inf
    if sign in ("<=", "<"):
        return -math.inf, (number if sign == "<=" else math.nextafter(number, -math.inf))
    return number, number


def is_within(text: str, *numbers: float) -> bool:
    """Whether numbers are in a range; of width and height, the greater one when the range is of one number."""
    bounds = parse_bounds(text)
    if len(bounds) == 1:
        numbers = (max(numbers),)
    return bool(bounds) and all(least <= number <= most for (least, most), number in zip(bounds, numbers, strict=True))


def _parse_sizes(value: str) -> tuple[str, ...]:
    return tuple(_parse_size(part.strip().lower()) for part in value.split(","))


def _parse_size(value: str) -> str:
    match = _SIZE.fullmatch(value)
    if match:
        return f"{int(match[1])}x{int(match[2])}"
    if value in SHAPES or parse_bounds(value):
        return value
    raise InvalidInputError(f"must be like 1024x768, >=1024 or {', '.join(SHAPES)}, got {shorten(value)}.", value=value)


_PARSERS: Mapping[str, Callable[[str], tuple[str, ...]]] = {
    "model": _parse_names,
    "lora": _parse_names,
    "source": _parse_names,
    "tag": _parse_names,
    "size": _parse_sizes,
    "seed": _parse_seed,
    "path": _parse_names,
    "negative": _parse_names,
    "steps": _parse_numbers,
    "cfg": _parse_numbers,
    "rating": _parse_numbers,
}


KEYS = (*_PARSERS, "since", "until", "sort", "is")


@dataclass(frozen=True, slots=True)
class SearchArguments:
    """What to look for.

    ``query`` has words, ``"exact phrases"``, ``-without``, and filters as ``model:flux``. ``source`` is ``all``,
    ``generated``, ``folders``, ``projects`` or ``web``. Hits should look like ``like``; colours among the words of the
    query say what to change. ``sort`` is one of ``SORTS``. ``since`` and ``until`` are as ``2026-11-20``, ``2026-11``,
    ``yesterday``, ``7d``.
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
    sort: str = "best"
    offset: int = 0
    limit: int = 12


def build_query(arguments: SearchArguments, now: datetime) -> Query:
    """The query with all filters; raises ``InvalidInputError`` for an argument that cannot be used."""
    _check(arguments)
    query = parse_query(arguments.query, now)
    if arguments.query.strip() and query == Query():
        query = Query(notes=("The query has no word; these are the newest.",))
    given = {name: getattr(arguments, name).strip() for name in _FILTERS}
    given["sort"] = arguments.sort if arguments.sort != SORTS[0] else ""
    given["source"] = arguments.source if arguments.source not in ("all", WEB) else ""
    for name, value in given.items():
        try:
            query = _narrow(query, name, value, False, now) if value else query
        except InvalidInputError as error:
            error.about(name)
            raise
    if query.since and query.until and query.since > query.until:
        return replace(
            query, notes=(*query.notes, Text("{since} is later than {until}, so that there can be no picture."))
        )
    return query


def _check(arguments: SearchArguments) -> None:
    if arguments.source not in SOURCES:
        hint = suggest(arguments.source, SOURCES)
        raise InvalidInputError(
            f"must be one of {', '.join(SOURCES)}, got {arguments.source!r}.{hint}",
            parameter="source",
            value=arguments.source,
        )
    bounds: Mapping[str, tuple[int, int]] = {"limit": (1, MAX_LIMIT), "offset": (0, MAX_OFFSET)}
    for name, (least, most) in bounds.items():
        value = getattr(arguments, name)
        if not least <= value <= most:
            raise InvalidInputError(f"must be from {least} to {most}, got {value}.", parameter=name, value=value)


class Span(NamedTuple):
    """First and last moment, time zone aware."""

    start: datetime
    end: datetime


def parse_moment(value: str, now: datetime) -> Span:
    """The span that a date stands for: ``2026`` is a year, ``2026-11-20`` a day, ``7d`` the moment seven days ago.

    Dates without a zone are in that of ``now``. Raises ``InvalidInputError`` for what is no date.
    """
    text = value.strip().lower().replace("_", " ")
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with suppress(ValueError, OverflowError):
        if text in _TIMES:
            return _NAMES[_TIMES[text]](midnight)
        return _parse_ago(text, now) or _parse_calendar(text, midnight) or _parse_iso(text, now)
    raise InvalidInputError(
        f"must be a date like 2026-11-20, 2026-11, today, yesterday or 7d, got {shorten(value)}.", value=value
    )


def _parse_ago(text: str, now: datetime) -> Span | None:
    match = _AGO.fullmatch(text)
    if not match:
        return None
    moment = now - int(match[1]) * _UNITS[match[2]]
    return Span(moment, moment)


def _parse_calendar(text: str, midnight: datetime) -> Span | None:
    match = _CALENDAR.fullmatch(text)
    if not match:
        return None
    month, day = (int(part) if part else None for part in match.groups()[1:])
    start = midnight.replace(year=int(match[1]), month=1 if month is None else month, day=1 if day is None else day)
    if day:
        return Span(start, start + _DAY - _TICK)
    return _span_month(start) if month else _span_year(start)


def _span_week(day: datetime) -> Span:
    monday = day - day.weekday() * _DAY
    return Span(monday, monday + 7 * _DAY - _TICK)


def _span_month(day: datetime) -> Span:
    first = day.replace(day=1)
    return Span(first, (first + 32 * _DAY).replace(day=1) - _TICK)


def _span_year(day: datetime) -> Span:
    first = day.replace(month=1, day=1)
    return Span(first, first.replace(year=first.year + 1) - _TICK)


def _parse_iso(text: str, now: datetime) -> Span:
    moment = datetime.fromisoformat(text.upper())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=now.tzinfo)
    return Span(moment, moment)
