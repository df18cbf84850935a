"""What somebody typed → what is looked for. Pure, and never refuses a text.

Owns the little language of queries: words, ``"exact phrases"``, ``-without``, ``key:value``. Knows no index.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.search.dates import parse_moment
from drawthings_mcp.search.words import split_words

Term: TypeAlias = tuple[str, ...]
"""Folded words that stand side by side; nearly always one."""

MAX_TERMS = 24
"""Words of one query that are looked for; more make no picture easier to find."""

SOURCES = ("generated", "folders", "projects")
SHAPES = ("square", "landscape", "portrait")

_SIZE = re.compile(r"(\d{1,5})\s*[x×*]\s*(\d{1,5})", re.IGNORECASE)
_TOKEN = re.compile(
    r"""
    (?P<minus>-)?
    (?:(?P<key>[^\W\d_]+):)?
    (?: "(?P<quoted>[^"]*)"? | (?P<plain>[^\s"]+) )
    """,
    re.VERBOSE,
)
_PLAIN_SIGNS = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "：": ":", "−": "-", "\0": " "})
"""What keyboards and chat models write for the signs of the language."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a picture must have, or must not.

    Attributes
    ----------
    key
        ``model``, ``lora``, ``size``, ``source``, ``tag`` or ``seed``.
    values
        As typed; one of them is enough.
    """

    key: str
    values: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

    Attributes
    ----------
    terms
        What should be there; ranking tells how well it is.
    phrases
        What must be there, word for word.
    excluded
        What must not be there.
    since, until
        Time zone aware; both ends belong to the range.
    text
        The words as typed, for those who read sentences: embeddings, web search.
    notes
        What was not understood, one sentence each.
    """

    terms: tuple[Term, ...] = ()
    phrases: tuple[Term, ...] = ()
    excluded: tuple[Term, ...] = ()
    conditions: tuple[Condition, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    notes: tuple[str, ...] = ()


def parse_query(text: str, now: datetime) -> Query:
    """The query that a text stands for; a key or a value that is not understood counts as words.

    Parameters
    ----------
    now
        Time zone aware; what ``since:yesterday`` refers to.
    """
    query = Query()
    typed: list[str] = []
    for token in _TOKEN.finditer(text.translate(_PLAIN_SIGNS)):
        query = _add_token(query, token, typed, now)
    return replace(query, terms=query.terms[:MAX_TERMS], text=" ".join(typed))


def narrow(query: Query, key: str, value: str, now: datetime) -> Query:
    """A query with one more condition, given as an argument of its own.

    Raises
    ------
    InvalidInputError
        The value cannot be used; says what can.
    """
    return _READERS[key](query, key, value, False, now)


def _add_token(query: Query, token: re.Match[str], typed: list[str], now: datetime) -> Query:
    key = (token["key"] or "").lower()
    value = token["quoted"] if token["quoted"] is not None else token["plain"]
    negated = token["minus"] is not None
    key = _ALIASES.get(key, key)
    if key in _READERS and value.strip():
        try:
            return _READERS[key](query, key, value, negated, now)
        except InvalidInputError as error:
            query = replace(query, notes=(*query.notes, f"{error} It was searched for as words."))
    words = tuple(split_words(f"{token['key'] or ''} {value}"))
    if not words:
        return query
    if negated:
        return replace(query, excluded=(*query.excluded, words))
    typed.append(value)
    if token["quoted"] is not None and not token["key"]:
        return replace(query, phrases=(*query.phrases, words))
    return replace(query, terms=(*query.terms, words))


_Reader: TypeAlias = Callable[[Query, str, str, bool, datetime], Query]


def _read_names(query: Query, key: str, value: str, negated: bool, now: datetime) -> Query:
    values = tuple(part for part in value.split(",") if split_words(part))
    if not values:
        raise InvalidInputError(f"{key}: {value!r} contains no letter and no digit.")
    return _add_condition(query, Condition(key, values, negated))


def _read_seed(query: Query, key: str, value: str, negated: bool, now: datetime) -> Query:
    if not (value.isascii() and value.isdigit() and len(value) <= 20):
        raise InvalidInputError(f"{key}: must be a whole number like 4294967295, got {value!r}.")
    return _add_condition(query, Condition(key, (str(int(value)),), negated))


def _read_size(query: Query, key: str, value: str, negated: bool, now: datetime) -> Query:
    return _add_condition(query, Condition(key, tuple(_parse_size(part) for part in value.split(",")), negated))


def _parse_size(value: str) -> str:
    match = _SIZE.fullmatch(value.strip())
    if match:
        return f"{int(match[1])}x{int(match[2])}"
    if value.strip().lower() in SHAPES:
        return value.strip().lower()
    raise InvalidInputError(f"size: must be like 1024x768 or {', '.join(SHAPES)}, got {value!r}.")


def _read_since(query: Query, key: str, value: str, negated: bool, now: datetime) -> Query:
    if negated:
        return _read_until(query, key, value, False, now)
    return replace(query, since=parse_moment(key, value, now).start)


def _read_until(query: Query, key: str, value: str, negated: bool, now: datetime) -> Query:
    if negated:
        return _read_since(query, key, value, False, now)
    return replace(query, until=parse_moment(key, value, now).end)


def _add_condition(query: Query, condition: Condition) -> Query:
    return replace(query, conditions=(*query.conditions, condition))


_READERS: Mapping[str, _Reader] = {
    "model": _read_names,
    "lora": _read_names,
    "source": _read_names,
    "tag": _read_names,
    "size": _read_size,
    "seed": _read_seed,
    "since": _read_since,
    "until": _read_until,
}
KEYS = tuple(_READERS)
_ALIASES: Mapping[str, str] = {"after": "since", "before": "until", "loras": "lora", "models": "model", "tags": "tag"}


def list_required(query: Query) -> Iterator[Term]:
    """Everything that ranking looks at, as it was typed: phrases first."""
    yield from query.phrases
    yield from query.terms
