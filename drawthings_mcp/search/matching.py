"""A query → the pictures that match it, best tier first, newest first within a tier.

The tiers: exact phrase, all words, beginnings of words, typing errors forgiven; when nothing had them all, all but one;
when nothing had those either, the rarest words, which tell most. Each tier is one look-up in the index in order of
time, begun only when those before it did not fill the page, so that a search costs what its page costs and not what a
million pictures cost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from drawthings_mcp.search.pictures import SLOTS, number_of
from drawthings_mcp.search.query import Match, Query, QueryFilter, Term
from drawthings_mcp.search.words import (
    EVERY,
    SOURCE_GROUPS,
    count_pictures,
    facet,
    fold_name,
    list_completions,
    list_corrections,
)

MAX_COUNTED, _MIN_COUNTED = 1000, 50
"""Matches that are counted; beyond, a search says that there are at least so many."""
_COUNTING = 50_000_000
"""Matches to count times files known: counting takes the same time whatever the size of the collection."""
_MAX_DEAD = 2000
"""Pictures that are gone after which no more are asked for; the next run of indexing forgets them."""
_MAX_NAMES = 200
"""Models that one word of a filter stands for."""
_MAX_DROPPED = 8
"""Words of a query up to which each is left out in turn."""
_MAX_TOGETHER = 5
"""Rarest words of a query that are looked for together; more are together nowhere."""
_ARTICLES = ("a", "an", "the", "of", "in", "on", "at", "with", "and", "or", "for", "to", "by", "from", "is", "are")
FILLERS = frozenset((*_ARTICLES, "my", "that", "this", "picture", "pictures", "image", "images", "photo"))
"""Words that say nothing about a picture when there are others."""
_FIRST, _LAST = -(1 << 63), (1 << 63) - 1


class MatchedPicture(NamedTuple):
    """A picture that was found."""

    picture: int
    match: Match


@dataclass(frozen=True, slots=True)
class Matches:
    """The matches that were asked for, and how many there are; see ``hits.HitPage``."""

    page: tuple[MatchedPicture, ...]
    total: int
    is_exact: bool
    notes: tuple[str, ...] = ()


class Tier(NamedTuple):
    """One look-up; of no interest when one of a lower ``resort``, nearer to what was asked for, found something."""

    match: Match
    expression: str
    resort: int = 0


@dataclass(frozen=True)
class IndexQuery:
    """A query as it is put to an index; one of the facets in ``roots`` is needed, unless there are none."""

    connection: sqlite3.Connection
    query: Query
    roots: Sequence[str] = ()

    def find_page(self, offset: int, limit: int, is_alive: Callable[[int], bool] = lambda _: True) -> Matches:
        """One page of what matches; ``is_alive`` is asked for pictures up to the end of the page only."""
        gathering = _Gathering(offset + limit, max(self._limit_counting(), offset + limit + 1), is_alive)
        resort = 0
        for tier in self._list_useful():
            if gathering.found and tier.resort > resort:
                break
            resort = tier.resort
            if gathering.is_full:
                gathering.finished = False
                break
            for picture in self._look_up(tier.expression):
                if not gathering.add(picture, tier.match):
                    break
        page = [MatchedPicture(picture, match) for picture, match in gathering.found.items()][offset : offset + limit]
        return Matches(tuple(page), len(gathering.found) + len(gathering.rest), gathering.finished)

    def list_newest(self, count: int) -> list[int]:
        """The newest pictures that have the words, ranked by nothing else."""
        found: dict[int, None] = {}
        for tier in self._list_tiers():
            if tier.match == "exact" and len(self.query.terms) > 1:
                continue
            for picture in self._look_up(tier.expression):
                found[picture] = None
                if len(found) >= count:
                    return list(found)
            if found and tier.match != "words":
                break
        return list(found)

    def keep(self, pictures: Sequence[int]) -> list[int]:
        """Those of some pictures that fulfil the filters, whatever their words."""
        first, last = self._span
        statement = "SELECT 1 FROM postings WHERE postings MATCH ? AND rowid = ?"
        return [
            picture
            for picture in pictures
            if first <= picture <= last
            and self.connection.execute(statement, (self._build(), picture)).fetchone() is not None
        ]

    @cached_property
    def _span(self) -> tuple[int, int]:
        """The first and the last number that a picture may have."""
        since, until = self.query.since, self.query.until
        return _FIRST if since is None else number_of(since), _LAST if until is None else number_of(until) + SLOTS - 1

    @cached_property
    def _filters(self) -> tuple[list[str], list[str]]:
        """What every picture must have, and what none may have."""
        required = [_quote(phrase) for phrase in self.query.phrases]
        excluded = [_quote(term) for term in self.query.excluded]
        for condition in self.query.filters:
            facets = self._list_facets(condition)
            if condition.negated:
                excluded += facets
            else:
                required.append(_any_of(facets))
        if self.roots:
            required.append(_any_of([_quote((root,)) for root in self.roots]))
        return required, excluded

    def _build(self, *wanted: str) -> str:
        """An expression of the index for pictures that pass the filters and have everything that is wanted."""
        required, excluded = self._filters
        parts = [part for part in (*wanted, *required) if part] or [_quote((EVERY,))]
        without = f" NOT {_any_of(excluded)}" if excluded else ""
        return f"({' AND '.join(parts)}){without}"

    def _limit_counting(self) -> int:
        (known,) = self.connection.execute("SELECT coalesce(max(id), 0) + 1 FROM files").fetchone()
        return max(_MIN_COUNTED, min(MAX_COUNTED, _COUNTING // int(known)))

    def _list_useful(self) -> Iterator[Tier]:
        """The look-ups that can find something: none when nothing passes the filters, and none twice."""
        is_narrow = any(self._filters) or self._span != (_FIRST, _LAST)
        if self.query.terms and is_narrow and not self._finds(self._build()):
            return
        seen = set()
        for tier in self._list_tiers():
            if tier.expression not in seen:
                seen.add(tier.expression)
                yield tier

    def _list_tiers(self) -> Iterator[Tier]:
        """The look-ups, best first."""
        if not self.query.terms:
            yield Tier("exact" if self.query.phrases else "recent", self._build())
            return
        terms = _drop_fillers(self.query.terms)
        exact = Tier("exact", self._build(_quote(tuple(word for term in self.query.terms for word in term))))
        words = Tier("words", self._build(*map(_quote, terms)))
        # Where words are nowhere together, they are nowhere in a row: a long row takes as long to look for as all.
        if len(self.query.terms) == 1:
            yield exact
        elif self._finds(words.expression):
            yield from (exact, words)
        yield Tier("prefix", self._build(*(_complete(self.connection, term) for term in terms)))
        yield Tier("fuzzy", self._build(*(_forgive(self.connection, term) for term in terms)))
        yield from self._list_resorts(terms)

    def _list_resorts(self, terms: tuple[Term, ...]) -> Iterator[Tier]:
        """Without one word, the most frequent first; then the rarest words, fewer and fewer; at last any of them."""
        counts = {term: min(count_pictures(self.connection, word) for word in term) for term in terms}
        if 1 < len(terms) <= _MAX_DROPPED:
            forgiving = {term: _forgive(self.connection, term) for term in terms}
            # A word that no picture has says least of all.
            for dropped in sorted(counts, key=lambda term: (counts[term] > 0, -counts[term])):
                others = (forgiving[term] for term in terms if term != dropped)
                yield Tier("some words", self._build(*others), 1)
        if len(terms) > 2:
            rarest = sorted((term for term in counts if counts[term]), key=lambda term: counts[term])
            for last in range(min(len(rarest), _MAX_TOGETHER), 0, -1):
                yield Tier("some words", self._build(*map(_quote, rarest[:last])), 2)
            yield Tier("some words", self._build(_any_of([_quote(term) for term in terms])), 2)

    def _finds(self, expression: str) -> bool:
        return next(self._look_up(expression), None) is not None

    def _look_up(self, expression: str) -> Iterator[int]:
        rows = self.connection.execute(
            "SELECT rowid FROM postings WHERE postings MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid DESC",
            (expression, *self._span),
        )
        try:
            for (picture,) in rows:
                yield picture
        finally:
            rows.close()

    def _list_facets(self, condition: QueryFilter) -> list[str]:
        """The index's words for the values of a filter; one that no picture has when there are none."""
        key, values = condition.key, condition.values
        if key in ("model", "lora"):
            facets = [name for value in values for name in self._list_names(key, value)][:_MAX_NAMES]
            return [_quote((name,)) for name in facets or [facet("name", 0)]]
        if key == "source":
            values = tuple(kind for value in values for kind in SOURCE_GROUPS.get(value.strip().lower(), (value,)))
        return [_quote((facet(key, value),)) for value in values]

    def _list_names(self, kind: str, value: str) -> list[str]:
        statement = "SELECT id FROM names WHERE kind = ? AND instr(folded, ?) ORDER BY id DESC"
        rows = self.connection.execute(statement, (kind, fold_name(value)))
        return [facet("name", number) for (number,) in rows]


class _Gathering:
    """Matches as they come in: those up to the end of the page, and how many there are beyond."""

    def __init__(self, end: int, most: int, is_alive: Callable[[int], bool]) -> None:
        self.found: dict[int, Match] = {}
        self.rest: set[int] = set()
        self.finished = True
        self._end = end
        self._most = most
        self._is_alive = is_alive
        self._dead: set[int] = set()

    @property
    def is_full(self) -> bool:
        """Whether nothing more is needed for the page."""
        return len(self.found) >= self._end

    def add(self, picture: int, match: Match) -> bool:
        """Take a hit in; whether there should be more."""
        if picture in self.found or picture in self._dead:
            return True
        if self.is_full:
            self.rest.add(picture)
        elif self._is_alive(picture):
            self.found[picture] = match
        else:
            self._dead.add(picture)
        self.finished = len(self.found) + len(self.rest) < self._most and len(self._dead) < _MAX_DEAD
        return self.finished


def _drop_fillers(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    return tuple(term for term in terms if term[0] not in FILLERS or len(term) > 1) or terms


def _complete(connection: sqlite3.Connection, term: Term) -> str:
    """A term, or what its last word may be the beginning of."""
    words = dict.fromkeys([term[-1], *list_completions(connection, term[-1])])
    return _any_of([_quote((*term[:-1], word)) for word in words])


def _forgive(connection: sqlite3.Connection, term: Term) -> str:
    """A term, completed, or what it was meant to be."""
    spelled = [[word, *list_corrections(connection, word)] for word in term]
    corrected = [_quote((*term[:at], word, *term[at + 1 :])) for at in range(len(term)) for word in spelled[at][1:]]
    return _any_of([_complete(connection, term), *corrected])


def _quote(words: Term) -> str:
    """Words side by side. They consist of letters and digits only, so that nothing in them can mean anything."""
    return f'"{" ".join(words)}"'


def _any_of(expressions: Sequence[str]) -> str:
    return expressions[0] if len(expressions) == 1 else f"({' OR '.join(expressions)})"
