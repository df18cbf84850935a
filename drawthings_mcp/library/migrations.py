"""The numbered forms of the catalog's database.

Owns its tables. A migration that has been released is never changed; new ones are added at the end.
"""

from __future__ import annotations

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE numbers (kind TEXT PRIMARY KEY, last INTEGER NOT NULL)",
        """
        CREATE TABLE images (
            kind TEXT NOT NULL,
            number INTEGER NOT NULL,
            path TEXT NOT NULL,
            created TEXT NOT NULL,
            prompt TEXT NOT NULL,
            negative_prompt TEXT NOT NULL,
            seed INTEGER,
            model TEXT NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            server TEXT NOT NULL,
            simulated INTEGER NOT NULL,
            PRIMARY KEY (kind, number)
        )
        """,
    ),
    (
        "ALTER TABLE images ADD COLUMN sha256 TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE images ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE images ADD COLUMN format TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE images ADD COLUMN configuration TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE images ADD COLUMN job TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE images ADD COLUMN origin TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX images_by_path ON images (path)",
        "CREATE INDEX images_by_sha256 ON images (sha256) WHERE sha256 <> ''",
        "CREATE INDEX images_by_origin ON images (origin) WHERE origin <> ''",
        """
        CREATE TABLE parents (
            child TEXT NOT NULL,
            place INTEGER NOT NULL,
            role TEXT NOT NULL,
            parent TEXT NOT NULL,
            PRIMARY KEY (child, place)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX parents_by_parent ON parents (parent)",
        "CREATE TABLE reservations (id TEXT PRIMARY KEY, folder TEXT NOT NULL, since TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE previews (sha256 TEXT PRIMARY KEY, image TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE sights (client TEXT PRIMARY KEY, seen INTEGER NOT NULL, at TEXT NOT NULL) WITHOUT ROWID",
    ),
)
