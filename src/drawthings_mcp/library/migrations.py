"""The numbered forms of the catalog's database.

Owns its tables. A migration that has been released is never changed; new ones are added at the end.
"""

from __future__ import annotations

import sqlite3
import time

from drawthings_mcp.errors import StorageError

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process; a write takes milliseconds."""
_BUSY_PAUSE = 0.01
_PRIMARY_CODE = 0xFF
"""The part of an SQLite error code that tells the kind of error."""

_MIGRATIONS: tuple[tuple[str, ...], ...] = (
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
"""Statements that lead from each version to the next; the version is SQLite's ``user_version``."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database to the newest form; does nothing when it has it.

    Parameters
    ----------
    connection
        In autocommit mode.

    Raises
    ------
    StorageError
        The database was written by a newer version of this package.
    """
    if _get_version(connection) == len(_MIGRATIONS):
        return
    _use_wal(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again: another process may have been faster.
        _apply(connection, _get_version(connection))
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _use_wal(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work at once; the file keeps this mode."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # For this one change SQLite itself does not wait for others.
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_PAUSE)
        else:
            return


def _get_version(connection: sqlite3.Connection) -> int:
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    return int(version)


def _apply(connection: sqlite3.Connection, version: int) -> None:
    if version > len(_MIGRATIONS):
        raise StorageError(
            f"The catalog was written by a newer drawthings-mcp (form {version}, this one knows {len(_MIGRATIONS)}). "
            "Update drawthings-mcp."
        )
    for statements in _MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
