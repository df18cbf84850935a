"""Why a search found nothing: where it looked, what the filters took away, and the nearest words and names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from drawthings_mcp.faces import Phrase, Text
from drawthings_mcp.search.folders import LIBRARY_KINDS
from drawthings_mcp.search.matching import IndexQuery, drop_fillers
from drawthings_mcp.search.query import Query, QueryFilter, SearchArguments
from drawthings_mcp.search.word_forms import FILLERS
from drawthings_mcp.search.words import SOURCE_GROUPS, count_pictures, list_nearest_words, split_words

_MAX_LISTED = 5
"""Folders, names and words that a sentence lists."""
_TRIED = 40
"""Words that are tried until some are found that would hit."""
_NEWEST = 500
"""Pictures whose prompts tell what there is."""
_MIN_TELLING = 3
"""Letters of words that are proposed without being like one that was asked for."""
_CUTOFF = 0.3


def explain_nothing(asked: IndexQuery, arguments: SearchArguments) -> Iterator[Text]:
    """What was searched, and what to ask for instead."""
    query = asked.query
    yield _describe_place(asked, arguments)
    limits = tuple(query.list_limits())
    if query.terms and limits:
        rest = replace(asked, query=Query(terms=query.terms)).find_page(0, _TRIED)
        if rest.total and not rest.notes:
            at_least = Phrase("" if rest.is_exact else "at least ")
            yield Text(
                "Without {limits} the words find {at_least}{count}.", limits=limits, at_least=at_least, count=rest.total
            )
    for condition in query.filters:
        yield from _propose_names(asked, condition)
    wanted = [word for term in drop_fillers(query.terms) for word in term]
    if near := _keep_hits(asked, _list_near(asked, wanted)):
        yield Text("Nearest words that would hit: {words}.", words=near)
    elif wanted and (frequent := _keep_hits(asked, _list_frequent(asked))):
        yield Text("Words of many pictures: {words}.", words=frequent)


def _describe_place(asked: IndexQuery, arguments: SearchArguments) -> Text:
    kinds = SOURCE_GROUPS.get(arguments.source, (arguments.source,))
    rows = asked.connection.execute("SELECT path, source FROM roots ORDER BY id").fetchall()
    folders = dict.fromkeys(
        path for path, kind in rows if kind not in LIBRARY_KINDS and (arguments.source == "all" or kind in kinds)
    )
    ((count,),) = asked.connection.execute("SELECT count(*) FROM pictures").fetchall()
    more = len(folders) - _MAX_LISTED
    limits = tuple(asked.query.list_limits())
    if not folders:
        return Text("There is no folder of this source to search.")
    return Text(
        "Searched {count} pictures in {folders}{more}{limits}.",
        count=count,
        folders=tuple(map(Path, list(folders)[:_MAX_LISTED])),
        more=Phrase(f" and {more} more folders" if more > 0 else ""),
        limits=Text(", with {limits}", limits=limits) if limits else Phrase(""),
    )


def _propose_names(asked: IndexQuery, condition: QueryFilter) -> Iterator[Text]:
    """The nearest names for one that no picture has."""
    if condition.key not in ("model", "lora", "path") or condition.negated or asked.find_names(condition):
        return
    known = {name.lower(): name for name in asked.list_names_of(condition.key)}
    near = get_close_matches(condition.values[0].lower(), known, _MAX_LISTED, _CUTOFF) or list(known)[:_MAX_LISTED]
    if near:
        names = tuple(known[name] for name in near)
        yield Text(
            "No {key} is called {value!r}; there are {names}.",
            key=Phrase(condition.key),
            value=condition.values[0],
            names=names,
        )


def _list_near(asked: IndexQuery, wanted: Sequence[str]) -> list[str]:
    """Words like those that no picture has."""
    missing = [word for word in wanted if not count_pictures(asked.connection, word)]
    near = (list_nearest_words(asked.connection, word, _TRIED // len(missing) + 1) for word in missing)
    return [word for found in near for word in found]


def _list_frequent(asked: IndexQuery) -> list[str]:
    """The words that most prompts of the newest pictures have."""
    rows = asked.connection.execute("SELECT prompt FROM pictures ORDER BY id DESC LIMIT ?", (_NEWEST,))
    counts = Counter(word for (prompt,) in rows for word in dict.fromkeys(split_words(prompt)))
    return [word for word, _ in counts.most_common(_TRIED)]


def _keep_hits(asked: IndexQuery, words: Iterable[str]) -> tuple[str, ...]:
    """Telling words that are in pictures that pass the filters."""
    telling = (word for word in dict.fromkeys(words) if len(word) >= _MIN_TELLING and word not in FILLERS)
    return tuple(islice((word for word in telling if not word.isdigit() and asked.has_word(word)), _MAX_LISTED))
