"""The files of the index: ``search.sqlite3``, which can always be made again, and ``tags.sqlite3``, which cannot."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from drawthings_mcp.databases import COMPANIONS, Database, Migrations
from drawthings_mcp.errors import StorageError

INDEX_NAME = "search.sqlite3"
TAGS_NAME = "tags.sqlite3"
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
)
_TAGS: Migrations = (
    (
        "CREATE TABLE tags (content TEXT NOT NULL, tag TEXT NOT NULL, shown TEXT NOT NULL, "
        "PRIMARY KEY (content, tag)) WITHOUT ROWID",
        "CREATE TABLE folders (path TEXT PRIMARY KEY) WITHOUT ROWID",
    ),
)


class DamagedIndexError(StorageError):
    """The index was damaged and has been removed; indexing again makes a new one."""


def open_index(state_dir: Path) -> Database:
    """The index of a state folder."""
    path = state_dir / INDEX_NAME
    return Database(path, _INDEX, "search index", pragmas=_PRAGMAS, report_damage=_remove_index)


def open_tags(state_dir: Path) -> Database:
    """The tags of a state folder."""
    return Database(state_dir / TAGS_NAME, _TAGS, "tag file", pragmas=_PRAGMAS, report_damage=_report_tags)


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


def _report_tags(path: Path, error: sqlite3.DatabaseError) -> StorageError:
    return StorageError(
        f"The tag file {path} is damaged: {error}. Restore it from a backup, or rename it and try again."
    )
