"""SQLite databases of the state folder: many readers, one writer, numbered migrations, errors with a next step."""

from __future__ import annotations

import fcntl
import itertools
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from drawthings_mcp.errors import StorageError
from drawthings_mcp.faces import Phrase, Step, Text, say
from drawthings_mcp.private import OTHERS, open_private, prepare_state

COMPANIONS = ("-wal", "-shm")
"""Endings of the files that SQLite keeps next to a database in use."""
_BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process; a write takes milliseconds."""
_BUSY_PAUSE = 0.01
_PRIMARY_CODE = 0xFF
"""The part of an SQLite error code that tells the kind of error."""

_UNDECODABLE = "Could not decode to UTF-8"
"""What the module says of a column that holds no text any more."""

Migrations: TypeAlias = Sequence[Sequence[str]]
"""The statements that lead from each version to the next; the version is SQLite's ``user_version``.

A migration that has been released is never changed; new ones are added at the end.
"""


class Database:
    """One SQLite file; it and its folder are created on first use.

    Every use opens a connection of its own, so that it works from any thread and from several processes. All of them
    block: call them in threads.

    Parameters
    ----------
    name
        What errors call it: ``catalog``.
    lock
        The file that is locked while the database is open, so that nobody replaces it; None for one that nobody
        replaces.
    pragmas
        Settings of each connection, as ``synchronous = NORMAL``.
    has_named_columns
        Whether rows are ``sqlite3.Row`` instead of tuples.
    report_damage
        The error for a file that is no sound database; may do something about the file.

    Raises
    ------
    StorageError
        Any method: the database cannot be opened, read or written, is damaged, or is of a newer version.
    """

    def __init__(
        self,
        path: Path,
        migrations: Migrations,
        name: str,
        *,
        report_damage: Callable[[Path, sqlite3.DatabaseError], StorageError],
        lock: Path | None = None,
        pragmas: Sequence[str] = (),
        has_named_columns: bool = False,
    ) -> None:
        self.path = path
        self._migrations = migrations
        self._name = name
        self._report_damage = report_damage
        self._lock = lock
        self._pragmas = pragmas
        self._row_factory = sqlite3.Row if has_named_columns else None

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection in autocommit mode to a database of the newest version."""
        with self.translate_errors(), self._hold_lock():
            prepare_state(self.path.parent)
            # The thread that ends a search may be another than the one that began it; never two at once.
            connection = sqlite3.connect(self.path, _BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
            try:
                self._make_private(connection)
                connection.row_factory = self._row_factory
                for pragma in self._pragmas:
                    connection.execute(f"PRAGMA {pragma}")
                _migrate(connection, self._migrations, self._name)
                yield connection
            finally:
                connection.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A connection whose writes happen together or not at all, after all others."""
        with self.open() as connection, transaction(connection):
            yield connection

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Errors of the file system and of SQLite as this package's."""
        try:
            yield
        except OSError as error:
            raise StorageError(
                Text(
                    "The {name} {path} cannot be written: {reason}. {step:C}.",
                    name=Phrase(self._name),
                    path=self.path,
                    reason=say(error.strerror or error),
                    step=Step("set", setting="state_dir"),
                )
            ) from error
        except UnicodeDecodeError as error:  # what SQLite quotes of a damaged schema need not be text
            raise self._report_damage(self.path, sqlite3.DatabaseError("its schema is damaged")) from error
        except sqlite3.OperationalError as error:
            if _UNDECODABLE in str(error):
                raise self._report_damage(self.path, error) from error
            raise StorageError(
                f"The {self._name} {self.path} cannot be used: {error}. Close programs that hold it, free disk space, "
                "check its permissions, then try again; nothing was lost."
            ) from error
        except sqlite3.DatabaseError as error:
            # Its subclasses are mistakes in this package; a damaged file is reported as the class itself.
            if type(error) is not sqlite3.DatabaseError:
                raise
            raise self._report_damage(self.path, error) from error

    def _make_private(self, connection: sqlite3.Connection) -> None:
        """Close the file before anything is in it; SQLite gives its other files the mode of this one.

        By its name: to open and close it here would free the locks of all of this process's connections to it.
        """
        connection.execute("PRAGMA user_version")  # makes the file
        mode = self.path.stat().st_mode
        if mode & OTHERS:
            with suppress(OSError):
                self.path.chmod(stat.S_IMODE(mode) & ~OTHERS)

    @contextmanager
    def _hold_lock(self) -> Iterator[None]:
        with nullcontext() if self._lock is None else hold_lock(self._lock, exclusive=False):
            yield


@contextmanager
def hold_lock(path: Path, *, exclusive: bool) -> Iterator[None]:
    """Holds a lock that ends with the process at the latest.

    Many may share it, an exclusive holder is alone. On disks without locks nothing is held: what it protects is the
    replacement of a broken database while another process writes to it.
    """
    prepare_state(path.parent)
    handle = open_private(path, os.O_RDWR)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


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


def set_aside(path: Path) -> Path | None:
    """Give what is there of a damaged database another name; None when there is no database."""
    stem = f"{path.name}.damaged-{datetime.now():%Y%m%d-%H%M%S}"
    names = (f"{stem}{'' if number == 1 else f'-{number}'}" for number in itertools.count(1))
    aside = next(free for name in names if not (free := path.with_name(name)).exists())
    # Companions of the old file would be taken for those of the new one.
    for companion, ending in zip(list_companions(path), COMPANIONS, strict=True):
        if companion.exists():
            companion.rename(aside.with_name(aside.name + ending))
    return path.rename(aside) if path.exists() else None


def list_companions(path: Path) -> list[Path]:
    """The files that SQLite may keep next to a database."""
    return [path.with_name(path.name + ending) for ending in COMPANIONS]


def _use_wal(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work at once; the file keeps this mode."""
    deadline = time.monotonic() + _BUSY_TIMEOUT
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


def _migrate(connection: sqlite3.Connection, migrations: Migrations, name: str) -> None:
    """Bring a database to its newest version; does nothing when it has it."""
    if _get_version(connection) == len(migrations):
        return
    _use_wal(connection)
    with transaction(connection):
        # Read again: another process may have been faster.
        version = _get_version(connection)
        if version > len(migrations):
            raise StorageError(
                f"The {name} was written by a newer drawthings-mcp (version {version}, this one knows "
                f"{len(migrations)}). Update drawthings-mcp."
            )
        for statements in migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")


def _get_version(connection: sqlite3.Connection) -> int:
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    return int(version)
