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
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from drawthings_mcp.databases import transaction
from drawthings_mcp.search.source import Entry
from drawthings_mcp.search.words import count_words, facet, fold_name, join_facets, shape_of, split_words

if TYPE_CHECKING:
    from drawthings_mcp.metadata.dialect import ImageMetadata

ReadTags: TypeAlias = Callable[[str], list[str]]
"""Content → tags."""

MAX_WORDS = 2000
"""Words of one picture that are indexed: ten times the longest prompts that models read."""
_MAX_TEXT = 20_000
SLOTS = 1 << 12
"""Numbers per second of the calendar."""
_MAX_STEPS = 100_000
_LAST_SECOND = 1 << 33
"""The year 2242: dates beyond are mistakes."""


def number_of(moment: datetime) -> int:
    """The lowest number of pictures made at a moment."""
    return min(max(0, int(moment.timestamp())), _LAST_SECOND) * SLOTS


_PLACES = """
    SELECT places.name, roots.id, roots.source, folders.path, roots.path
    FROM places JOIN files ON files.id = places.file JOIN folders ON folders.id = files.folder
    JOIN roots ON roots.id = folders.root WHERE picture = ? ORDER BY places.file
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
    negative: str | None
    steps: int | None
    cfg: float | None
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
        folders = dict.fromkeys(folder for *_, path, root in places for folder in _list_folders(path, root))
        names = dict.fromkeys([*(name for name, *_ in places), *(name for _, name in folders)])
        words = _join_words(known.prompt, *names, known.model, *loras, known.details)
        facets = join_facets(
            [
                *self._list_facets(known, loras),
                *(self._facet_of("folder", folder) for folder, _ in folders),
                *(facet("root", root) for _, root, *_ in places),
                *(facet("source", source) for _, _, source, *_ in places),
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
        row = self._connection.execute(
            "SELECT id, negative FROM pictures WHERE content = ?", (entry.content,)
        ).fetchone()
        picture = self._insert(entry) if row is None else int(row[0])
        is_complete = row is None or row[1] is not None
        if not is_complete:
            self._connection.execute(
                "UPDATE pictures SET negative = ?, steps = ?, cfg = ? WHERE id = ?",
                (*_list_numbers(entry.metadata), picture),
            )
        if picture == before and is_complete:
            return  # the many pictures of a project that one more was added to
        self._connection.execute(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", (file, entry.key, picture, _clean(entry.name))
        )
        self.refresh(picture)
        if before not in (None, picture):
            self.refresh(before)

    def _insert(self, entry: Entry) -> int:
        metadata = entry.metadata
        created = metadata.created or entry.modified
        if created.tzinfo is None:
            created = created.astimezone()
        picture = self._take_number(created)
        self._connection.execute(
            "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', ?, ?, ?)",
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
                *_list_numbers(metadata),
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
        """What the picture itself is filtered by, wherever it is."""
        numbers = {"steps": known.steps, "cfg": known.cfg}
        facets = [self._facet_of(kind, f"{value:g}") for kind, value in numbers.items() if value]
        facets += [self._facet_of("model", known.model)] if known.model else []
        facets += [self._facet_of("lora", lora) for lora in loras]
        facets += [facet("negative", word) for word in (known.negative or "").split()]
        if known.width > 0 and known.height > 0:
            facets += [self._facet_of("size", f"{known.width}x{known.height}")]
            facets += [facet("shape", shape_of(known.width, known.height))]
        if known.seed:
            facets.append(facet("seed", known.seed))
        return [*facets, facet("source", known.dialect)] if known.dialect else facets

    def _facet_of(self, kind: str, name: str) -> str:
        return facet("name", self._number_name(kind, name))

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
        self._unpost(picture, known)
        self._connection.execute("UPDATE pictures SET words = ?, facets = ? WHERE id = ?", (words, facets, picture))
        self._posted[picture] = f"{words} {facets}"
        self._changes.update(set(words.split()))

    def _unpost(self, picture: int, known: _Row) -> None:
        if not known.facets:
            return  # it was never posted
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


def _list_numbers(metadata: ImageMetadata) -> tuple[str, int | None, float | None]:
    """The words of the negative prompt, steps, and guidance scale."""
    words = dict.fromkeys(split_words(metadata.negative_prompt[:_MAX_TEXT])[:MAX_WORDS])
    steps = metadata.steps if metadata.steps is not None and 0 < metadata.steps <= _MAX_STEPS else None
    return " ".join(words), steps, metadata.guidance_scale


@lru_cache(maxsize=1024)
def _list_folders(folder: str, root: str) -> tuple[tuple[str, str], ...]:
    """Path and name of a folder and of those around it up to the root, which is one of them."""
    around = [one for one in (Path(folder), *Path(folder).parents) if one.is_relative_to(root)]
    return tuple((str(one), one.name) for one in around)


def _join_words(*texts: str) -> str:
    words = [word for text in texts for word in split_words(text)]
    return " ".join(words[:MAX_WORDS])


def _clean(text: str) -> str:
    """Halves of surrogate pairs, which names and JSON can contain and a database cannot, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
