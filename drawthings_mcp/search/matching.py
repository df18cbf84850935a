"""A query → the pictures that match it, best tier first, newest first within a tier.

Owns the tiers: exact phrase, all words, beginnings of words, typing errors forgiven; when nothing had them all, all but
one; when nothing had those either, the rarest words, which tell most. Each tier is one look-up in the index in order of
time, begun only when those before it did not fill the page, so that a search costs what its page costs and not what a
million pictures cost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
    """What was found.

    Attributes
    ----------
    page
        Those that were asked for.
    total
        How many there are, or how many at least.
    is_exact
        Whether the total is the whole number.
    notes
        What the reader should know, one sentence each.
    """

    page: tuple[MatchedPicture, ...]
    total: int
    is_exact: bool
    notes: tuple[str, ...] = ()


class Tier(NamedTuple):
    """One look-up.

    Attributes
    ----------
    resort
        How far it is from what was asked for; of no interest when one that is less far found something.
    """

    match: Match
    expression: str
    resort: int = 0


@dataclass(frozen=True, slots=True)
class IndexFilter:
    """What every hit must fulfil, as the index puts it."""

    required: tuple[str, ...]
    excluded: tuple[str, ...]
    first: int
    last: int

    @property
    def is_narrow(self) -> bool:
        """Whether there are pictures that are not in it."""
        return bool(self.required or self.excluded) or (self.first, self.last) != (_FIRST, _LAST)

    def build(self, *wanted: str) -> str:
        """An expression of the index for pictures in scope that have everything that is wanted."""
        parts = [part for part in (*wanted, *self.required) if part] or [_quote((EVERY,))]
        without = f" NOT {_any_of(self.excluded)}" if self.excluded else ""
        return f"({' AND '.join(parts)}){without}"


def find_pictures(
    connection: sqlite3.Connection,
    query: Query,
    *,
    offset: int,
    limit: int,
    roots: Sequence[str] = (),
    is_alive: Callable[[int], bool] = lambda _: True,
) -> Matches:
    """One page of what matches a query.

    Parameters
    ----------
    roots
        Facets; one of them is needed, unless there are none.
    is_alive
        Whether a picture is still there; asked for those up to the end of the page only.
    """
    scope = build_filter(connection, query, roots)
    most = max(_limit_counting(connection), offset + limit + 1)
    gathering = _Gathering(offset + limit, most, is_alive)
    resort = 0
    for tier in _list_useful(connection, query, scope):
        if gathering.found and tier.resort > resort:
            break
        resort = tier.resort
        if gathering.is_full:
            gathering.finished = False
            break
        for picture in _look_up(connection, tier.expression, scope):
            if not gathering.add(picture, tier.match):
                break
    page = [MatchedPicture(picture, match) for picture, match in gathering.found.items()][offset : offset + limit]
    return Matches(tuple(page), len(gathering.found) + len(gathering.rest), gathering.finished)


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


def _limit_counting(connection: sqlite3.Connection) -> int:
    (known,) = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM files").fetchone()
    return max(_MIN_COUNTED, min(MAX_COUNTED, _COUNTING // int(known)))


def _list_useful(connection: sqlite3.Connection, query: Query, scope: IndexFilter) -> Iterator[Tier]:
    """The look-ups that can find something: none when nothing passes the filters, and none twice."""
    if query.terms and scope.is_narrow and next(_look_up(connection, scope.build(), scope), None) is None:
        return
    seen = set()
    for tier in list_tiers(connection, query, scope):
        if tier.expression not in seen:
            seen.add(tier.expression)
            yield tier


def list_filtered(connection: sqlite3.Connection, query: Query, roots: Sequence[str], count: int) -> list[int]:
    """The newest pictures that have the words of a query, ranked by nothing else."""
    scope = build_filter(connection, query, roots)
    found: dict[int, None] = {}
    for tier in list_tiers(connection, query, scope):
        if tier.match == "exact" and len(query.terms) > 1:
            continue
        for picture in _look_up(connection, tier.expression, scope):
            found[picture] = None
            if len(found) >= count:
                return list(found)
        if found and tier.match != "words":
            break
    return list(found)


def keep_filtered(
    connection: sqlite3.Connection, query: Query, roots: Sequence[str], pictures: Sequence[int]
) -> list[int]:
    """Those of some pictures that fulfil a query's filters, whatever their words."""
    scope = build_filter(connection, query, roots)
    statement = "SELECT 1 FROM postings WHERE postings MATCH ? AND rowid = ?"
    return [
        picture
        for picture in pictures
        if scope.first <= picture <= scope.last
        and connection.execute(statement, (scope.build(), picture)).fetchone() is not None
    ]


def build_filter(connection: sqlite3.Connection, query: Query, roots: Sequence[str]) -> IndexFilter:
    """The filters of a query."""
    required = [_quote(phrase) for phrase in query.phrases]
    excluded = [_quote(term) for term in query.excluded]
    for condition in query.filters:
        facets = _list_facets(connection, condition)
        if condition.negated:
            excluded += facets
        else:
            required.append(_any_of(facets))
    if roots:
        required.append(_any_of([_quote((root,)) for root in roots]))
    return IndexFilter(
        tuple(required),
        tuple(excluded),
        _FIRST if query.since is None else number_of(query.since),
        _LAST if query.until is None else number_of(query.until) + SLOTS - 1,
    )


def list_tiers(connection: sqlite3.Connection, query: Query, scope: IndexFilter) -> Iterator[Tier]:
    """The look-ups of a query, best first."""
    if not query.terms:
        yield Tier("exact" if query.phrases else "recent", scope.build())
        return
    terms = _drop_fillers(query.terms)
    exact = Tier("exact", scope.build(_quote(tuple(word for term in query.terms for word in term))))
    words = Tier("words", scope.build(*map(_quote, terms)))
    # Where words are nowhere together, they are nowhere in a row: a long row takes as long to look for as all of them.
    if len(query.terms) == 1:
        yield exact
    elif next(_look_up(connection, words.expression, scope), None) is not None:
        yield from (exact, words)
    yield Tier("prefix", scope.build(*(_complete(connection, term) for term in terms)))
    yield Tier("fuzzy", scope.build(*(_forgive(connection, term) for term in terms)))
    yield from _list_resorts(connection, terms, scope)


def _list_resorts(connection: sqlite3.Connection, terms: tuple[Term, ...], scope: IndexFilter) -> Iterator[Tier]:
    """Without one word, the most frequent first; then the rarest words, fewer and fewer; at last any of them."""
    counts = {term: min(count_pictures(connection, word) for word in term) for term in terms}
    if 1 < len(terms) <= _MAX_DROPPED:
        forgiving = {term: _forgive(connection, term) for term in terms}
        # A word that no picture has tells least of all.
        for dropped in sorted(counts, key=lambda term: (counts[term] > 0, -counts[term])):
            others = (forgiving[term] for term in terms if term != dropped)
            yield Tier("some words", scope.build(*others), 1)
    if len(terms) > 2:
        rarest = sorted((term for term in counts if counts[term]), key=lambda term: counts[term])
        for last in range(min(len(rarest), _MAX_TOGETHER), 0, -1):
            yield Tier("some words", scope.build(*map(_quote, rarest[:last])), 2)
        yield Tier("some words", scope.build(_any_of([_quote(term) for term in terms])), 2)


def _look_up(connection: sqlite3.Connection, expression: str, scope: IndexFilter) -> Iterator[int]:
    rows = connection.execute(
        "SELECT rowid FROM postings WHERE postings MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid DESC",
        (expression, scope.first, scope.last),
    )
    try:
        for (picture,) in rows:
            yield picture
    finally:
        rows.close()


def _list_facets(connection: sqlite3.Connection, condition: QueryFilter) -> list[str]:
    """The index's words for the values of a filter; one that no picture has when there are none."""
    key, values = condition.key, condition.values
    if key == "model" or key == "lora":
        facets = [name for value in values for name in _list_names(connection, key, value)][:_MAX_NAMES]
        return [_quote((name,)) for name in facets or [facet("name", 0)]]
    if key == "source":
        values = tuple(kind for value in values for kind in SOURCE_GROUPS.get(value.strip().lower(), (value,)))
    return [_quote((facet(key, value),)) for value in values]


def _list_names(connection: sqlite3.Connection, kind: str, value: str) -> list[str]:
    rows = connection.execute(
        "SELECT id FROM names WHERE kind = ? AND instr(folded, ?) ORDER BY id DESC", (kind, fold_name(value))
    )
    return [facet("name", number) for (number,) in rows]


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
