"""The files that the index knows: which are new, changed, moved or gone, and which are still to be read.

The tables ``roots``, ``folders`` and ``files``, within the caller's transaction. No file is read here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from drawthings_mcp.search.pictures import PictureWriter
from drawthings_mcp.search.source import FileStamp, Listing, is_plain_file

PENDING, READ, UNREADABLE, BUSY = range(4)
"""States of a file; one that is busy is tried again by the next run, an unreadable one when it has changed."""


class PendingFile(NamedTuple):
    """A file that is to be read."""

    id: int
    root: int
    path: Path


class KnownFile(NamedTuple):
    """A file as it was when it was last listed."""

    id: int
    stamp: FileStamp


def add_root(connection: sqlite3.Connection, path: Path, source: str) -> int:
    """The number of a root."""
    connection.execute("INSERT OR IGNORE INTO roots (path, source) VALUES (?, ?)", (str(path), source))
    row = connection.execute("SELECT id FROM roots WHERE path = ? AND source = ?", (str(path), source))
    return int(row.fetchone()[0])


def list_known(connection: sqlite3.Connection, root: int, folder: Path) -> dict[str, KnownFile]:
    """The files of a folder by name."""
    rows = connection.execute(
        "SELECT name, files.id, inode, size, mtime_ns FROM files JOIN folders ON folders.id = folder "
        "WHERE root = ? AND path = ?",
        (root, str(folder)),
    )
    return {name: KnownFile(number, FileStamp(*stamp)) for name, number, *stamp in rows}


def differs(known: dict[str, KnownFile], listing: Listing) -> bool:
    """Whether anything has changed in a folder."""
    return {name: file.stamp for name, file in known.items()} != listing.files


def note_listing(connection: sqlite3.Connection, writer: PictureWriter, root: int, listing: Listing) -> list[int]:
    """Note what is new or changed in a folder and is to be read; the numbers of the files that are not there now.

    Those are for ``remove_gone``: they may turn up in another folder.
    """
    folder = _add_folder(connection, root, listing.folder)
    known = list_known(connection, root, listing.folder)
    for name, stamp in listing.files.items():
        if name not in known:
            _note_new(connection, writer, folder, listing.folder / name, stamp)
        elif known[name].stamp != stamp:
            connection.execute(
                "UPDATE files SET inode = ?, size = ?, mtime_ns = ?, state = ?, owner = NULL, problem = '' "
                "WHERE id = ?",
                (*stamp, PENDING, known[name].id),
            )
    return [known[name].id for name in known.keys() - listing.files.keys()]


def remove_gone(connection: sqlite3.Connection, writer: PictureWriter, gone: Sequence[int]) -> None:
    """Forget files, unless they turned up elsewhere meanwhile."""
    for number in gone:
        row = connection.execute(
            "SELECT path, name FROM files JOIN folders ON folders.id = folder WHERE files.id = ?", (number,)
        ).fetchone()
        if row is not None and not is_plain_file(Path(*row)):
            writer.remove_file(number)


def list_roots_below(connection: sqlite3.Connection, folder: Path) -> list[int]:
    """The numbers of the roots that are a folder or lie in it."""
    rows = connection.execute("SELECT id, path FROM roots").fetchall()
    return [number for number, path in rows if Path(path).is_relative_to(folder)]


def list_files(connection: sqlite3.Connection, root: int, count: int) -> list[int]:
    """Some files of a root."""
    rows = connection.execute(
        "SELECT files.id FROM files JOIN folders ON folders.id = folder WHERE root = ? LIMIT ?", (root, count)
    )
    return [number for (number,) in rows]


def forget_root(connection: sqlite3.Connection, root: int) -> None:
    """Forget a root that has no file any more."""
    connection.execute("DELETE FROM folders WHERE root = ?", (root,))
    connection.execute("DELETE FROM roots WHERE id = ?", (root,))


def list_folders(connection: sqlite3.Connection, root: int) -> list[Path]:
    """The folders of a root that have files."""
    return [Path(path) for (path,) in connection.execute("SELECT path FROM folders WHERE root = ?", (root,))]


def forget_empty_folder(connection: sqlite3.Connection, root: int, folder: Path) -> None:
    """Forget a folder if it has no file any more."""
    connection.execute(
        "DELETE FROM folders WHERE root = ? AND path = ? "
        "AND NOT EXISTS (SELECT 1 FROM files WHERE folder = folders.id)",
        (root, str(folder)),
    )


def claim_files(connection: sqlite3.Connection, roots: Sequence[int], owner: str, count: int) -> list[PendingFile]:
    """Files to read next, the newest first; those that another process has begun come last.

    A process that is killed leaves its claims behind. Since others take them when nothing else is left, no clock is
    needed to tell a dead one from a slow one; a file that is read twice is recorded once.
    """
    rows = _list_pending(connection, roots, "owner IS NULL", (), count) or _list_pending(
        connection, roots, "owner IS NOT NULL AND owner != ?", (owner,), count
    )
    connection.executemany("UPDATE files SET owner = ? WHERE id = ?", [(owner, row[0]) for row in rows])
    return [PendingFile(number, root, Path(path, name)) for number, root, path, name in rows]


def _list_pending(
    connection: sqlite3.Connection, roots: Sequence[int], condition: str, values: tuple[str, ...], count: int
) -> list[tuple[int, int, str, str]]:
    marks = ", ".join("?" * len(roots))
    # A cross join is done in the order in which it is written: along the index of what waits, newest first.
    return connection.execute(
        "SELECT files.id, root, path, name FROM files CROSS JOIN folders ON folders.id = folder "
        f"WHERE state = {PENDING} AND {condition} AND root IN ({marks}) ORDER BY mtime_ns DESC LIMIT ?",
        (*values, *roots, count),
    ).fetchall()


def count_pending(connection: sqlite3.Connection, roots: Sequence[int]) -> int:
    """How many files are still to be read."""
    marks = ", ".join("?" * len(roots))
    # Along the indexes of what waits: there are as many files as pictures.
    counts = (
        connection.execute(
            "SELECT count(*) FROM files CROSS JOIN folders ON folders.id = folder "
            f"WHERE state = {PENDING} AND owner {condition} AND root IN ({marks})",
            tuple(roots),
        ).fetchone()
        for condition in ("IS NULL", "IS NOT NULL")
    )
    return sum(count for (count,) in counts)


def is_still(connection: sqlite3.Connection, file: PendingFile) -> bool:
    """Whether a claimed file is still to be read under its number."""
    row = connection.execute(f"SELECT 1 FROM files WHERE id = ? AND state = {PENDING}", (file.id,)).fetchone()
    return row is not None


def settle(connection: sqlite3.Connection, file: PendingFile, problem: str = "", *, passing: bool = False) -> bool:
    """A file has been read, or cannot be, for a reason that may be passing; whether the problem is a new one."""
    state = (BUSY if passing else UNREADABLE) if problem else READ
    (before,) = connection.execute("SELECT problem FROM files WHERE id = ?", (file.id,)).fetchone()
    connection.execute("UPDATE files SET state = ?, owner = NULL, problem = ? WHERE id = ?", (state, problem, file.id))
    return bool(problem != before)


def try_again(connection: sqlite3.Connection, roots: Sequence[int]) -> None:
    """Have the files read again that were busy the last time."""
    marks = ", ".join("?" * len(roots))
    connection.execute(
        f"UPDATE files SET state = {PENDING}, owner = NULL WHERE state = {BUSY} "
        f"AND folder IN (SELECT id FROM folders WHERE root IN ({marks}))",
        tuple(roots),
    )


def _add_folder(connection: sqlite3.Connection, root: int, path: Path) -> int:
    connection.execute("INSERT OR IGNORE INTO folders (root, path) VALUES (?, ?)", (root, str(path)))
    row = connection.execute("SELECT id FROM folders WHERE root = ? AND path = ?", (root, str(path)))
    return int(row.fetchone()[0])


def _note_new(connection: sqlite3.Connection, writer: PictureWriter, folder: int, path: Path, stamp: FileStamp) -> None:
    moved = _find_moved(connection, stamp)
    if moved is None:
        connection.execute(
            "INSERT INTO files (folder, name, inode, size, mtime_ns, state) VALUES (?, ?, ?, ?, ?, ?)",
            (folder, path.name, *stamp, PENDING),
        )
        return
    connection.execute("UPDATE files SET folder = ?, name = ? WHERE id = ?", (folder, path.name, moved))
    connection.execute("UPDATE places SET name = ? WHERE file = ?", (path.stem, moved))
    for (picture,) in connection.execute("SELECT DISTINCT picture FROM places WHERE file = ?", (moved,)).fetchall():
        writer.refresh(picture)


def _find_moved(connection: sqlite3.Connection, stamp: FileStamp) -> int | None:
    """A file of the same identity whose own place is empty now."""
    rows = connection.execute(
        f"SELECT files.id, path, name FROM files JOIN folders ON folders.id = folder "
        f"WHERE inode = ? AND size = ? AND mtime_ns = ? AND state = {READ}",
        stamp,
    )
    return next((number for number, path, name in rows if not Path(path, name).exists()), None)
