"""The catalog's database: its tables, and what is said when it is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from drawthings_mcp.databases import Database, Migrations
from drawthings_mcp.errors import CatalogDamagedError

if TYPE_CHECKING:
    import sqlite3

FILE_NAME = "catalog.sqlite3"

_MIGRATIONS: Migrations = (
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
    (
        """
        CREATE TABLE paces (
            server TEXT NOT NULL,
            model TEXT NOT NULL,
            pixel_count INTEGER NOT NULL,
            step_seconds REAL NOT NULL,
            at TEXT NOT NULL,
            PRIMARY KEY (server, model, pixel_count)
        ) WITHOUT ROWID
        """,
    ),
)


def build_database(path: Path, lock: Path | None) -> Database:
    """A catalog's database, shared with those that hold the same lock."""
    return Database(path, _MIGRATIONS, "catalog", lock=lock, has_named_columns=True, report_damage=_report_damage)


def _report_damage(path: Path, error: sqlite3.DatabaseError) -> CatalogDamagedError:
    return CatalogDamagedError(
        f"The catalog {path} is damaged: {error}. Your pictures are safe in their folders. Restart drawthings-mcp: "
        "the file is then set aside and the catalog rebuilt, with the ids as they were."
    )
