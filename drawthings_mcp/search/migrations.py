"""The numbered forms of the index's database.

Owns its tables. A migration that has been released is never changed; new ones are added at the end. Nothing in this
database is the only copy of anything: tags, which are, have a file of their own.
"""

from __future__ import annotations

INDEX: tuple[tuple[str, ...], ...] = (
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
TAGS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE tags (content TEXT NOT NULL, tag TEXT NOT NULL, shown TEXT NOT NULL, "
        "PRIMARY KEY (content, tag)) WITHOUT ROWID",
        "CREATE TABLE folders (path TEXT PRIMARY KEY) WITHOUT ROWID",
    ),
)
"""Statements that lead from each version to the next; the version is SQLite's ``user_version``."""
