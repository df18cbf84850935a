"""The board: which renders there are, of every process that uses a state folder, how far they are, and who stops them.

It is for looking and stopping. What a job is made of is kept by the process that renders it, and by ``jobs.durable``.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from drawthings_mcp.databases import Database, set_aside
from drawthings_mcp.errors import StorageError

if TYPE_CHECKING:
    import sqlite3

BOARD_NAME = "jobs.sqlite3"
_MEANT = re.compile(r"^(?:job)?[\s#_:-]*j?[\s#_:-]*(?=\d+$)")
"""What may stand before a job's number."""
_ID = re.compile(r"j[1-9][0-9]{0,14}")
_KEPT = 1_000
"""Jobs that are remembered."""
_FRESH_SECONDS = 15.0
"""Since a living process last wrote; it does so twice a second while it has jobs."""

JobState: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled", "interrupted", "lost"]
"""The last two are of processes that are gone: it goes on when the server is started again, or it does not."""
ACTIVE: tuple[JobState, ...] = get_args(JobState)[:2]

_MIGRATIONS = (
    (
        """
        CREATE TABLE jobs (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            client TEXT NOT NULL,
            prompt TEXT NOT NULL,
            is_durable INTEGER NOT NULL,
            created TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'queued',
            fraction REAL NOT NULL DEFAULT 0,
            message TEXT NOT NULL DEFAULT '',
            seconds_left REAL,
            pictures TEXT NOT NULL DEFAULT '[]',
            is_stopping INTEGER NOT NULL DEFAULT 0
        )
        """,
        "CREATE TABLE owners (id TEXT PRIMARY KEY, pid INTEGER NOT NULL, host TEXT NOT NULL, beat REAL NOT NULL)",
    ),
)


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as everybody sees it.

    Attributes
    ----------
    id
        ``j3``; counted per state folder, never given twice.
    key
        Of the job everywhere else: what its pictures are recorded with.
    client
        Who asked, by name and version.
    prompt
        What was asked for, as it was written: data of others.
    fraction, message
        How far it is, 0 to 1, and what it does; of one that failed, why.
    seconds_left
        None as long as nothing can be said.
    pictures
        Ids of those that are saved.
    is_stopping
        Whether somebody asked for its end.
    """

    id: str
    key: str
    client: str
    prompt: str
    created: datetime
    state: JobState
    fraction: float
    message: str
    seconds_left: float | None
    pictures: tuple[str, ...]
    is_stopping: bool

    @property
    def is_active(self) -> bool:
        """Whether it waits or is rendered by a process that lives."""
        return self.state in ACTIVE

    @property
    def is_done(self) -> bool:
        """Whether it has ended, well or not."""
        return not self.is_active and self.state != "interrupted"

    def to_json(self) -> dict[str, Any]:
        """As JSON-serialisable dict."""
        return {
            "id": self.id,
            "state": self.state,
            "fraction": self.fraction,
            "message": self.message,
            "seconds_left": self.seconds_left,
            "client": self.client,
            "prompt": self.prompt,
            "created": self.created.isoformat(),
            "pictures": list(self.pictures),
            "is_stopping": self.is_stopping,
        }


class JobBoard:
    """The board of one state folder, as one process writes it. All methods block: call them in threads.

    Raises
    ------
    StorageError
        Any method: it cannot be read or written.
    """

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / BOARD_NAME
        self._owner = secrets.token_hex(8)
        self._database = Database(
            self.path,
            _MIGRATIONS,
            "list of jobs",
            pragmas=("synchronous = NORMAL",),
            has_named_columns=True,
            report_damage=_set_aside,
        )

    def add(self, client: str, prompt: str, *, key: str = "", is_durable: bool = False) -> tuple[str, str]:
        """Write a new job of this process, or take one over by its key; its id and its key."""
        key = key or secrets.token_hex(8)
        with self._database.write() as connection:
            self._beat(connection)
            known = connection.execute("SELECT number FROM jobs WHERE key = ?", (key,)).fetchone()
            if known is not None:
                connection.execute(
                    "UPDATE jobs SET owner = ?, is_durable = ?, state = 'queued', seconds_left = NULL WHERE key = ?",
                    (self._owner, is_durable, key),
                )
                return f"j{known['number']}", key
            values = (key, self._owner, _storable(client), _storable(prompt), is_durable, datetime.now(UTC).isoformat())
            columns = "key, owner, client, prompt, is_durable, created"
            number = connection.execute(f"INSERT INTO jobs ({columns}) VALUES (?, ?, ?, ?, ?, ?)", values).lastrowid
            connection.execute("DELETE FROM jobs WHERE number <= ?", ((number or 0) - _KEPT,))
            connection.execute("DELETE FROM owners WHERE id NOT IN (SELECT owner FROM jobs)")
            return f"j{number}", key

    def update(self, rows: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Write what became of jobs, by their keys, and that this process lives; the keys of those to be stopped.

        Parameters
        ----------
        rows
            Values of columns of each.
        """
        with self._database.write() as connection:
            self._beat(connection)
            for key, values in rows.items():
                changes = {
                    **values,
                    "message": _storable(values["message"]),
                    "pictures": json.dumps(values["pictures"]),
                }
                assignments = ", ".join(f"{name} = :{name}" for name in changes)
                connection.execute(f"UPDATE jobs SET {assignments} WHERE key = :key", {**changes, "key": key})
            stopping = connection.execute("SELECT key FROM jobs WHERE owner = ? AND is_stopping", (self._owner,))
            return {row["key"] for row in stopping}

    def give_up(self, kept: Collection[str]) -> None:
        """Expect no more of jobs that were to outlive their process than of any others, but of those with some keys."""
        with self._database.write() as connection:
            waiting = connection.execute("SELECT key FROM jobs WHERE is_durable AND state IN (?, ?)", ACTIVE).fetchall()
            lost = [(row["key"],) for row in waiting if row["key"] not in kept]
            connection.executemany("UPDATE jobs SET is_durable = 0 WHERE key = ?", lost)

    def list_jobs(self, limit: int = 50) -> list[JobRow]:
        """The newest jobs of all processes, newest first; none, and no file, where there never was any."""
        if not self.path.exists():
            return []
        with self._database.open() as connection:
            found = connection.execute(f"{_SELECT} ORDER BY number DESC LIMIT ?", (limit,)).fetchall()
        return [_parse(row) for row in found]

    def find(self, job_id: str) -> JobRow | None:
        """A job by its id, as people write it: ``j3``, ``J3``, ``3``; None when there is none."""
        clean = read_job_id(job_id)
        if not self.path.exists() or not _ID.fullmatch(clean):
            return None
        with self._database.open() as connection:
            row = connection.execute(f"{_SELECT} WHERE number = ?", (int(clean[1:]),)).fetchone()
        return None if row is None else _parse(row)

    def request_stop(self, job_id: str) -> JobRow | None:
        """Ask the process that has a job to end it; the job as it stood then, None when there is none."""
        found = self.find(job_id)
        if found is None or found.state not in {*ACTIVE, "interrupted"}:
            return found
        with self._database.write() as connection:
            connection.execute("UPDATE jobs SET is_stopping = 1 WHERE key = ?", (found.key,))
        # Its process may have obeyed already.
        return replace(found, is_stopping=True)

    def _beat(self, connection: sqlite3.Connection) -> None:
        values = (self._owner, os.getpid(), socket.gethostname(), time.time())
        connection.execute("INSERT OR REPLACE INTO owners VALUES (?, ?, ?, ?)", values)


_SELECT = "SELECT jobs.*, pid, host, beat FROM jobs LEFT JOIN owners ON owners.id = jobs.owner"


def _parse(row: sqlite3.Row) -> JobRow:
    state: JobState = row["state"]
    if state in ACTIVE and not _is_alive(row["pid"], row["host"], row["beat"]):
        state = "interrupted" if row["is_durable"] else "lost"
    return JobRow(
        id=f"j{row['number']}",
        created=datetime.fromisoformat(row["created"]),
        state=state,
        pictures=tuple(json.loads(row["pictures"])),
        is_stopping=bool(row["is_stopping"]),
        **{name: row[name] for name in ("key", "client", "prompt", "fraction", "message", "seconds_left")},
    )


def _is_alive(pid: int | None, host: str, beat: float) -> bool:
    if pid is None or time.time() - beat > _FRESH_SECONDS:
        return False
    if host != socket.gethostname():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _storable(text: str) -> str:
    """A text without halves of characters, which no database takes."""
    return text.encode("utf-8", "replace").decode()


def _set_aside(path: Path, error: sqlite3.DatabaseError) -> StorageError:
    """A damaged list is replaced at the next use: nothing is lost but the list."""
    aside = set_aside(path)
    return StorageError(f"The list of jobs {path} was damaged ({error}) and is kept as {aside}. Try again.")


def read_job_id(text: str) -> str:
    """An id as it is, from what people write: ``j3`` from ``3``, ``J3`` and ``job 3``."""
    return _MEANT.sub("j", text.strip().lower())
