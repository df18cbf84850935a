"""A query and an index that is up to date → one page of hits. Blocks: call it in a thread."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.databases import Database
from drawthings_mcp.errors import UnknownNameError
from drawthings_mcp.faces import Phrase, Step, Text
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.search import files
from drawthings_mcp.search.embeddings import EmbeddingIndex, forget_other_lengths
from drawthings_mcp.search.hits import Hit, HitBuilder, HitPage, list_places, source_key
from drawthings_mcp.search.matching import IndexQuery, MatchedPicture, Matches
from drawthings_mcp.search.nothing import explain_nothing
from drawthings_mcp.search.projects.project_file import parse_reference
from drawthings_mcp.search.query import SORTS, Query, SearchArguments
from drawthings_mcp.search.source import PictureSource, fingerprint
from drawthings_mcp.search.tags import change_tags, list_tags_of
from drawthings_mcp.search.visual_features import colour_words, measure_picture
from drawthings_mcp.search.visual_index import SHORTLIST, Likeness, VisualIndex, count_unmeasured
from drawthings_mcp.search.word_forms import FILLERS
from drawthings_mcp.search.words import facet, fold_name, split_words
from drawthings_mcp.tensors.picture_files import open_file
from drawthings_mcp.tensors.pixels import ImageLike

_FUSED = 200
"""Matches by words that are put in order together with those by embedding."""
_NEAREST = 50
"""Matches by embedding at most: there is always a nearest, however far."""
_LEAST_SHARE = 0.85
"""Share of the best hit's cosine that others need."""
_MAX_NARROWED = 100_000
"""Pictures that the words next to ``like`` may leave; of more, the newest are compared."""
_JOINTS = FILLERS.union(
    ("similar", "same", "more", "less", "only", "instead", "it", "very", "bit", "rather", "version", "variant"),
    ("looks", "tone", "tones", "colour", "colours", "color", "colors", "coloured", "colored"),
    ("ahnlich", "wie", "nur", "similaire", "comme", "mais", "parecido", "pero", "simile", "ma"),
    ("похожее", "но"),
)
"""What people say between a picture and what should be other: ``similar but blue``."""
_NAMED_SHARE, _PLAIN_SHARE, _WHOLE_SHARE = 0.03, 0.2, 0.5
"""The least share of a wished colour in a picture whose prompt names it; whose prompt names none; names another."""
PROJECT_SCHEME = "project://"
PROJECTS = "projects"
_NO_PROJECTS = Text(
    "No project files are in the folders that are searched. On a Mac the app keeps them in "
    "~/Library/Containers/com.liuliu.draw-things/Data/Documents: index that folder once, or add it: {step}.",
    step=Step("set", setting="search_dirs"),
)
_SMOOTHING = 60
"""How little the first places count more than the next: the constant of reciprocal rank fusion."""
_FIRST = "exact"


class Answerer:
    """Answers from an index; keeps visual features and embeddings in memory once they were asked for."""

    def __init__(self, index: Database, tags: Database, catalog: ImageCatalog, embedding_model: str = "") -> None:
        self._index = index
        self._tags = tags
        self._catalog = catalog
        self._visual = VisualIndex()
        self._embedding_model = embedding_model
        self._embeddings = EmbeddingIndex(embedding_model)
        self._lock = threading.Lock()

    def answer(
        self,
        query: Query,
        arguments: SearchArguments,
        sources: Mapping[str, PictureSource],
        vector: NDArray[np.float32] | None = None,
    ) -> HitPage:
        """One page; ``vector`` is the embedding of the words, ``(D,)`` of length 1, when there is one.

        Raises ``InvalidImageError`` when ``like`` cannot be read.
        """
        with self._index.open() as connection:
            active = _list_active(connection, sources)
            if not active:
                return HitPage((), 0, True, arguments.offset, notes=(*query.notes, *_list_hints(connection, arguments)))
            ((known,),) = connection.execute("SELECT count(*) FROM roots").fetchall()
            limiting = [] if known == len(active) else [facet("root", root) for root in active]
            builder = HitBuilder(connection, {key: sources[key] for key in active.values()}, self._catalog)
            asked = IndexQuery(connection, query, limiting)
            if arguments.like is not None:
                matches = self._find_alike(asked, arguments, builder)
            elif query.duplicates:
                matches = self._find_duplicates(asked, arguments, builder)
            elif vector is not None and query.sort == "best":
                matches = self._find_nearest(asked, arguments, builder, vector)
            else:
                matches = asked.find_page(arguments.offset, arguments.limit, builder.is_alive)
            built = {one.picture: hit for one in matches.page if (hit := builder.build(one)) is not None}
            pending = files.count_pending(connection, list(active))
            notes = [*query.notes, *matches.notes, *_note_unmeasured(connection, query, arguments)]
            if query.sort != SORTS[0] and (query.duplicates or arguments.like is not None):
                notes.append("Pictures that are alike are not sorted otherwise; sort was left out.")
            if query.duplicates:
                notes += _describe_groups(connection, matches, built)
            explanation = () if matches.total else tuple(explain_nothing(asked, arguments))
            if not matches.total:
                notes += _list_hints(connection, arguments)
        hits = tuple(built.values())
        return HitPage(hits, matches.total, matches.is_exact, arguments.offset, pending, tuple(notes), explanation)

    def _find_alike(self, asked: IndexQuery, arguments: SearchArguments, builder: HitBuilder) -> Matches:
        assert arguments.like is not None
        features = measure_picture(arguments.like)
        query, wishes = _split_wishes(asked.query)
        itself = self._find_itself(asked.connection, arguments.like)
        among, notes = _narrow(replace(asked, query=query))
        named = [_list_named(asked, wish) for wish in wishes]
        with self._lock:
            self._visual.refresh(asked.connection)
            ranked = self._visual.rank(asked.connection, features, wishes=wishes, named=named, among=among)
        found = [
            MatchedPicture(alike.picture, "near-duplicate" if alike.is_near_duplicate else "visual")
            for alike in ranked
            if alike.picture != itself
            and (alike.is_near_duplicate or not query.duplicates)
            and _has_colours(asked.connection, alike, wishes)
        ]
        return Matches(_take_page(found, arguments, builder), len(found), len(ranked) < SHORTLIST, notes)

    def _find_duplicates(self, asked: IndexQuery, arguments: SearchArguments, builder: HitBuilder) -> Matches:
        """Pictures that show the same, side by side, and those of which there are copies."""
        among, notes = _narrow(asked)
        with self._lock:
            self._visual.refresh(asked.connection)
            groups = self._visual.find_duplicates(asked.connection, among)
        grouped = {picture for group in groups for picture in group}
        copied = _list_copied(asked.connection)
        wanted = None if among is None else set(among.tolist())
        groups += [(one,) for one in copied if one not in grouped and (wanted is None or one in wanted)]
        found: list[MatchedPicture] = []
        for group in sorted(groups, reverse=True):
            if len(found) > arguments.offset + arguments.limit:
                break
            alive = [picture for picture in group if builder.is_alive(picture)]
            if len(alive) > 1 or (alive and alive[0] in copied):
                found += [MatchedPicture(picture, "near-duplicate") for picture in alive]
        page = tuple(found[arguments.offset : arguments.offset + arguments.limit])
        is_exact = len(found) <= arguments.offset + arguments.limit
        return Matches(page, len(found), is_exact, notes, tuple(groups))

    def _find_nearest(
        self, asked: IndexQuery, arguments: SearchArguments, builder: HitBuilder, vector: NDArray[np.float32]
    ) -> Matches:
        by_words = asked.find_page(0, max(_FUSED, arguments.offset + arguments.limit))
        with self._lock:
            self._embeddings.refresh(asked.connection)
            near = self._embeddings.find_nearest(asked.connection, vector, _NEAREST)
        least = _LEAST_SHARE * near[0].cosine if near else 0.0
        nearest = asked.keep([one.picture for one in near if one.cosine >= least])
        fused = fuse(by_words.page, nearest)
        more = len(fused) - len(by_words.page)
        page = _take_page(fused, arguments, builder)
        return Matches(page, by_words.total + more, by_words.is_exact, by_words.notes)

    def forget_other_embeddings(self, dimensions: int) -> bool:
        """Forget the embeddings of the model when they have another length; whether they had."""
        with self._index.write() as connection:
            return forget_other_lengths(connection, self._embedding_model, dimensions)

    def change_tags(self, place: str, add: Sequence[str], remove: Sequence[str]) -> list[str]:
        """Add tags to a picture and take tags off; all that it has then."""
        path, key = split_place(place)
        with self._index.open() as connection:
            content = self._find_origin(connection, path) or _find_content(connection, path, key)
        if add or remove:
            change_tags(self._tags, self._index, content, add, remove)
        return list_tags_of(self._tags, content)

    def _find_itself(self, connection: sqlite3.Connection, like: ImageLike) -> int | None:
        """The picture that others should be like, when it is in the index itself."""
        if not isinstance(like, str | os.PathLike) or not Path(like).is_file():
            return None
        content = self._find_origin(connection, Path(like)) or _read_fingerprint(like)
        row = connection.execute("SELECT id FROM pictures WHERE content = ?", (content,)).fetchone()
        return None if row is None else int(row[0])

    def _find_origin(self, connection: sqlite3.Connection, path: Path) -> str | None:
        """The identity of the project's picture that a file was made from; None for other files."""
        record = self._catalog.find_by_path(path)
        if record is None or not record.origin.startswith(PROJECT_SCHEME):
            return None
        return _find_indexed(connection, *split_place(record.origin))


def _take_page(
    hits: Sequence[MatchedPicture], arguments: SearchArguments, builder: HitBuilder
) -> tuple[MatchedPicture, ...]:
    """The page that was asked for, of those hits that are still there."""
    alive = (hit for hit in hits if builder.is_alive(hit.picture))
    return tuple(islice(alive, arguments.offset, arguments.offset + arguments.limit))


def split_place(place: str) -> tuple[Path, str]:
    """File and key of ``project://<file>#<key>``; of anything else, the path and no key."""
    if not place.startswith(PROJECT_SCHEME):
        return Path(place), ""
    file, number = parse_reference(place)
    return file, str(number)


def _list_active(connection: sqlite3.Connection, sources: Mapping[str, PictureSource]) -> dict[int, str]:
    """Roots of the index that are searched and there now, and the keys of their sources."""
    rows = connection.execute("SELECT id, path, source FROM roots").fetchall()
    keys = {root: source_key(path, kind) for root, path, kind in rows}
    return {root: key for root, key in keys.items() if key in sources and sources[key].is_there()}


def _note_unmeasured(connection: sqlite3.Connection, query: Query, arguments: SearchArguments) -> list[str]:
    if arguments.like is None and not query.duplicates:
        return []
    missing = count_unmeasured(connection)
    return [f"{missing} pictures have not been measured yet; search again for them."] if missing else []


def _describe_groups(connection: sqlite3.Connection, matches: Matches, hits: Mapping[int, Hit]) -> Iterator[Text]:
    """Which of the hits show the same, and where the copies of a file are."""
    shown = [[hits[picture].id for picture in group if picture in hits] for group in matches.groups]
    if alike := [" = ".join(ids) for ids in shown if len(ids) > 1]:
        yield Text("Alike are {groups}.", groups=Phrase("; ".join(alike)))
    for picture, hit in hits.items():
        places = [path for _, path, _ in list_places(connection, picture) if str(path) != hit.place]
        if places:
            more = Phrase(f" and {len(places) - 1} more places" if len(places) > 1 else "")
            yield Text("{id} is also at {place}{more}.", id=Phrase(hit.id), place=places[0], more=more)


def _list_copied(connection: sqlite3.Connection) -> set[int]:
    """Pictures that are in several places, byte for byte."""
    rows = connection.execute("SELECT picture FROM places GROUP BY picture HAVING count(*) > 1")
    return {picture for (picture,) in rows}


def _list_hints(connection: sqlite3.Connection, arguments: SearchArguments) -> list[str]:
    """Where what was not found may be."""
    if arguments.source != PROJECTS:
        return []
    row = connection.execute("SELECT 1 FROM files WHERE name LIKE '%.sqlite3' LIMIT 1").fetchone()
    return [_NO_PROJECTS] if row is None else []


def _narrow(asked: IndexQuery) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """The pictures that words and filters leave, None for all; and what there is to say about it."""
    query = asked.query
    limits = (query.terms, query.phrases, query.choices, query.excluded, query.filters, query.since, query.until)
    if not any((*limits, asked.roots)):
        return None, ()
    found, match = asked.list_newest(_MAX_NARROWED)
    return np.array(found, np.int64), asked.note_partial(match)


def _split_wishes(query: Query) -> tuple[Query, list[str]]:
    """A query without its colours and what joins them to the picture, and the colours."""
    colours = _fold_colours()
    names = [("".join(term), term) for term in query.terms]
    wishes = dict.fromkeys(colours[name] for name, _ in names if name in colours)
    terms = tuple(term for name, term in names if name not in colours and name not in _JOINTS)
    return replace(query, terms=terms), list(wishes)


def _list_named(asked: IndexQuery, colour: str) -> NDArray[np.int64]:
    """The pictures that name a colour."""
    names = tuple(tuple(split_words(word)) for word, of in colour_words().items() if of == colour)
    query = replace(asked.query, terms=(), choices=(*asked.query.choices, names))
    return np.array(replace(asked, query=query).list_newest(_MAX_NARROWED)[0], np.int64)


def _has_colours(connection: sqlite3.Connection, alike: Likeness, wishes: Sequence[str]) -> bool:
    """Whether a picture is in the colours that were asked for: by its looks, and by what its prompt says of it."""
    if not wishes:
        return True
    row = connection.execute("SELECT prompt FROM pictures WHERE id = ?", (alike.picture,)).fetchone()
    words = f" {' '.join(split_words(row[0]))} " if row else ""
    named = {colour for name, colour in _list_colour_names() if name in words}
    if named.issuperset(wishes):
        return alike.share >= _NAMED_SHARE
    return alike.share >= (_WHOLE_SHARE if named else _PLAIN_SHARE) and alike.is_dominant


@cache
def _list_colour_names() -> list[tuple[str, str]]:
    """Folded words of every colour, between spaces."""
    return [(f" {' '.join(split_words(word))} ", colour) for word, colour in colour_words().items()]


@cache
def _fold_colours() -> dict[str, str]:
    return {fold_name(word): colour for word, colour in colour_words().items()}


def _find_content(connection: sqlite3.Connection, path: Path, key: str) -> str:
    """The identity of the picture at a place, whether it is in the index or not."""
    if (content := _find_indexed(connection, path, key)) is not None:
        return content
    if key or not path.is_file():
        raise UnknownNameError(f"There is no picture at {path}.", name=str(path))
    return _read_fingerprint(path)


def _read_fingerprint(path: str | os.PathLike[str]) -> str:
    with open_file(path) as file:
        return fingerprint(file)


def _find_indexed(connection: sqlite3.Connection, path: Path, key: str) -> str | None:
    row = connection.execute(
        "SELECT content FROM pictures JOIN places ON places.picture = pictures.id JOIN files ON files.id = places.file "
        "JOIN folders ON folders.id = files.folder WHERE path = ? AND files.name = ? AND entry = ?",
        (str(path.parent), path.name, key),
    ).fetchone()
    return None if row is None else str(row[0])


def fuse(by_words: Sequence[MatchedPicture], by_embedding: Sequence[int]) -> list[MatchedPicture]:
    """Exact hits first, as they are; the others by the sum of what their places in both orders are worth."""
    exact = [hit for hit in by_words if hit.match == _FIRST]
    rest = [hit for hit in by_words if hit.match != _FIRST]
    taken = {hit.picture for hit in exact}
    nearest = [picture for picture in by_embedding if picture not in taken]
    points: dict[int, float] = {}
    for order in ([hit.picture for hit in rest], nearest):
        for place, picture in enumerate(order):
            points[picture] = points.get(picture, 0.0) + 1 / (_SMOOTHING + place)
    matches = {hit.picture: hit for hit in rest}
    ranked = sorted(points, key=lambda picture: -points[picture])
    return exact + [matches.get(picture, MatchedPicture(picture, "meaning")) for picture in ranked]
