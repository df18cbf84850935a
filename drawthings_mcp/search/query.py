"""What somebody typed → what is looked for. Pure, and never refuses a text.

Owns the little language of queries: words, ``"exact phrases"``, ``-without``, ``key:value``. Knows no index.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.search.dates import parse_moment
from drawthings_mcp.search.words import split_words

Term: TypeAlias = tuple[str, ...]
"""Folded words that stand side by side; nearly always one."""

Match: TypeAlias = Literal[
    "exact", "words", "prefix", "fuzzy", "some words", "near-duplicate", "visual", "meaning", "recent", "web"
]
"""How a picture was found: by all words in a row; all words; their beginnings; with typing errors forgiven; most words;
showing the same as another; looking like another; its meaning; for no words at all, only by filters and date; on the
web."""

MAX_TERMS = 24
"""Words of one query that are looked for; more make no picture easier to find."""

SHAPES = ("square", "landscape", "portrait")

_SIZE = re.compile(r"(\d{1,5})\s*[x×*]\s*(\d{1,5})")
_SEED_DIGITS = 20
"""Of the largest number of 64 bits."""
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
    return _narrow(query, key, value, False, now)


def _add_token(query: Query, token: re.Match[str], typed: list[str], now: datetime) -> Query:
    key = (token["key"] or "").lower()
    value = token["quoted"] if token["quoted"] is not None else token["plain"]
    negated = token["minus"] is not None
    key = _ALIASES.get(key, key)
    if key in KEYS and value.strip():
        try:
            return _narrow(query, key, value, negated, now)
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


def _narrow(query: Query, key: str, value: str, negated: bool, now: datetime) -> Query:
    if key in _PARSERS:
        condition = Condition(key, _PARSERS[key](key, value), negated)
        return replace(query, conditions=(*query.conditions, condition))
    span = parse_moment(key, value, now)
    if (key == "since") != negated:
        return replace(query, since=span.start)
    return replace(query, until=span.end)


def _parse_names(key: str, value: str) -> tuple[str, ...]:
    names = tuple(part for part in value.split(",") if split_words(part))
    if not names:
        raise InvalidInputError(f"{key}: {value!r} contains no letter and no digit.")
    return names


def _parse_seed(key: str, value: str) -> tuple[str, ...]:
    if not (value.isascii() and value.isdigit() and len(value) <= _SEED_DIGITS):
        raise InvalidInputError(f"{key}: must be a whole number like 4294967295, got {value!r}.")
    return (str(int(value)),)


def _parse_sizes(key: str, value: str) -> tuple[str, ...]:
    return tuple(_parse_size(key, part.strip().lower()) for part in value.split(","))


def _parse_size(key: str, value: str) -> str:
    match = _SIZE.fullmatch(value)
    if match:
        return f"{int(match[1])}x{int(match[2])}"
    if value in SHAPES:
        return value
    raise InvalidInputError(f"{key}: must be like 1024x768 or {', '.join(SHAPES)}, got {value!r}.")


_PARSERS: Mapping[str, Callable[[str, str], tuple[str, ...]]] = {
    "model": _parse_names,
    "lora": _parse_names,
    "source": _parse_names,
    "tag": _parse_names,
    "size": _parse_sizes,
    "seed": _parse_seed,
}
KEYS = (*_PARSERS, "since", "until")
_ALIASES: Mapping[str, str] = {"after": "since", "before": "until", "loras": "lora", "models": "model", "tags": "tag"}
