"""The SQLite file of a state folder: opened for each call, one writer at a time, errors that say what to do.

Owns connections, transactions and the lock under which the file is replaced. Knows no pictures.

Every call opens a connection of its own, so that a database can be used from any thread and from several
processes. All of them block: call them in threads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drawthings_mcp.databases import BUSY_TIMEOUT, migrate, transaction
from drawthings_mcp.errors import CatalogDamagedError, StorageError
from drawthings_mcp.library.migrations import MIGRATIONS

FILE_NAME = "catalog.sqlite3"
COMPANIONS = ("-wal", "-shm")
"""Endings of the files that SQLite keeps beside a database in use."""


class Database:
    """One database file; it and its folder are created on first use.

    Parameters
    ----------
    lock
        The file that is locked while the database is open, so that nobody replaces it; None for one that nobody else
        knows of.

    Raises
    ------
    CatalogDamagedError
        Any method: the file is no sound database. It is left as it is.
    StorageError
        Any method: it cannot be opened or written, or is of a newer version.
    """

    def __init__(self, path: Path, lock: Path | None) -> None:
        self.path = path
        self._lock = lock

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection in autocommit mode to a database of the newest form."""
        with translate_errors(self.path), self._hold_lock():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None)
            try:
                connection.row_factory = sqlite3.Row
                migrate(connection, MIGRATIONS, "catalog")
                yield connection
            finally:
                connection.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A connection whose writes happen together or not at all, after all others."""
        with self.open() as connection, transaction(connection):
            yield connection

    @contextmanager
    def _hold_lock(self) -> Iterator[None]:
        with contextlib.nullcontext() if self._lock is None else hold_lock(self._lock, exclusive=False):
            yield


@contextmanager
def hold_lock(path: Path, *, exclusive: bool) -> Iterator[None]:
    """Holds a lock that ends with the process at the latest.

    Many may share it, an exclusive holder is alone. On disks without locks nothing is held: what it protects is the
    replacement of a broken database while another process writes to it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Errors of the file system and of SQLite as this package's."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"The catalog {path} cannot be written: {error.strerror}. Set DRAWTHINGS_STATE_DIR to a folder of yours."
        ) from error
    except sqlite3.OperationalError as error:
        raise StorageError(
            f"The catalog {path} cannot be used: {error}. Close programs that hold it, free disk space, check its "
            "permissions, then try again; nothing was lost."
        ) from error
    except sqlite3.DatabaseError as error:
        # Its subclasses are mistakes in this module; a damaged file is reported as the class itself.
        if type(error) is not sqlite3.DatabaseError:
            raise
        raise CatalogDamagedError(
            f"The catalog {path} is damaged: {error}. Your pictures are safe in their folders. Restart drawthings-mcp: "
            "the file is then set aside and the catalog rebuilt, with the ids as they were."
        ) from error
