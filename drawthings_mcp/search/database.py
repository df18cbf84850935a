"""The files of the index: ``search.sqlite3``, which can always be made again, and ``tags.sqlite3``, which cannot."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from drawthings_mcp.databases import COMPANIONS, Database, Migrations, hold_lock, set_aside
from drawthings_mcp.errors import StorageError

INDEX_NAME = "search.sqlite3"
TAGS_NAME = "tags.sqlite3"
_TAGS_LOCK = "tags.lock"
_logger = logging.getLogger(__name__)
_PRAGMAS = (
    # 32 MiB for the upper levels of the index, which every query passes, at a million pictures.
    f"cache_size = -{32 * 1024}",
    # What a power cut takes can be indexed again.
    "synchronous = NORMAL",
)

_INDEX: Migrations = (
    (
        # A folder that is searched, or a folder of project files.
        "CREATE TABLE roots (id INTEGER PRIMARY KEY, path TEXT NOT NULL, source TEXT NOT NULL, UNIQUE (path, source))",
        """
        CREATE TABLE folders (
            id INTEGER PRIMARY KEY,
            root INTEGER NOT NULL,
            path TEXT NOT NULL,
            UNIQUE (root, path)
        )
        """,
        """
        CREATE TABLE files (
            id INTEGER PRIMARY KEY,
            folder INTEGER NOT NULL,
            name TEXT NOT NULL,
            inode INTEGER NOT NULL,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            state INTEGER NOT NULL,
            owner TEXT,
            problem TEXT NOT NULL DEFAULT '',
            UNIQUE (folder, name)
        )
        """,
        "CREATE INDEX files_by_inode ON files (inode)",
        "CREATE INDEX pending_files ON files (mtime_ns) WHERE state = 0 AND owner IS NULL",
        "CREATE INDEX busy_files ON files (id) WHERE state = 3",
        "CREATE INDEX claimed_files ON files (mtime_ns) WHERE state = 0 AND owner IS NOT NULL",
        # The number of a picture grows with its date, so that the order of the index is that of time.
        """
        CREATE TABLE pictures (
            id INTEGER PRIMARY KEY,
            content TEXT UNIQUE NOT NULL,
            created TEXT NOT NULL,
            prompt TEXT NOT NULL,
            model TEXT NOT NULL,
            loras TEXT NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            seed TEXT NOT NULL,
            dialect TEXT NOT NULL,
            details TEXT NOT NULL,
            words TEXT NOT NULL,
            facets TEXT NOT NULL
        )
        """,
        # Where pictures are: several places for copies, several pictures in one project file.
        """
        CREATE TABLE places (
            file INTEGER NOT NULL,
            entry TEXT NOT NULL,
            picture INTEGER NOT NULL,
            name TEXT NOT NULL,
            PRIMARY KEY (file, entry)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX places_by_picture ON places (picture)",
        "CREATE TABLE names (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, folded TEXT NOT NULL, "
        "UNIQUE (kind, name))",
        "CREATE VIRTUAL TABLE postings USING fts5(words, content = '', columnsize = 0, tokenize = 'ascii')",
        "CREATE TABLE vocabulary (word TEXT PRIMARY KEY, pictures INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE trigrams (trigram TEXT NOT NULL, length INTEGER NOT NULL, word TEXT NOT NULL, "
        "PRIMARY KEY (trigram, length, word)) WITHOUT ROWID",
        # How pictures look; the number, which is never given again, tells which are new.
        """
        CREATE TABLE looks (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            picture INTEGER UNIQUE NOT NULL,
            features BLOB NOT NULL
        )
        """,
        """
        CREATE TABLE meanings (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            picture INTEGER UNIQUE NOT NULL,
            model TEXT NOT NULL,
            vector BLOB NOT NULL
        )
        """,
    ),
    (
        # What a picture was made with; nothing in a row that was written before, whose file is read again.
        "ALTER TABLE pictures ADD COLUMN negative TEXT",
        "ALTER TABLE pictures ADD COLUMN steps INTEGER",
        "ALTER TABLE pictures ADD COLUMN cfg REAL",
        "CREATE TABLE stems (stem TEXT NOT NULL, word TEXT NOT NULL, PRIMARY KEY (stem, word)) WITHOUT ROWID",
        "DELETE FROM vocabulary",
        "DELETE FROM trigrams",
        "INSERT INTO postings (postings) VALUES ('delete-all')",
        "UPDATE pictures SET words = '', facets = ''",
        "UPDATE files SET state = 0, owner = NULL",
    ),
)
_TAGS: Migrations = (
    (
        "CREATE TABLE tags (content TEXT NOT NULL, tag TEXT NOT NULL, shown TEXT NOT NULL, "
        "PRIMARY KEY (content, tag)) WITHOUT ROWID",
        "CREATE TABLE folders (path TEXT PRIMARY KEY) WITHOUT ROWID",
    ),
    # What the gallery does not show, by id; whether it was put in the bin.
    ("CREATE TABLE hidden (image TEXT PRIMARY KEY, binned TEXT NOT NULL) WITHOUT ROWID",),
)


class DamagedIndexError(StorageError):
    """A database of search was damaged and has been replaced or removed; what failed is to be done again."""


def open_index(state_dir: Path) -> Database:
    """The index of a state folder."""
    path = state_dir / INDEX_NAME
    return Database(path, _INDEX, "search index", pragmas=_PRAGMAS, report_damage=_remove_index)


def open_tags(state_dir: Path, report: Callable[[str], object] = _logger.warning) -> Database:
    """The tags of a state folder.

    Parameters
    ----------
    report
        Gets a sentence about what was lost when the file was damaged and had to be replaced.
    """
    path = state_dir / TAGS_NAME
    return Database(path, _TAGS, "tag file", pragmas=_PRAGMAS, report_damage=partial(_replace_tags, report))


def find_last_number(connection: sqlite3.Connection, table: str) -> int:
    """The highest number that a table ever gave to a row; lower than one that was seen when the index is another."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 0 if row is None else int(row[0])


def _remove_index(path: Path, _error: sqlite3.DatabaseError) -> DamagedIndexError:
    for ending in ("", *COMPANIONS):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    return DamagedIndexError(
        f"The search index {path} was damaged and has been removed; search again and a new one is made."
    )


def _replace_tags(report: Callable[[str], object], path: Path, error: sqlite3.DatabaseError) -> DamagedIndexError:
    """Set a damaged tag file aside and begin another one with what can still be read of it."""
    with hold_lock(path.with_name(_TAGS_LOCK), exclusive=True):
        if _is_damaged(path):  # otherwise another process was faster
            aside = set_aside(path)
            rows = {} if aside is None else {table: _read_rows(aside, table) for table in ("tags", "folders", "hidden")}
            with Database(path, _TAGS, "tag file", report_damage=lambda *_: StorageError(str(error))).write() as fresh:
                fresh.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?, ?)", rows.get("tags", ()))
                fresh.executemany("INSERT OR IGNORE INTO folders VALUES (?)", rows.get("folders", ()))
                fresh.executemany("INSERT OR IGNORE INTO hidden VALUES (?, ?)", rows.get("hidden", ()))
            kept = len(rows.get("tags", ()))
            report(
                f"The tag file {path} was damaged; {kept} tags could be read and are kept, others are lost. The "
                f"damaged file is now {aside}."
            )
    return DamagedIndexError(f"The tag file {path} was damaged and has been replaced; try again.")


def _is_damaged(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path, timeout=30.0)) as connection:
            return bool(connection.execute("PRAGMA quick_check").fetchone() != ("ok",))
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return True


def _read_rows(path: Path, table: str) -> list[tuple[str, ...]]:
    """The rows of a damaged file as far as they can be read."""
    rows: list[tuple[str, ...]] = []
    with suppress(sqlite3.DatabaseError, UnicodeDecodeError), closing(sqlite3.connect(path)) as connection:
        # One by one: what comes before the damage is kept.
        rows.extend(
            row for row in connection.execute(f"SELECT * FROM {table}") if all(isinstance(value, str) for value in row)
        )
    return rows
