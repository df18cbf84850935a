"""SQLite as this package uses it: many readers beside one writer, numbered forms, writes that are whole.

Owns what every database of the state folder has in common. Knows no tables.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from drawthings_mcp.errors import StorageError

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process; a write takes milliseconds."""
_BUSY_PAUSE = 0.01
_PRIMARY_CODE = 0xFF
"""The part of an SQLite error code that tells the kind of error."""

Forms = Sequence[Sequence[str]]
"""Statements that lead from each form of a database to the next; which one it has is SQLite's ``user_version``."""


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Writes that happen together or not at all, after all others.

    Parameters
    ----------
    connection
        In autocommit mode: the module's own transactions begin too late for reading before writing.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk ends the transaction by itself.
        if connection.in_transaction:
            connection.rollback()
        raise


def use_wal(connection: sqlite3.Connection) -> None:
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


def migrate(connection: sqlite3.Connection, forms: Forms, what: str) -> None:
    """Bring a database to its newest form; does nothing when it has it.

    Parameters
    ----------
    connection
        In autocommit mode.
    what
        The database, for errors: ``catalog``.

    Raises
    ------
    StorageError
        The database was written by a newer version of this package.
    """
    if _get_version(connection) == len(forms):
        return
    use_wal(connection)
    with transaction(connection):
        # Read again: another process may have been faster.
        _apply(connection, forms, _get_version(connection), what)


def _get_version(connection: sqlite3.Connection) -> int:
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    return int(version)


def _apply(connection: sqlite3.Connection, forms: Forms, version: int, what: str) -> None:
    if version > len(forms):
        raise StorageError(
            f"The {what} was written by a newer drawthings-mcp (form {version}, this one knows {len(forms)}). "
            "Update drawthings-mcp."
        )
    for statements in forms[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(forms)}")
