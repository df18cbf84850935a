"""The catalog of the user's pictures and their ids. All calls block: call them in threads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Unpack

from drawthings_mcp.databases import Database
from drawthings_mcp.errors import CatalogDamagedError, StorageError, UnknownNameError
from drawthings_mcp.faces import Phrase, Text
from drawthings_mcp.library.database import FILE_NAME, build_database
from drawthings_mcp.library.records import (
    COLUMNS,
    JOURNAL_NAME,
    MEDIA_KINDS,
    ImageRecord,
    Journal,
    MediaKind,
    RecordFields,
    build_record,
    build_row,
    parse_id,
    parse_row,
)

LOCK_NAME = "catalog.lock"

_INSERT = (
    f"INSERT INTO images (kind, number, {', '.join(COLUMNS)}) "
    f"VALUES (:kind, :number, {', '.join(f':{name}' for name in COLUMNS)})"
)
_SELECT = f"""
    SELECT kind || number AS id, {", ".join(COLUMNS)}, (
        SELECT json_group_array(json_array(role, parent)) FROM
        (SELECT role, parent FROM parents WHERE child = kind || number ORDER BY place)
    ) AS parents FROM images"""
_THE_ONE = "kind = ? AND number = ?"
_GENERATIONS = 4
_LINE = f"""
    WITH RECURSIVE line (id, distance) AS (
        SELECT {{found}}, 1 FROM parents WHERE {{given}} = ?
        UNION SELECT {{found}}, distance + 1 FROM line JOIN parents ON {{given}} = line.id WHERE distance < ?
    )
    {_SELECT} WHERE (kind, number) IN (SELECT substr(id, 1, 1), CAST(substr(id, 2) AS INTEGER) FROM line)
    ORDER BY rowid"""
_VISION_LASTS = timedelta(days=30)
"""A client's next version may pass pictures on no more, and its user may choose a model that sees nothing."""
_PACE_LASTS = timedelta(days=30)
"""A server that was slow once is tried again some day: it may have been busy with other things."""
_LAST = (1 << 63) - 1
_MAX_TOGETHER = 100
"""Numbers around a picture's among which others of its call are looked for; calls that run at once share them."""
_FOUND = "kind = 'p' AND origin = ? ORDER BY rowid DESC"


class ImageCatalog:
    """The catalog of a state folder; both are created on first use.

    Raises
    ------
    StorageError
        Any method: the database cannot be opened, written or understood. The file is never deleted.
    """

    def __init__(self, state_dir: Path, *, database: Database | None = None) -> None:
        self._database = database or build_database(state_dir / FILE_NAME, state_dir / LOCK_NAME)
        self._journal = Journal(state_dir / JOURNAL_NAME)

    def reserve(self, kind: MediaKind, folder: Path) -> str:
        """Take the next id of a kind for a file that is about to be written, so that the file can carry it.

        Parameters
        ----------
        folder
            Where the file will be. When the process dies before the picture is recorded, it is looked for there.
        """
        with self._database.write() as connection:
            image_id = f"{kind}{_take_number(connection, kind)}"
            connection.execute(
                "INSERT INTO reservations VALUES (?, ?, ?)", (image_id, str(folder.absolute()), _now().isoformat())
            )
        return image_id

    def release(self, image_id: str) -> None:
        """Give back an id that was reserved and is not used; the next picture gets it if none came in between."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM reservations WHERE id = ?", (image_id,))
            connection.execute("UPDATE numbers SET last = last - 1 WHERE kind = ? AND last = ?", _split(image_id))

    def add(
        self,
        kind: MediaKind,
        path: Path,
        *,
        reserved: str = "",
        origin: str = "",
        sha256: str = "",
        **values: Unpack[RecordFields],
    ) -> ImageRecord:
        """Record a picture under the next id of its kind, or under one that was reserved for it."""
        with self._database.write() as connection:
            if reserved:
                _make_room(connection, reserved)
            image_id = reserved or f"{kind}{_take_number(connection, kind)}"
            return self._insert(connection, build_record(image_id, path, origin, sha256, values))

    def register_file(
        self, kind: Literal["a", "p"], path: Path, *, sha256: str, origin: str = "", **values: Unpack[RecordFields]
    ) -> ImageRecord:
        """The record of a picture from outside: the same bytes give the same id.

        When a known picture is given from another place and is no longer where it was, its record follows it.
        """
        with self._database.write() as connection:
            known = _find(connection, "kind = ? AND sha256 = ?", kind, sha256)
            if known is None:
                image_id = f"{kind}{_take_number(connection, kind)}"
                return self._insert(connection, build_record(image_id, path, origin, sha256, values))
            if is_in_place(known):
                return known
            return self._update(connection, known.id, path=str(path.absolute()))

    def register_found(
        self, origin: str, *, path: Path | None = None, sha256: str = "", **values: Unpack[RecordFields]
    ) -> ImageRecord:
        """The record of something that was found: the same origin gives the same id.

        Parameters
        ----------
        origin
            ``project://…`` or a URL.
        path
            Its file; given later, it is added to the record, with size, format and hash.
        """
        with self._database.write() as connection:
            known = _find(connection, _FOUND, origin)
            if known is None:
                image_id = f"p{_take_number(connection, 'p')}"
                return self._insert(connection, build_record(image_id, path, origin, sha256, values))
            if path is None:
                return known
            row = build_row(build_record(known.id, path, origin, sha256, values))
            names = ("path", "sha256", "size_bytes", "format", "width", "height")
            return self._update(connection, known.id, **{name: row[name] for name in names})

    def relocate(self, image_id: str, path: Path) -> ImageRecord:
        """Record that the file of a picture lies elsewhere now."""
        with self._database.write() as connection:
            return self._update(connection, image_id, path=str(path.absolute()))

    def restore(self, records: Iterable[ImageRecord]) -> None:
        """Record pictures under the ids that they had, but for ids that are taken."""
        with self._database.write() as connection:
            for record in records:
                _count_up_to(connection, *_split(record.id))
                if _find(connection, _THE_ONE, *_split(record.id)) is None:
                    _insert(connection, record)

    def get(self, image_id: str) -> ImageRecord:
        """The picture with an id, in any case.

        Raises
        ------
        UnknownNameError
            There is none; carries the nearest ids.
        """
        parsed = parse_id(image_id)
        with self._database.open() as connection:
            found = _find(connection, _THE_ONE, *parsed) if parsed else None
            if found is not None:
                return found
            nearest = _list_nearest(connection, *(parsed or (None, 0)))
        raise _build_unknown(image_id, nearest)

    def contains(self, image_id: str) -> bool:
        """Whether there is a picture with an id."""
        parsed = parse_id(image_id)
        return parsed is not None and self._find(_THE_ONE, *parsed) is not None

    def find_latest(self, kind: MediaKind = "v", place: int = 1) -> ImageRecord | None:
        """The picture of a kind with the highest number, or the second highest …; None when there is none."""
        listed = self._list(f"{_SELECT} WHERE kind = ? ORDER BY number DESC LIMIT 1 OFFSET ?", kind, place - 1)
        return next(iter(listed), None)

    def find_by_path(self, path: Path) -> ImageRecord | None:
        """The newest picture that is recorded at a path; None when there is none."""
        return self._find("path = ? ORDER BY rowid DESC", str(path.absolute()))

    def find_by_name(self, name: str) -> ImageRecord | None:
        """The newest picture whose file has a name, in whatever folder; None when there is none."""
        return self._find("substr(path, -length(?1)) = ?1 ORDER BY rowid DESC", f"/{name}")

    def find_by_hash(self, sha256: str) -> ImageRecord | None:
        """The picture with these bytes, generated and made ones first; None when there is none."""
        return self._find("sha256 = ? AND sha256 <> '' ORDER BY instr('viap', kind)", sha256)

    def find_by_origin(self, origin: str) -> ImageRecord | None:
        """What was found at an origin; None when nothing was."""
        return self._find(_FOUND, origin)

    def list_job(self, job: str) -> list[ImageRecord]:
        """The pictures of one job, oldest first."""
        return self._list(f"{_SELECT} WHERE job = ? ORDER BY rowid", job)

    def list_images(self, kinds: Iterable[MediaKind] | None = None, limit: int | None = None) -> list[ImageRecord]:
        """The pictures of some kinds, or of all, newest first."""
        wanted = "".join(kinds) if kinds is not None else "avpi"
        statement = f"{_SELECT} WHERE instr(?, kind) ORDER BY rowid DESC LIMIT ?"
        return self._list(statement, wanted, -1 if limit is None else limit)

    def list_page(
        self, kinds: Iterable[MediaKind], limit: int, before: int | None = None
    ) -> tuple[list[ImageRecord], int | None]:
        """Pictures of some kinds that have files, newest first; and what ``before`` is for the next page, if any.

        Parameters
        ----------
        before
            From the page before this one; None for the first.
        """
        condition = "WHERE instr(?, kind) AND path <> '' AND rowid < ? ORDER BY rowid DESC LIMIT ?"
        statement = _SELECT.replace("SELECT ", "SELECT rowid AS place, ", 1)
        values = ("".join(kinds), _LAST if before is None else before, limit)
        with self._database.open() as connection:
            rows = [dict(row) for row in connection.execute(f"{statement} {condition}", values)]
        places = [row.pop("place") for row in rows]
        return list(map(parse_row, rows)), places[-1] if len(rows) == limit else None

    def count_images(self, kinds: Iterable[MediaKind]) -> int:
        """How many pictures of some kinds are known."""
        # A kind at a time: each is counted in the index.
        statement = "SELECT count(*) FROM images WHERE kind = ?"
        with self._database.open() as connection:
            return sum(connection.execute(statement, (kind,)).fetchone()[0] for kind in kinds)

    def list_ancestors(self, image_id: str) -> list[ImageRecord]:
        """What a picture was made from, and what that was made from, some generations up, oldest first."""
        return self._list(_LINE.format(found="parent", given="child"), image_id, _GENERATIONS)

    def list_descendants(self, image_id: str) -> list[ImageRecord]:
        """What was made from a picture, and from that, some generations down, oldest first."""
        return self._list(_LINE.format(found="child", given="parent"), image_id, _GENERATIONS)

    def list_siblings(self, record: ImageRecord) -> list[ImageRecord]:
        """The other pictures of the same call, oldest first."""
        if not record.job:
            return []
        kind, number = _split(record.id)
        near = "kind = ? AND number BETWEEN ? AND ? AND number <> ? AND job = ?"
        bounds = (number - _MAX_TOGETHER, number + _MAX_TOGETHER)
        return self._list(f"{_SELECT} WHERE {near} ORDER BY number", kind, *bounds, number, record.job)

    def record_preview(self, sha256: str, image_id: str) -> None:
        """Remember that a preview with these pixels shows a picture, to know it again when it comes back."""
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO previews VALUES (?, ?)", (sha256, image_id))

    def find_by_preview(self, sha256: str) -> ImageRecord | None:
        """The picture that a preview with these pixels shows; None when it is none of ours."""
        with self._database.open() as connection:
            row = connection.execute("SELECT image FROM previews WHERE sha256 = ?", (sha256,)).fetchone()
            return None if row is None else _find(connection, _THE_ONE, *_split(row["image"]))

    def record_vision(self, client: str, seen: bool) -> None:
        """Remember whether the model behind a client proved that it sees pictures.

        Parameters
        ----------
        client
            Its name and version.
        """
        with self._database.write() as connection:
            values = (client, seen, _now().isoformat())
            connection.execute("INSERT OR REPLACE INTO sights VALUES (?, ?, ?)", values)

    def find_vision(self, client: str) -> bool | None:
        """Whether the model behind a client sees pictures; None while nobody has tried, or not for a long time."""
        since = (_now() - _VISION_LASTS).isoformat()
        with self._database.open() as connection:
            row = connection.execute("SELECT seen FROM sights WHERE client = ? AND at >= ?", (client, since)).fetchone()
        return None if row is None else bool(row["seen"])

    def record_pace(self, server: str, model: str, pixel_count: int, step_seconds: float) -> None:
        """Remember how long a step of a model takes on a server, by its address."""
        with self._database.write() as connection:
            values = (server, model, pixel_count, step_seconds, _now().isoformat())
            connection.execute("INSERT OR REPLACE INTO paces VALUES (?, ?, ?, ?, ?)", values)

    def list_paces(self) -> list[tuple[str, str, int, float]]:
        """Server, model, pixels and seconds per step of what was measured not long ago."""
        since = (_now() - _PACE_LASTS).isoformat()
        with self._database.open() as connection:
            rows = connection.execute("SELECT * FROM paces WHERE at >= ?", (since,)).fetchall()
        return [(row["server"], row["model"], row["pixel_count"], row["step_seconds"]) for row in rows]

    def list_reservations(self) -> dict[str, Path]:
        """Ids that were reserved and not used yet, and where their files would be."""
        with self._database.open() as connection:
            rows = connection.execute("SELECT id, folder FROM reservations").fetchall()
        return {row["id"]: Path(row["folder"]) for row in rows}

    def drop_reservations(self, before: datetime) -> None:
        """Give up waiting for ids that were reserved before a time; they are never given again."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM reservations WHERE since < ?", (before.astimezone(UTC).isoformat(),))

    def list_paths(self, kinds: Iterable[MediaKind] = MEDIA_KINDS, outside: Iterable[Path] = ()) -> set[Path]:
        """Where the files of all pictures of some kinds are, those in some folders, as they are spelled, left out."""
        statement, values = "SELECT path FROM images WHERE instr(?, kind) AND path > ?", ["".join(kinds), ""]
        # What lies between the folders, along the index: most of a library may be in one.
        for begin in sorted(f"{folder}/" for folder in outside):
            statement += " AND path < ? UNION ALL SELECT path FROM images WHERE instr(?, kind) AND path >= ?"
            values += [begin, values[0], max(values[-1], begin[:-1] + "0")]
        with self._database.open() as connection:
            return {Path(path) for (path,) in connection.execute(statement, values)}

    def describe_file(self) -> tuple[int, ...] | None:
        """What differs when the file was changed or replaced; None when there is none."""
        try:
            status = self._database.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def is_lost(self) -> bool:
        """Whether the file is gone or no database; what is wrong further in, only ``check`` finds."""
        try:
            if not self._database.path.exists():
                return True
            self.find_latest()
        except CatalogDamagedError:
            return True
        except (OSError, StorageError):
            pass  # it cannot be used now, which is no loss
        return False

    def check(self) -> int:
        """Reads the whole file through; the number of pictures in it."""
        with self._database.open() as connection:
            ((verdict,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            ((count,),) = connection.execute("SELECT count(*) FROM images").fetchall()
        return int(count)

    def _find(self, condition: str, *values: Any) -> ImageRecord | None:
        with self._database.open() as connection:
            return _find(connection, condition, *values)

    def _list(self, statement: str, *values: Any) -> list[ImageRecord]:
        with self._database.open() as connection:
            return [parse_row(dict(row)) for row in connection.execute(statement, values)]

    def _insert(self, connection: sqlite3.Connection, record: ImageRecord) -> ImageRecord:
        _insert(connection, record)
        return self._note(connection, record.id)

    def _update(self, connection: sqlite3.Connection, image_id: str, **values: Any) -> ImageRecord:
        assignments = ", ".join(f"{name} = :{name}" for name in values)
        kind, number = _split(image_id)
        statement = f"UPDATE images SET {assignments} WHERE kind = :kind AND number = :number"
        connection.execute(statement, {**values, "kind": kind, "number": number})
        return self._note(connection, image_id)

    def _note(self, connection: sqlite3.Connection, image_id: str) -> ImageRecord:
        """The record as it stands now, also in the journal."""
        (record,) = _iterate(connection, _THE_ONE, *_split(image_id))
        self._journal.append(record, lambda: _iterate(connection, "1 ORDER BY rowid"))
        return record


def _split(image_id: str) -> tuple[str, int]:
    return image_id[0], int(image_id[1:])


def is_in_place(record: ImageRecord) -> bool:
    """Whether a file of the right size, as far as that is known, lies where the record says."""
    try:
        return record.path is not None and record.size_bytes in {0, record.path.stat().st_size}
    except OSError:
        return False


def _insert(connection: sqlite3.Connection, record: ImageRecord) -> None:
    connection.execute(_INSERT, build_row(record))
    rows = [(record.id, place, *parent) for place, parent in enumerate(record.parents)]
    connection.executemany("INSERT INTO parents VALUES (?, ?, ?, ?)", rows)
    connection.execute("DELETE FROM reservations WHERE id = ?", (record.id,))


def _make_room(connection: sqlite3.Connection, reserved: str) -> None:
    """Take a number that was reserved.

    Another process may have found the file and recorded it, with the little that it tells, before its maker could.
    """
    connection.execute(f"DELETE FROM images WHERE {_THE_ONE}", _split(reserved))
    connection.execute("DELETE FROM parents WHERE child = ?", (reserved,))
    _count_up_to(connection, *_split(reserved))


def _find(connection: sqlite3.Connection, condition: str, *values: Any) -> ImageRecord | None:
    return next(_iterate(connection, f"{condition} LIMIT 1", *values), None)


def _iterate(connection: sqlite3.Connection, condition: str, *values: Any) -> Iterator[ImageRecord]:
    for row in connection.execute(f"{_SELECT} WHERE {condition}", values):
        yield parse_row(dict(row))


def _take_number(connection: sqlite3.Connection, kind: MediaKind) -> int:
    """The next number of a kind; counted apart from the pictures, so that deleting one frees none."""
    connection.execute(
        "INSERT INTO numbers (kind, last) VALUES (?, 1) ON CONFLICT (kind) DO UPDATE SET last = last + 1", (kind,)
    )
    (number,) = connection.execute("SELECT last FROM numbers WHERE kind = ?", (kind,)).fetchone()
    return int(number)


def _count_up_to(connection: sqlite3.Connection, kind: str, number: int) -> None:
    """Numbers up to this one are taken."""
    statement = "INSERT INTO numbers VALUES (?, ?) ON CONFLICT (kind) DO UPDATE SET last = max(last, excluded.last)"
    connection.execute(statement, (kind, number))


def _now() -> datetime:
    return datetime.now(UTC)


def _list_nearest(connection: sqlite3.Connection, kind: str | None, number: int) -> list[str]:
    statement = (
        "SELECT kind || number FROM images WHERE kind = coalesce(?1, kind) "
        "ORDER BY CASE WHEN ?1 IS NULL THEN -rowid ELSE abs(number - ?2) END LIMIT 3"
    )
    return [name for (name,) in connection.execute(statement, (kind, number))]


def _build_unknown(image_id: str, nearest: list[str]) -> UnknownNameError:
    hint = Phrase(f"the nearest are {', '.join(nearest)}" if nearest else "none of that kind exists yet")
    text = Text("There is no picture {name!r}; {hint}.", name=image_id, hint=hint)
    if image_id.strip().lower().startswith("a"):
        text = Text(
            "{missing} A picture in the chat does not reach this server: give the path of its file, or latest:a for "
            "what was attached last in LM Studio, and it gets an id.",
            missing=text,
        )
    return UnknownNameError(text, name=image_id, nearest=nearest)
