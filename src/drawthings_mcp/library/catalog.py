"""The record of the user's pictures and their ids, in one SQLite file.

Owns the database and the numbering. Knows nothing of pixels and reads no picture.

Every call opens a connection of its own, so that a catalog can be used from any thread and from several
processes. All of them block: call them in threads.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from drawthings_mcp.errors import StorageError, UnknownNameError
from drawthings_mcp.library.migrations import BUSY_TIMEOUT, migrate

Kind: TypeAlias = Literal["a", "v", "p", "i"]
"""Brought in, generated variant, found by a search, made from others (contract §4)."""

FILE_NAME = "catalog.sqlite3"
_ID = re.compile(rf"([{''.join(get_args(Kind))}])([1-9][0-9]{{0,15}})")


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One picture.

    Attributes
    ----------
    id
        Kind and number, ``v3``; never given twice.
    path
        Absolute; the file may have been moved or deleted since.
    created
        Time zone aware, UTC.
    seed
        None for pictures that were not generated.
    width, height
        Pixels of the file.
    server
        Address of the server that made it; empty for pictures that were not generated.
    """

    id: str
    path: Path
    created: datetime
    prompt: str
    negative_prompt: str
    seed: int | None
    model: str
    width: int
    height: int
    server: str
    simulated: bool

    @property
    def kind(self) -> Kind:
        """The letter of the id."""
        kind: Kind = self.id[0]  # type: ignore[assignment]
        return kind


_COLUMNS = [field.name for field in fields(ImageRecord) if field.name != "id"]
_INSERT = (
    f"INSERT INTO images (kind, number, {', '.join(_COLUMNS)}) "
    f"VALUES (:kind, :number, {', '.join(f':{name}' for name in _COLUMNS)})"
)
_SELECT = f"SELECT kind || number AS id, {', '.join(_COLUMNS)} FROM images"


class ImageCatalog:
    """The catalog of a state folder; both are created on first use.

    Raises
    ------
    StorageError
        Any method: the database cannot be opened, written or understood. The file is never deleted.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE_NAME

    def add(
        self,
        kind: Kind,
        path: Path,
        *,
        created: datetime,
        width: int,
        height: int,
        prompt: str = "",
        negative_prompt: str = "",
        seed: int | None = None,
        model: str = "",
        server: str = "",
        simulated: bool = False,
    ) -> ImageRecord:
        """Record a picture under the next id of its kind."""
        values: dict[str, Any] = {
            "kind": kind,
            "path": str(path.absolute()),
            "created": created.astimezone(UTC).isoformat(),
            "prompt": _as_text(prompt),
            "negative_prompt": _as_text(negative_prompt),
            "seed": seed,
            "model": model,
            "width": width,
            "height": height,
            "server": server,
            "simulated": simulated,
        }
        with self._open() as connection, _transaction(connection):
            values["number"] = _take_number(connection, kind)
            connection.execute(_INSERT, values)
            row = connection.execute(f"{_SELECT} WHERE kind = :kind AND number = :number", values).fetchone()
        return _parse_row(row)

    def get(self, image_id: str) -> ImageRecord:
        """The picture with an id, in any case.

        Raises
        ------
        UnknownNameError
            There is none; carries the nearest ids.
        """
        match = _ID.fullmatch(image_id.strip().lower())
        with self._open() as connection:
            row = connection.execute(f"{_SELECT} WHERE kind = ? AND number = ?", match.groups()) if match else None
            found = row.fetchone() if row else None
            if found is not None:
                return _parse_row(found)
            nearest = _list_nearest(connection, *(match.groups() if match else (None, 0)))
        raise _build_unknown(image_id, nearest)

    def find_latest(self, kind: Kind = "v") -> ImageRecord | None:
        """The picture of a kind with the highest number; None when there is none."""
        with self._open() as connection:
            row = connection.execute(f"{_SELECT} WHERE kind = ? ORDER BY number DESC LIMIT 1", (kind,)).fetchone()
        return None if row is None else _parse_row(row)

    def check(self) -> int:
        """Reads the whole file through; the number of pictures in it."""
        with self._open() as connection:
            ((verdict,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            ((count,),) = connection.execute("SELECT count(*) FROM images").fetchall()
        return int(count)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with _translate_sqlite_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Transactions are opened by hand: the module's own begin too late for reading before writing.
            connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, isolation_level=None)
            try:
                connection.row_factory = sqlite3.Row
                migrate(connection)
                yield connection
            finally:
                connection.close()


@contextmanager
def _translate_sqlite_errors(path: Path) -> Iterator[None]:
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
        raise StorageError(
            f"The catalog {path} is damaged: {error}. Your pictures are safe in their folders. Restore the file from "
            "a backup, or rename it (with its -wal and -shm companions) and try again; ids then start anew."
        ) from error


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Writes that happen together or not at all, after all others."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _take_number(connection: sqlite3.Connection, kind: Kind) -> int:
    """The next number of a kind; counted apart from the pictures, so that deleting one frees none."""
    connection.execute(
        "INSERT INTO numbers (kind, last) VALUES (?, 1) ON CONFLICT (kind) DO UPDATE SET last = last + 1", (kind,)
    )
    (number,) = connection.execute("SELECT last FROM numbers WHERE kind = ?", (kind,)).fetchone()
    return int(number)


def _as_text(text: str) -> str:
    """Halves of surrogate pairs, which JSON can contain and a database cannot, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _list_nearest(connection: sqlite3.Connection, kind: str | None, number: int | str) -> list[str]:
    statement = (
        "SELECT kind || number FROM images WHERE kind = coalesce(?1, kind) "
        "ORDER BY CASE WHEN ?1 IS NULL THEN -rowid ELSE abs(number - ?2) END LIMIT 3"
    )
    return [name for (name,) in connection.execute(statement, (kind, int(number)))]


def _build_unknown(image_id: str, nearest: list[str]) -> UnknownNameError:
    hint = f"Nearest: {', '.join(nearest)}." if nearest else "No picture of that kind exists yet."
    return UnknownNameError(f"There is no picture {image_id!r}. {hint}", name=image_id, nearest=nearest)


def _parse_row(row: sqlite3.Row) -> ImageRecord:
    return ImageRecord(
        **{
            **dict(row),
            "path": Path(row["path"]),
            "created": datetime.fromisoformat(row["created"]),
            "simulated": bool(row["simulated"]),
        }
    )
