"""The files of the index: connections, transactions, and what is said when one cannot be used.

Owns ``search.sqlite3``, which can always be made again, and ``tags.sqlite3``, what people told, which cannot. All calls
block: make them in threads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drawthings_mcp.databases import BUSY_TIMEOUT, Forms, migrate, transaction, use_wal
from drawthings_mcp.errors import StorageError
from drawthings_mcp.search.migrations import INDEX, TAGS

INDEX_NAME = "search.sqlite3"
TAGS_NAME = "tags.sqlite3"
_CACHE_KIB = 32 * 1024
"""Memory for pages of the index: its upper levels, which every query passes, at a million pictures."""
_COMPANIONS = ("", "-wal", "-shm")


class DamagedIndexError(StorageError):
    """The index was damaged and has been removed; indexing again makes it anew."""


class Database:
    """One SQLite file of a state folder; both are created on first use.

    Every use opens a connection of its own, so that it works from any thread and from several processes.

    Raises
    ------
    StorageError
        Any method: the database cannot be opened, read or written.
    """

    def __init__(self, path: Path, forms: Forms, what: str, *, disposable: bool) -> None:
        self.path = path
        self._forms = forms
        self._what = what
        self._disposable = disposable

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection in autocommit mode."""
        with self.translate_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # The thread that ends a search may be another than the one that began it; never two at once.
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
            try:
                connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                # What a power cut takes can be indexed again.
                connection.execute("PRAGMA synchronous = NORMAL")
                use_wal(connection)
                migrate(connection, self._forms, self._what)
                yield connection
            finally:
                connection.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction: everything is written, or nothing."""
        with self.read() as connection, transaction(connection):
            yield connection

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """For what is asked of this database while another one is in use."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"{self.path} cannot be used: {error}. Close programs that hold it, free disk space, check its "
                "permissions, then try again; no picture was touched."
            ) from error
        except sqlite3.DatabaseError as error:
            # Its subclasses are mistakes in this room; a damaged file is reported as the class itself.
            if type(error) is not sqlite3.DatabaseError:
                raise
            self._report_damage(error)
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise StorageError(
                f"{self.path} cannot be written: {error.strerror}. Set DRAWTHINGS_STATE_DIR to a folder of yours."
            ) from error

    def _report_damage(self, error: sqlite3.DatabaseError) -> None:
        if not self._disposable:
            raise StorageError(
                f"{self.path} is damaged: {error}. Restore it from a backup, or rename it and try again."
            ) from error
        for companion in _COMPANIONS:
            self.path.with_name(self.path.name + companion).unlink(missing_ok=True)
        raise DamagedIndexError(
            f"The search index {self.path} was damaged and has been removed; search again and it is made anew."
        ) from error


def find_last_number(connection: sqlite3.Connection, table: str) -> int:
    """The highest number that a table ever gave to a row; lower than one that was seen when the index is another."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 0 if row is None else int(row[0])


def open_index(state_dir: Path) -> Database:
    """The index of a state folder."""
    return Database(state_dir / INDEX_NAME, INDEX, "search index", disposable=True)


def open_tags(state_dir: Path) -> Database:
    """The tags of a state folder."""
    return Database(state_dir / TAGS_NAME, TAGS, "file of tags", disposable=False)
