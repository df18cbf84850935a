"""A query → the pictures that match it, best tier first, newest first within a tier.

The tiers: exact phrase, all words, forms of them, beginnings of words, typing errors forgiven; when nothing had them
all, all but one; when nothing had those either, the rarest words, which tell most. Each tier is one look-up in the
index in order of time, begun only when those before it did not fill the page, so that a search costs what its page
costs and not what a million pictures cost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from drawthings_mcp.faces import Text
from drawthings_mcp.search.pictures import SLOTS, number_of
from drawthings_mcp.search.query import RATINGS, SHAPES, Match, Query, QueryFilter, Term, is_within, name_rating
from drawthings_mcp.search.word_forms import FILLERS
from drawthings_mcp.search.words import (
    EVERY,
    SOURCE_GROUPS,
    count_pictures,
    facet,
    fold_name,
    list_completions,
    list_corrections,
    list_forms,
    split_words,
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
_FIRST, _LAST = -(1 << 63), (1 << 63) - 1


class MatchedPicture(NamedTuple):
    """A picture that was found."""

    picture: int
    match: Match


@dataclass(frozen=True, slots=True)
class Matches:
    """The matches that were asked for, and how many there are; see ``hits.HitPage``.

    ``groups`` are pictures that show the same, when that was asked for.
    """

    page: tuple[MatchedPicture, ...]
    total: int
    is_exact: bool
    notes: tuple[str, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()


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
        found = [MatchedPicture(picture, match) for picture, match in gathering.found.items()]
        notes = self.note_partial(found[0].match) if found else ()
        total = len(found) + len(gathering.rest)
        return Matches(tuple(found[offset : offset + limit]), total, gathering.finished, notes)

    def note_partial(self, match: Match) -> tuple[str, ...]:
        """What to say when the best match has not all the words."""
        if match != "some words":
            return ()
        words = tuple(" ".join(term) for term in drop_fillers(self.query.terms))
        return (Text("No picture has all of: {words}. These have some of them, the best first.", words=words),)

    def has_word(self, word: str) -> bool:
        """Whether a picture that passes the filters has a word."""
        return self._finds(self._build(_quote((word,))))

    def list_names_of(self, key: str) -> list[str]:
        """Every name that a filter by ``model``, ``lora`` or ``path`` can find."""
        return [name for _, name in self._list_known("folder" if key == "path" else key)]

    def find_names(self, condition: QueryFilter) -> list[int]:
        """The numbers of the names that a filter stands for."""
        return [number for value in condition.values for number in self._list_names(condition.key, value)]

    def list_newest(self, count: int) -> tuple[list[int], Match]:
        """The newest pictures that have the words, or most of them, and how they have them."""
        for tier in self._list_whole():
            if found := list(islice(self._look_up(tier.expression), count)):
                return found, tier.match
        return [], "words"

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
        required += [_any_of([self._inflect(term) for term in choice]) for choice in self.query.choices]
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
        for tier in self._list_tiers() if self.query.sort == "best" else self._list_sorted():
            if tier.expression not in seen:
                seen.add(tier.expression)
                yield tier

    def _list_tiers(self) -> Iterator[Tier]:
        """The look-ups, best first."""
        if not self.query.terms:
            wants_words = self.query.phrases or self.query.choices
            yield Tier("exact" if wants_words else "recent", self._build())
            return
        terms = drop_fillers(self.query.terms)
        words = Tier("words", self._build(*map(_quote, terms)))
        # Where words are nowhere together, they are nowhere in a row: a long row takes as long to look for as all.
        if len(self.query.terms) == 1 or self._finds(words.expression):
            row = _trim(self.query.terms)
            yield Tier("exact", self._build(_quote(tuple(word for term in row for word in term))))
            yield words
        yield Tier("forms", self._build(*map(self._inflect, terms)))
        yield Tier("prefix", self._build(*map(self._complete, terms)))
        yield Tier("fuzzy", self._build(*map(self._forgive, terms)))
        yield from self._list_resorts(terms)

    def _list_resorts(self, terms: tuple[Term, ...]) -> Iterator[Tier]:
        """Without one word, the most frequent first; then the rarest words, fewer and fewer; at last any of them."""
        counts = {term: min(map(self._count, term)) for term in terms}
        if 1 < len(terms) <= _MAX_DROPPED:
            forgiving = {term: self._forgive(term) for term in terms}
            # A word that no picture has says least of all.
            for dropped in sorted(counts, key=lambda term: (counts[term] > 0, -counts[term])):
                others = (forgiving[term] for term in terms if term != dropped)
                yield Tier("some words", self._build(*others), 1)
        if len(terms) > 2:
            rarest = sorted((term for term in counts if counts[term]), key=lambda term: counts[term])
            for last in range(min(len(rarest), _MAX_TOGETHER), 0, -1):
                yield Tier("some words", self._build(*map(self._inflect, rarest[:last])), 2)
            yield Tier("some words", self._build(_any_of([self._inflect(term) for term in terms])), 2)

    def _list_whole(self) -> Iterator[Tier]:
        """The look-ups without those that another one contains."""
        tiers = (tier for tier in self._list_tiers() if tier.match not in ("exact", "words") or not self.query.terms)
        for tier in tiers:
            yield tier._replace(match="words") if tier.match == "forms" else tier

    def _list_sorted(self) -> Iterator[Tier]:
        """The best look-up that finds something, divided by what it is sorted by; time is the order of the index."""
        found = next((tier for tier in self._list_whole() if self._finds(tier.expression)), None)
        if found is None:
            return
        for key in self._list_sort_facets():
            yield found._replace(expression=f"({found.expression} AND {_quote((key,))})")
        yield found

    def _list_sort_facets(self) -> list[str]:
        if self.query.sort == "rating":
            return [facet("tag", name_rating(rating)) for rating in RATINGS]
        if self.query.sort == "size":
            sizes = sorted(self._list_sizes(), key=lambda size: -size[1] * size[2])
            return [facet("name", number) for number, *_ in sizes]
        return []

    def _inflect(self, term: Term) -> str:
        """A term, or one whose words are other forms of its words."""
        return _any_of([*map(_quote, _vary(term, partial(list_forms, self.connection)))])

    def _complete(self, term: Term) -> str:
        """A term in any form, or what its last word may be the beginning of."""
        completed = [_quote((*term[:-1], word)) for word in list_completions(self.connection, term[-1])]
        return _any_of([self._inflect(term), *completed])

    def _forgive(self, term: Term) -> str:
        """A term, completed, or what it was meant to be."""
        corrected = _vary(term, partial(list_corrections, self.connection))
        return _any_of([self._complete(term), *map(_quote, islice(corrected, 1, None))])

    def _count(self, word: str) -> int:
        """How many pictures have a word, or else its most frequent form."""
        forms = (word, *list_forms(self.connection, word))
        return next((count for form in forms if (count := count_pictures(self.connection, form))), 0)

    def _finds(self, expression: str) -> bool:
        return next(self._look_up(expression), None) is not None

    def _look_up(self, expression: str) -> Iterator[int]:
        order = "ASC" if self.query.sort == "oldest" else "DESC"
        rows = self.connection.execute(
            f"SELECT rowid FROM postings WHERE postings MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid {order}",
            (expression, *self._span),
        )
        try:
            for (picture,) in rows:
                yield picture
        finally:
            rows.close()

    def _list_facets(self, condition: QueryFilter) -> list[str]:
        """Expressions for the values of a filter; one that no picture has when there are none."""
        key, values = condition.key, condition.values
        if key in ("model", "lora", "path", "size", "steps", "cfg"):
            numbers = dict.fromkeys(number for value in values for number in self._list_names(key, value))
            facets = [facet("name", number) for number in numbers]
            facets += [facet("shape", value) for value in values if key == "size" and value in SHAPES]
            return [_quote((name,)) for name in facets or [facet("name", 0)]]
        if key == "rating":
            ratings = [rating for rating in RATINGS if any(is_within(value, rating) for value in values)]
            return [_quote((facet("tag", name_rating(rating)),)) for rating in ratings or [0]]
        if key == "negative":
            return [_all_of([_quote((facet(key, word),)) for word in split_words(value)]) for value in values]
        if key == "source":
            values = tuple(kind for value in values for kind in SOURCE_GROUPS.get(value.strip().lower(), (value,)))
        return [_quote((facet(key, value),)) for value in values]

    def _list_names(self, key: str, value: str) -> list[int]:
        """The numbers of the names that a value of a filter stands for."""
        if key == "size":
            return [number for number, *size in self._list_sizes() if is_within(value, *size)]
        if key in ("steps", "cfg"):
            return [number for number, name in self._list_known(key) if is_within(value, float(name))]
        found = dict(self._list_known("folder" if key == "path" else key, fold_name(value)))
        if key == "path":
            # What is below a folder has its facet as well.
            paths = set(found.values())
            found = {number: path for number, path in found.items() if not paths & set(map(str, Path(path).parents))}
        return sorted(found, reverse=True)[:_MAX_NAMES]

    def _list_sizes(self) -> list[tuple[int, int, int]]:
        """Every size, by its number."""
        known = self._list_known("size")
        return [(number, *map(int, name.split("x"))) for number, name in known]  # type: ignore[misc]

    def _list_known(self, kind: str, part: str = "") -> list[tuple[int, str]]:
        statement = "SELECT id, name FROM names WHERE kind = ? AND instr(folded, ?)"
        return self.connection.execute(statement, (kind, part)).fetchall()


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


def drop_fillers(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """The terms that tell something; all when none does."""
    return tuple(term for term in terms if not _is_filler(term)) or terms


def _trim(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """The terms from the first to the last that tells something: a row of words in the middle of a sentence."""
    telling = [place for place, term in enumerate(terms) if not _is_filler(term)]
    return terms[telling[0] : telling[-1] + 1] if telling else terms


def _is_filler(term: Term) -> bool:
    return len(term) == 1 and term[0] in FILLERS


def _vary(term: Term, list_variants: Callable[[str], Sequence[str]]) -> Iterator[Term]:
    """A term, and the same with one of its words replaced by each of its variants."""
    yield term
    for at, word in enumerate(term):
        for variant in list_variants(word):
            yield (*term[:at], variant, *term[at + 1 :])


def _quote(words: Term) -> str:
    """Words side by side. They consist of letters and digits only, so that nothing in them can mean anything."""
    return f'"{" ".join(words)}"'


def _any_of(expressions: Sequence[str]) -> str:
    different = tuple(dict.fromkeys(expressions))  # a look-up that was done is known by its expression
    return different[0] if len(different) == 1 else f"({' OR '.join(different)})"


def _all_of(expressions: Sequence[str]) -> str:
    return f"({' AND '.join(expressions)})"
