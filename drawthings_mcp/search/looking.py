"""The second, slower phase of indexing: pictures are opened and how they look is kept.

Works like the first phase: newest first, a batch at a time, to be stopped or killed at any moment. Blocks: call it in
a thread.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from drawthings_mcp.databases import Database, transaction
from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.search.entry import Source
from drawthings_mcp.search.indexing import Progress, Report, Stop, never
from drawthings_mcp.search.visual.shrink import look_at

_logger = logging.getLogger(__name__)

_BATCH = 16
_UNSEEN = "SELECT id FROM pictures WHERE id < ? AND NOT EXISTS (SELECT 1 FROM looks WHERE picture = id)"
_ALL = (1 << 63) - 1


def run_looking(
    index: Database,
    sources: Mapping[str, Source],
    *,
    should_stop: Stop = never,
    report: Report | None = None,
) -> int:
    """Look at pictures that nobody looked at yet; how many there were.

    Parameters
    ----------
    sources
        By root folder and kind, joined by a line break.

    Raises
    ------
    StorageError
        The index cannot be written.
    """
    done, last = 0, _ALL
    with index.open() as connection:
        # Not to pass a million pictures that were all looked at.
        total = count_unseen(connection)
        while total and not should_stop():
            rows = connection.execute(f"{_UNSEEN} ORDER BY id DESC LIMIT ?", (last, _BATCH)).fetchall()
            if not rows:
                break
            last = rows[-1][0]
            # A large picture takes a second: each is a chance to stop.
            looks = [(picture, _look(connection, sources, picture)) for (picture,) in rows if not should_stop()]
            with transaction(connection):
                connection.executemany(
                    "INSERT OR IGNORE INTO looks (picture, features) SELECT id, ? FROM pictures WHERE id = ?",
                    [(features, picture) for picture, features in looks if features is not None],
                )
            done += len(rows)
            if report is not None:
                report(Progress(done, max(done, total), "looking"))
    return done


def count_unseen(connection: sqlite3.Connection) -> int:
    """How many pictures have not been looked at yet."""
    (count,) = connection.execute("SELECT (SELECT count(*) FROM pictures) - (SELECT count(*) FROM looks)").fetchone()
    return max(0, int(count))


def list_places(connection: sqlite3.Connection, picture: int) -> list[tuple[str, str, Path, str]]:
    """Root, kind of source, file and key of every place of a picture."""
    rows = connection.execute(
        "SELECT roots.path, source, folders.path, files.name, entry FROM places JOIN files ON files.id = places.file "
        "JOIN folders ON folders.id = files.folder JOIN roots ON roots.id = folders.root WHERE picture = ?",
        (picture,),
    )
    return [(root, source, Path(folder, name), key) for root, source, folder, name, key in rows]


def _look(connection: sqlite3.Connection, sources: Mapping[str, Source], picture: int) -> bytes | None:
    """The look of a picture; empty when it cannot be opened, None when it is not there now."""
    result: bytes | None = None
    for root, kind, path, key in list_places(connection, picture):
        source = sources.get(source_key(root, kind))
        if source is None or source.find_place(path, key) is None:
            continue
        try:
            return look_at(source.read_preview(path, key)).encode()
        except DrawThingsError as error:
            _logger.debug("%s: %s", path, error)
            result = b""
        except OSError:
            continue
    return result


def source_key(root: str | Path, kind: str) -> str:
    """What tells a source from others."""
    return f"{root}\n{kind}"
