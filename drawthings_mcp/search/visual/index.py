"""The visual features of all pictures: measured in the second phase of indexing, kept in memory, ranked by likeness.

What shows the same comes first, then what has its colours and composition. Thirty bytes per picture are searched
through for each question; that is faster than any tree up to millions of pictures.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.databases import Database, transaction
from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.search.database import find_last_number
from drawthings_mcp.search.indexing import Progress, ReportProgress, Stop, never
from drawthings_mcp.search.source import PictureSource
from drawthings_mcp.search.visual.features import COLOURS, FEATURES_SIZE, VisualFeatures, decode_grid, measure_picture

SHORTLIST = 512
"""Pictures whose tiny pictures are compared as well."""
_NEAR_DUPLICATE = 8
"""Bits in which two versions of one picture differ at most: scaled, recompressed, slightly edited."""
_SAME_COLOURS = 190
"""Share of colours (1/255) that they have in common at least."""
_HEAD = np.dtype([("hash", "<u8"), ("colours", "u1", (len(COLOURS),)), ("brightness", "u1"), ("aspect", "u1")])
_HASH_SIZE = _HEAD["hash"].itemsize
_GROWTH = 1.5
_HASH_WEIGHT, _COLOUR_WEIGHT, _GRID_WEIGHT = 8, 3, 1
"""Points per bit of hash, per share of colour (1/255) not in common, per level of the tiny picture, and so on."""
_WISH_WEIGHT = 6
"""Points per share (1/255) that a wished colour is lacking."""
_logger = logging.getLogger(__name__)
_BATCH = 16
_UNSEEN = "SELECT id FROM pictures WHERE id < ? AND NOT EXISTS (SELECT 1 FROM looks WHERE picture = id)"
_ALL = (1 << 63) - 1


class Likeness(NamedTuple):
    """A picture and how far it is from the one that was asked for.

    Attributes
    ----------
    distance
        0 for the same look; two pictures that have nothing in common are about 500 apart.
    is_near_duplicate
        Whether both show the same.
    """

    picture: int
    distance: float
    is_near_duplicate: bool


@dataclass(slots=True)
class _Columns:
    """The looks by feature: long arrays are what the processor reads fastest."""

    pictures: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    colours: NDArray[np.uint8]
    brightness: NDArray[np.uint8]
    aspect: NDArray[np.uint8]

    @staticmethod
    def make(size: int) -> _Columns:
        return _Columns(
            np.zeros(size, np.int64),
            np.zeros(size, np.uint64),
            np.zeros((len(COLOURS), size), np.uint8),
            np.zeros(size, np.uint8),
            np.zeros(size, np.uint8),
        )


class VisualIndex:
    """Looks read from an index; ``refresh`` reads those that are new.

    Not for several threads at once.
    """

    def __init__(self) -> None:
        self._columns = _Columns.make(0)
        self._count = 0
        self._last = 0

    def __len__(self) -> int:
        return self._count

    def refresh(self, connection: sqlite3.Connection) -> None:
        """Read the looks that were measured since; all of them when the index was made anew."""
        if find_last_number(connection, "looks") < self._last:
            self.__init__()  # type: ignore[misc]
        rows = connection.execute(
            "SELECT number, picture, features FROM looks WHERE number > ? ORDER BY number", (self._last,)
        )
        while batch := rows.fetchmany(4096):
            self._last = batch[-1][0]
            self._append([(picture, data) for _, picture, data in batch if len(data) == FEATURES_SIZE])

    def rank(
        self,
        connection: sqlite3.Connection,
        look: VisualFeatures,
        *,
        wishes: Sequence[str] = (),
        among: NDArray[np.int64] | None = None,
        count: int = SHORTLIST,
    ) -> list[Likeness]:
        """The pictures most like a look, the nearest first.

        Parameters
        ----------
        wishes
            Colours that they should have instead of the look's.
        among
            Pictures to choose from, all when None.
        """
        points = self._score(look, wishes)
        numbers = np.arange(self._count)
        if among is not None:
            numbers = np.flatnonzero(np.isin(self._columns.pictures[: self._count], among))
            points = points[numbers]
        if len(points) > count:
            nearest = np.argpartition(points, count)[:count]
            numbers, points = numbers[nearest], points[nearest]
        return self._refine(connection, look, numbers, points, wishes)

    def _score(self, look: VisualFeatures, wishes: Sequence[str]) -> NDArray[np.uint16]:
        columns, count = self._columns, self._count
        bits = np.bitwise_count(columns.hashes[:count] ^ np.uint64(look.hash))
        points: NDArray[np.uint16] = bits.astype(np.uint16) * np.uint16(_HASH_WEIGHT)
        if wishes:
            lacking = np.full(count, 255, np.uint16)
            for wish in wishes:
                lacking -= np.minimum(columns.colours[COLOURS.index(wish), :count], lacking)
            points += lacking * np.uint16(_WISH_WEIGHT) // np.uint16(4)
            return points
        common = np.zeros(count, np.uint16)
        for number, share in enumerate(look.colours):
            if share:
                common += np.minimum(columns.colours[number, :count], share)
        points += (255 - np.minimum(common, 255)) * _COLOUR_WEIGHT // 4
        for column, value in ((columns.brightness, look.brightness), (columns.aspect, look.aspect)):
            points += _difference(column[:count], value) // 4
        return points

    def _refine(
        self,
        connection: sqlite3.Connection,
        look: VisualFeatures,
        numbers: NDArray[np.intp],
        points: NDArray[np.uint16],
        wishes: Sequence[str],
    ) -> list[Likeness]:
        """In order, with the tiny pictures compared as well; looks that the index has no more are left out."""
        found: dict[int, Likeness] = {}
        grid = look.grid.ravel().astype(np.int16)
        for number, point in zip(numbers.tolist(), points.tolist(), strict=True):
            picture = int(self._columns.pictures[number])
            row = connection.execute("SELECT features FROM looks WHERE picture = ?", (picture,)).fetchone()
            if row is None or not self._is_current(number, row[0]):
                continue
            apart = 0.0 if wishes else float(np.abs(decode_grid(row[0]) - grid).mean())
            # A picture that was gone for a while is in memory twice.
            found[picture] = Likeness(picture, point + apart * _GRID_WEIGHT, self._is_version(number, look))
        return sorted(found.values(), key=lambda likeness: (likeness.distance, -likeness.picture))

    def _is_current(self, number: int, data: bytes) -> bool:
        """Whether a look in memory is still the one that is kept of its picture."""
        return (
            len(data) == FEATURES_SIZE and int.from_bytes(data[:_HASH_SIZE], "little") == self._columns.hashes[number]
        )

    def _is_version(self, number: int, look: VisualFeatures) -> bool:
        """Whether a picture shows the same in the same colours; flat pictures have the same hash in all colours."""
        bits = (int(self._columns.hashes[number]) ^ look.hash).bit_count()
        common = int(np.minimum(self._columns.colours[:, number], look.colours).sum(dtype=np.int64))
        return bits <= _NEAR_DUPLICATE and common >= _SAME_COLOURS

    def _append(self, looks: list[tuple[int, bytes]]) -> None:
        if not looks:
            return
        heads = np.frombuffer(b"".join(data[: _HEAD.itemsize] for _, data in looks), _HEAD)
        start, end = self._count, self._count + len(looks)
        if end > len(self._columns.pictures):
            self._grow(int(end * _GROWTH))
        columns = self._columns
        columns.pictures[start:end] = [picture for picture, _ in looks]
        columns.hashes[start:end] = heads["hash"]
        columns.colours[:, start:end] = heads["colours"].T
        columns.brightness[start:end] = heads["brightness"]
        columns.aspect[start:end] = heads["aspect"]
        self._count = end

    def _grow(self, size: int) -> None:
        old, new = self._columns, _Columns.make(size)
        for name in _Columns.__slots__:
            getattr(new, name)[..., : self._count] = getattr(old, name)[..., : self._count]
        self._columns = new


def _difference(values: NDArray[np.uint8], value: int) -> NDArray[np.uint8]:
    """Absolute differences of small numbers without widening them."""
    other = np.uint8(value)
    difference: NDArray[np.uint8] = np.maximum(values, other) - np.minimum(values, other)
    return difference


def run_visual_indexing(
    index: Database,
    sources: Mapping[str, PictureSource],
    *,
    should_stop: Stop = never,
    report: ReportProgress | None = None,
) -> int:
    """VisualFeatures at pictures that nobody looked at yet; how many there were.

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
        total = count_unmeasured(connection)
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


def count_unmeasured(connection: sqlite3.Connection) -> int:
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


def _look(connection: sqlite3.Connection, sources: Mapping[str, PictureSource], picture: int) -> bytes | None:
    """The look of a picture; empty when it cannot be opened, None when it is not there now."""
    result: bytes | None = None
    for root, kind, path, key in list_places(connection, picture):
        source = sources.get(source_key(root, kind))
        if source is None or source.find_place(path, key) is None:
            continue
        try:
            return measure_picture(source.read_preview(path, key)).encode()
        except DrawThingsError as error:
            _logger.debug("%s: %s", path, error)
            result = b""
        except OSError:
            continue
    return result


def source_key(root: str | Path, kind: str) -> str:
    """What tells a source from others."""
    return f"{root}\n{kind}"
