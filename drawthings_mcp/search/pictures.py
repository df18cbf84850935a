"""Pictures in the index: rows, postings, vocabulary, in step with each other.

The tables ``pictures``, ``places``, ``names`` and ``postings``, within the caller's transaction. Byte-identical copies
are one picture with several places.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

from drawthings_mcp.databases import transaction
from drawthings_mcp.search.source import Entry
from drawthings_mcp.search.words import count_words, facet, fold_name, join_facets, list_size_facets, split_words

ReadTags: TypeAlias = Callable[[str], list[str]]
"""Content → tags."""

MAX_WORDS = 2000
"""Words of one picture that are indexed: ten times the longest prompts that models read."""
_MAX_TEXT = 20_000
SLOTS = 1 << 12
"""Numbers per second of the calendar."""
_LAST_SECOND = 1 << 33
"""The year 2242: dates beyond are mistakes."""


def number_of(moment: datetime) -> int:
    """The lowest number of pictures made at a moment."""
    return min(max(0, int(moment.timestamp())), _LAST_SECOND) * SLOTS


_PLACES = """
    SELECT places.name, roots.id, roots.source FROM places JOIN files ON files.id = places.file
    JOIN folders ON folders.id = files.folder JOIN roots ON roots.id = folders.root
    WHERE picture = ? ORDER BY places.file
"""


class _Row(NamedTuple):
    """What is kept of a picture, and what of it stands in the postings now."""

    content: str
    prompt: str
    model: str
    loras: str
    width: int
    height: int
    seed: str
    dialect: str
    details: str
    words: str
    facets: str


@contextmanager
def write_pictures(connection: sqlite3.Connection, tags: ReadTags) -> Iterator[PictureWriter]:
    """A transaction in which pictures are added and removed."""
    with transaction(connection):
        writer = PictureWriter(connection, tags)
        yield writer
        writer.finish()


class PictureWriter:
    """Adds and removes pictures within a transaction; see ``write_pictures``.

    Tags of a content are asked for within the transaction too, so that one given meanwhile is not missed.
    """

    def __init__(self, connection: sqlite3.Connection, tags: ReadTags) -> None:
        self._connection = connection
        self._tags = tags
        self._changes: Counter[str] = Counter()
        self._posted: dict[int, str] = {}
        self._names: dict[tuple[str, str], int] = {}

    def write_file(self, file: int, entries: Iterable[Entry]) -> None:
        """Make the pictures of a file those that were found in it now."""
        left = self._list_places(file)
        for entry in entries:
            self._write_entry(file, entry, left.pop(entry.key, None))
        self._remove_places(file, left)

    def remove_file(self, file: int) -> None:
        """Forget a file, and its pictures unless they have another place."""
        self._remove_places(file, self._list_places(file))
        self._connection.execute("DELETE FROM files WHERE id = ?", (file,))

    def refresh(self, picture: int) -> None:
        """Bring a picture's words and filters in step with its places and tags; forget it when it has no place."""
        row = self._connection.execute(f"SELECT {', '.join(_Row._fields)} FROM pictures WHERE id = ?", (picture,))
        found = row.fetchone()
        if found is None:
            return
        known = _Row(*found)
        places = self._connection.execute(_PLACES, (picture,)).fetchall()
        if not places:
            self._forget(picture, known)
            return
        loras = [name for name, _ in json.loads(known.loras)]
        names = dict.fromkeys(name for name, _, _ in places)
        words = _join_words(known.prompt, *names, known.model, *loras, known.details)
        facets = join_facets(
            [
                *self._list_facets(known, loras),
                *(facet("root", root) for _, root, _ in places),
                *(facet("source", source) for _, _, source in places),
                *(facet("tag", tag) for tag in self._tags(known.content)),
            ]
        )
        self._repost(picture, known, words, facets)

    def finish(self) -> None:
        """Write what was gathered."""
        # In order: for each number lower than the last, the index would begin another of its segments.
        self._connection.executemany("INSERT INTO postings (rowid, words) VALUES (?, ?)", sorted(self._posted.items()))
        self._posted.clear()
        changes = Counter({word: change for word, change in self._changes.items() if change})
        self._changes.clear()
        count_words(self._connection, changes)

    def _list_places(self, file: int) -> dict[str, int]:
        return dict(self._connection.execute("SELECT entry, picture FROM places WHERE file = ?", (file,)).fetchall())

    def _remove_places(self, file: int, places: dict[str, int]) -> None:
        for key in places:
            self._connection.execute("DELETE FROM places WHERE file = ? AND entry = ?", (file, key))
        for picture in set(places.values()):
            self.refresh(picture)

    def _write_entry(self, file: int, entry: Entry, before: int | None) -> None:
        row = self._connection.execute("SELECT id FROM pictures WHERE content = ?", (entry.content,)).fetchone()
        picture = self._insert(entry) if row is None else int(row[0])
        if picture == before:
            return  # the many pictures of a project that one more was added to
        self._connection.execute(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", (file, entry.key, picture, _clean(entry.name))
        )
        self.refresh(picture)
        if before is not None:
            self.refresh(before)

    def _insert(self, entry: Entry) -> int:
        metadata = entry.metadata
        created = metadata.created or entry.modified
        if created.tzinfo is None:
            created = created.astimezone()
        picture = self._take_number(created)
        self._connection.execute(
            "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '')",
            (
                picture,
                entry.content,
                created.astimezone(UTC).isoformat(timespec="seconds"),
                _clean(metadata.prompt)[:_MAX_TEXT],
                _clean(metadata.model),
                json.dumps([[_clean(name), weight] for name, weight in metadata.loras]),
                metadata.width,
                metadata.height,
                ""
                if metadata.seed is None
                else str(metadata.seed),  # some programs' seeds have 64 bits, without a sign
                metadata.dialect,
                _clean(metadata.camera),
            ),
        )
        return picture

    def _take_number(self, created: datetime) -> int:
        """A free number; those of one second are followed by those of the next."""
        start = number_of(created)
        while True:
            (last,) = self._connection.execute(
                "SELECT max(id) FROM pictures WHERE id >= ? AND id < ?", (start, start + SLOTS)
            ).fetchone()
            if last is None:
                return start
            if last + 1 < start + SLOTS:
                return int(last) + 1
            start += SLOTS

    def _list_facets(self, known: _Row, loras: list[str]) -> list[str]:
        facets = list_size_facets(known.width, known.height)
        if known.model:
            facets.append(facet("name", self._number_name("model", known.model)))
        facets += [facet("name", self._number_name("lora", lora)) for lora in loras]
        if known.seed:
            facets.append(facet("seed", known.seed))
        return [*facets, facet("source", known.dialect)] if known.dialect else facets

    def _number_name(self, kind: str, name: str) -> int:
        if (kind, name) not in self._names:
            self._connection.execute(
                "INSERT OR IGNORE INTO names (kind, name, folded) VALUES (?, ?, ?)", (kind, name, fold_name(name))
            )
            row = self._connection.execute("SELECT id FROM names WHERE kind = ? AND name = ?", (kind, name))
            self._names[kind, name] = int(row.fetchone()[0])
        return self._names[kind, name]

    def _repost(self, picture: int, known: _Row, words: str, facets: str) -> None:
        if (words, facets) == (known.words, known.facets):
            return
        if known.facets:
            self._unpost(picture, known)
        self._connection.execute("UPDATE pictures SET words = ?, facets = ? WHERE id = ?", (words, facets, picture))
        self._posted[picture] = f"{words} {facets}"
        self._changes.update(set(words.split()))

    def _unpost(self, picture: int, known: _Row) -> None:
        if self._posted.pop(picture, None) is None:
            self._connection.execute(
                "INSERT INTO postings (postings, rowid, words) VALUES ('delete', ?, ?)",
                (picture, f"{known.words} {known.facets}"),
            )
        self._changes.subtract(set(known.words.split()))

    def _forget(self, picture: int, known: _Row) -> None:
        self._unpost(picture, known)
        for table, column in (("pictures", "id"), ("looks", "picture"), ("meanings", "picture")):
            self._connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (picture,))


def _join_words(*texts: str) -> str:
    words = [word for text in texts for word in split_words(text)]
    return " ".join(words[:MAX_WORDS])


def _clean(text: str) -> str:
    """Halves of surrogate pairs, which names and JSON can contain and a database cannot, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
