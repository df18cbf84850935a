"""One way into a project that the app may have open; nothing next to it is created, changed or locked for long.

A project in WAL mode is three files, and how it is opened decides whether new pictures are seen
and whether files are left behind (formats §5.1):

===========================  ==============================================================================
next to the file             opened as
===========================  ==============================================================================
``-wal`` and ``-shm``        read-only with the shared memory read-only too: the newest state, locks as usual
no ``-wal``, or an empty one immutable: all is in the file; that it did not change meanwhile is checked
``-wal`` without ``-shm``    SQLite would create the missing file: a link to the project and a copy of its
                             ``-wal`` in a temporary folder are opened instead
===========================  ==============================================================================
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from drawthings_mcp.errors import InvalidInputError, StorageError
from drawthings_mcp.search.source import open_listed
from drawthings_mcp.validation import shorten

_SIGNATURE = b"SQLite format 3\0"
_READ_VERSION_AT = 19
_WAL_VERSION = 2
_MAX_BLOB = 1 << 30
"""Bytes; the largest picture with alpha takes half of it."""
_PRIMARY_CODE = 0xFF
_BUSY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL))
_MOVED = frozenset((sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR))
"""What SQLite says when the files next to a project come or go while it is opened."""

ProjectStamp = tuple[tuple[int, int], ...]


class Moved(Exception):  # noqa: N818 - a signal between two functions of this package, not an error of its own
    """The files next to a project changed their roles: open it again."""


class ProjectConnection:
    """An open project; raises ``InvalidInputError`` for a file that is no SQLite database.

    ``timeout`` is the seconds to wait for a lock. With ``copied`` a copy of the log is opened in any case: not every
    file system can share memory.
    """

    def __init__(self, path: Path, timeout: float, *, copied: bool = False) -> None:
        self._path = path.resolve()  # SQLite follows links too before it looks for the files next to it
        self._stack = ExitStack()
        self._checked: ProjectStamp | None = None
        try:
            with translate_database_errors(path):
                self._file = self._stack.enter_context(open_listed(path))
                self._database = self._connect(_check_signature(self._file, path), timeout, copied)
                self._stack.callback(self._database.close)
                # SQLite opens by name itself: what it opened must be what was checked.
                if not os.path.samestat(os.fstat(self._file.fileno()), self._path.lstat()):
                    raise Moved
        except BaseException:
            self._stack.close()
            raise

    def _connect(self, is_wal: bool, timeout: float, copied: bool) -> sqlite3.Connection:
        log, shared = (self._path.with_name(self._path.name + suffix) for suffix in ("-wal", "-shm"))
        has_log = log.exists() and log.stat().st_size > 0
        if not is_wal or (log.exists() and shared.exists() and not copied):
            return _open(self._path, "mode=ro&readonly_shm=1", timeout)
        if not has_log:
            self._checked = read_stamp(self._path)
            return _open(self._path, "immutable=1", timeout)
        return _open(self._copy(log), "mode=ro", timeout)

    def _copy(self, log: Path) -> Path:
        """A place of its own for a project and its log: no bytes of the project are copied where a link will do."""
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="drawthings-project-")))
        target = folder / "project.sqlite3"
        before = read_stamp(self._path)
        try:
            os.link(self._path, target)
        except OSError:
            self._file.seek(0)
            with target.open("wb") as copy:
                shutil.copyfileobj(self._file, copy)
        else:
            if not os.path.samestat(os.fstat(self._file.fileno()), target.lstat()):
                raise Moved
        shutil.copyfile(log, folder / "project.sqlite3-wal")
        if read_stamp(self._path) != before:
            raise Moved
        return target

    def fetch(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        """All rows of a statement, in a transaction of its own; raises ``Moved`` when to open the project again."""
        with translate_database_errors(self._path):
            try:
                rows = self._database.execute(statement, values).fetchall()
            except sqlite3.DatabaseError:
                if self._is_stale():
                    raise Moved from None
                raise
            if self._is_stale():
                raise Moved
            return rows

    def _is_stale(self) -> bool:
        """Whether a project without locks was written meanwhile."""
        return self._checked is not None and read_stamp(self._path) != self._checked

    def close(self) -> None:
        """Close the database and remove what was copied."""
        self._stack.close()


def read_stamp(path: Path) -> ProjectStamp:
    """Time and size of a project and of its log: the same as long as nothing was written."""
    places = (path, path.with_name(f"{path.name}-wal"))
    found = (place.stat() if place.exists() else None for place in places)
    return tuple((state.st_mtime_ns, state.st_size) if state and state.st_size else (0, 0) for state in found)


@contextmanager
def translate_database_errors(path: Path) -> Iterator[None]:
    """SQLite's errors and the file system's as this package's."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
        if code in _MOVED:
            raise Moved from error
        if code in _BUSY:
            raise StorageError(
                f"The project {path} is locked by another program; try again when Draw Things is done with it."
            ) from error
        raise StorageError(
            f"The project {path} cannot be read ({shorten(str(error))}); open it in Draw Things to repair it."
        ) from error
    except UnicodeDecodeError as error:  # what SQLite quotes of a damaged schema need not be text
        raise StorageError(
            f"The project {path} cannot be read (its schema is damaged); open it in Draw Things to repair it."
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"The project {path} cannot be read: {reason}. Check the path and its permissions."
        ) from error


def _check_signature(file: BinaryIO, path: Path) -> bool:
    """Whether the database is in WAL mode."""
    head = file.read(_READ_VERSION_AT + 1)
    if not head.startswith(_SIGNATURE) or len(head) <= _READ_VERSION_AT:
        raise InvalidInputError(
            f"{path} is not a project of Draw Things; those are SQLite files in its Documents folder."
        )
    return head[_READ_VERSION_AT] == _WAL_VERSION


def _open(path: Path, options: str, timeout: float) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?{options}"
    # Every call is made under the caller's lock; which thread makes it does not matter.
    database = sqlite3.connect(uri, timeout=timeout, isolation_level=None, check_same_thread=False, uri=True)
    try:
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_BLOB)
        # A file from elsewhere gets no functions to call and no damaged page to trust.
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("PRAGMA cell_size_check = ON")
        database.execute("PRAGMA query_only = ON")
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        database.close()
        raise
    return database
