"""The visual features of all pictures: measured in the second phase of indexing, kept in memory, ranked by likeness.

What shows the same comes first, then what has its colours and composition. Thirty bytes per picture are searched
through for each question; that is faster than any tree up to millions of pictures.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.databases import Database, transaction
from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.search.database import find_last_number
from drawthings_mcp.search.hits import list_places
from drawthings_mcp.search.indexing import Progress, ReportProgress, Stop, ignore, never
from drawthings_mcp.search.source import PictureSource
from drawthings_mcp.search.visual_features import COLOURS, FEATURES_SIZE, VisualFeatures, decode_grid, measure_picture

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
_MUCH, _SOME = 51, 8
"""Shares (1/255) of a wished colour: that make a picture one of that colour, and that confirm what its prompt says."""
_GREYS = ("black", "grey", "white")
_TURN, _NEIGHBOURS = 4, 16
"""Bits by which hashes are turned to find near ones, and neighbours that are compared then."""
_logger = logging.getLogger(__name__)
_BATCH = 16
_PATIENCE = 2.0
"""Seconds of measuring after which a search is answered from what was there before."""
_UNMEASURED = "SELECT id FROM pictures WHERE id < ? AND NOT EXISTS (SELECT 1 FROM looks WHERE picture = id)"
_ALL = (1 << 63) - 1


class Likeness(NamedTuple):
    """A picture and how far it is from the one that was asked for.

    The ``distance`` is 0 for the same features; two pictures that have nothing in common are about 500 apart. A
    near-duplicate shows the same. The ``share`` is that of the colours that were wished for, 0 to 1, the least of them;
    they are dominant when there is no more of any other, greys aside unless one was wished for.
    """

    picture: int
    distance: float
    is_near_duplicate: bool
    share: float = 0.0
    is_dominant: bool = False


class _Columns:
    """The features in columns: long arrays are what the processor reads fastest."""

    def __init__(self, size: int) -> None:
        self.pictures = np.zeros(size, np.int64)
        self.hashes = np.zeros(size, np.uint64)
        self.colours = np.zeros((len(COLOURS), size), np.uint8)
        self.brightness = np.zeros(size, np.uint8)
        self.aspect = np.zeros(size, np.uint8)


class VisualIndex:
    """The visual features of all pictures, in memory; ``refresh`` reads those that are new.

    Not for several threads at once.
    """

    def __init__(self) -> None:
        self._columns = _Columns(0)
        self._count = 0
        self._last = 0

    def __len__(self) -> int:
        return self._count

    def refresh(self, connection: sqlite3.Connection) -> None:
        """Read the features that were measured since; all of them when the index was made again."""
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
        features: VisualFeatures,
        *,
        wishes: Sequence[str] = (),
        named: Sequence[NDArray[np.int64]] = (),
        among: NDArray[np.int64] | None = None,
    ) -> list[Likeness]:
        """The pictures whose features are most alike, the nearest first; ``among`` some pictures, or all.

        ``wishes`` are colours that they must have instead of the picture's: a fifth of it, or some of it when the
        picture is among those of ``named``, one for each wish.
        """
        points = self._score(features, wishes)
        numbers = np.arange(self._count)
        wanted = np.ones(self._count, np.bool_)
        if among is not None:
            wanted &= np.isin(self._columns.pictures[: self._count], among)
        for number, wish in enumerate(wishes):
            share = self._columns.colours[COLOURS.index(wish), : self._count]
            is_named = np.isin(self._columns.pictures[: self._count], named[number]) if named else False
            wanted &= (share >= _MUCH) | (is_named & (share >= _SOME))
        if among is not None or wishes:
            numbers = np.flatnonzero(wanted)
            points = points[numbers]
        if len(points) > SHORTLIST:
            nearest = np.argpartition(points, SHORTLIST)[:SHORTLIST]
            numbers, points = numbers[nearest], points[nearest]
        return self._refine(connection, features, numbers, points, wishes)

    def _score(self, features: VisualFeatures, wishes: Sequence[str]) -> NDArray[np.uint16]:
        columns, count = self._columns, self._count
        bits = np.bitwise_count(columns.hashes[:count] ^ np.uint64(features.hash))
        points: NDArray[np.uint16] = bits.astype(np.uint16) * np.uint16(_HASH_WEIGHT)
        if wishes:
            lacking = np.full(count, 255, np.uint16)
            for wish in wishes:
                lacking -= np.minimum(columns.colours[COLOURS.index(wish), :count], lacking)
            points += lacking * np.uint16(_WISH_WEIGHT) // np.uint16(4)
            return points
        common = np.zeros(count, np.uint16)
        for number, share in enumerate(features.colours):
            if share:
                common += np.minimum(columns.colours[number, :count], share)
        points += (255 - np.minimum(common, 255)) * _COLOUR_WEIGHT // 4
        for column, value in ((columns.brightness, features.brightness), (columns.aspect, features.aspect)):
            points += _difference(column[:count], value) // 4
        return points

    def _refine(
        self,
        connection: sqlite3.Connection,
        features: VisualFeatures,
        numbers: NDArray[np.intp],
        points: NDArray[np.uint16],
        wishes: Sequence[str],
    ) -> list[Likeness]:
        """In order, with the tiny pictures compared as well; pictures that the index has no more are left out."""
        found: dict[int, Likeness] = {}
        grid = features.grid.ravel().astype(np.int16)
        for number, point in zip(numbers.tolist(), points.tolist(), strict=True):
            picture = int(self._columns.pictures[number])
            row = connection.execute("SELECT features FROM looks WHERE picture = ?", (picture,)).fetchone()
            if row is None or not self._is_current(number, row[0]):
                continue
            apart = 0.0 if wishes else float(np.abs(decode_grid(row[0]) - grid).mean())
            # A picture that was gone for a while is in memory twice.
            distance, is_version = point + apart * _GRID_WEIGHT, self._is_version(number, features)
            found[picture] = Likeness(picture, distance, is_version, *self._measure_wishes(number, wishes))
        return sorted(found.values(), key=lambda likeness: (likeness.distance, -likeness.picture))

    def find_duplicates(
        self, connection: sqlite3.Connection, among: NDArray[np.int64] | None = None
    ) -> list[tuple[int, ...]]:
        """Groups of pictures that show the same, the newest first in each; ``among`` some pictures, or all.

        Neighbours in order of the hash are compared, for each of sixteen ways of turning its bits: two hashes with few
        bits different have long parts in common, by one of which they are near each other.
        """
        pictures = self._columns.pictures[: self._count]
        numbers = np.arange(self._count) if among is None else np.flatnonzero(np.isin(pictures, among))
        links: dict[int, int] = {}
        for one, other in self._list_neighbours(numbers):
            first, second = sorted((_find_root(links, one), _find_root(links, other)))
            links[second] = first
        groups: dict[int, set[int]] = {}
        for number in links:
            row = connection.execute(
                "SELECT features FROM looks WHERE picture = ?", (int(pictures[number]),)
            ).fetchone()
            if row is not None and self._is_current(number, row[0]):
                groups.setdefault(_find_root(links, number), set()).add(int(pictures[number]))
        return [tuple(sorted(group, reverse=True)) for group in groups.values() if len(group) > 1]

    def _list_neighbours(self, numbers: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
        hashes, colours = self._columns.hashes[numbers], self._columns.colours[:, numbers]
        for turn in range(0, 64, _TURN):
            order = np.argsort((hashes << np.uint64(turn)) | (hashes >> np.uint64((64 - turn) % 64)), kind="stable")
            for apart in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
                one, other = order[:-apart], order[apart:]
                near = np.flatnonzero(np.bitwise_count(hashes[one] ^ hashes[other]) <= _NEAR_DUPLICATE)
                one, other = one[near], other[near]
                common = np.minimum(colours[:, one], colours[:, other]).sum(axis=0, dtype=np.int64)
                alike = common >= _SAME_COLOURS
                yield from zip(numbers[one[alike]].tolist(), numbers[other[alike]].tolist(), strict=True)

    def _measure_wishes(self, number: int, wishes: Sequence[str]) -> tuple[float, bool]:
        """The share of the wished colours in a picture, and whether they are dominant."""
        if not wishes:
            return 0.0, False
        colours = dict(zip(COLOURS, self._columns.colours[:, number].tolist(), strict=True))
        shares = [colours[wish] for wish in wishes]
        greys = () if set(wishes) & set(_GREYS) else _GREYS
        others = [share for name, share in colours.items() if name not in (*wishes, *greys)]
        return min(shares) / 255, max(shares) >= max(others, default=0)

    def _is_current(self, number: int, data: bytes) -> bool:
        """Whether features in memory are still those that are kept of their picture."""
        return (
            len(data) == FEATURES_SIZE and int.from_bytes(data[:_HASH_SIZE], "little") == self._columns.hashes[number]
        )

    def _is_version(self, number: int, features: VisualFeatures) -> bool:
        """Whether a picture shows the same in the same colours; flat pictures have the same hash in all colours."""
        bits = (int(self._columns.hashes[number]) ^ features.hash).bit_count()
        common = int(np.minimum(self._columns.colours[:, number], features.colours).sum(dtype=np.int64))
        return bits <= _NEAR_DUPLICATE and common >= _SAME_COLOURS

    def _append(self, rows: list[tuple[int, bytes]]) -> None:
        if not rows:
            return
        heads = np.frombuffer(b"".join(data[: _HEAD.itemsize] for _, data in rows), _HEAD)
        start, end = self._count, self._count + len(rows)
        if end > len(self._columns.pictures):
            self._grow(int(end * _GROWTH))
        columns = self._columns
        columns.pictures[start:end] = [picture for picture, _ in rows]
        columns.hashes[start:end] = heads["hash"]
        columns.colours[:, start:end] = heads["colours"].T
        columns.brightness[start:end] = heads["brightness"]
        columns.aspect[start:end] = heads["aspect"]
        self._count = end

    def _grow(self, size: int) -> None:
        old, new = self._columns, _Columns(size)
        for name, column in vars(old).items():
            getattr(new, name)[..., : self._count] = column[..., : self._count]
        self._columns = new


def _find_root(links: dict[int, int], number: int) -> int:
    """The picture that stands for the group of one."""
    while links.setdefault(number, number) != number:
        links[number] = links[links[number]]
        number = links[number]
    return number


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
    answer: Callable[[], object] = ignore,
    report: ReportProgress | None = None,
) -> int:
    """Measure the features that are missing, newest pictures first; how many there were.

    ``answer`` is called when no search should wait any longer.
    """
    done, last, start = 0, _ALL, time.monotonic()
    with index.open() as connection:
        # Not to pass a million pictures that were all measured.
        total = count_unmeasured(connection)
        while total and not should_stop():
            rows = connection.execute(f"{_UNMEASURED} ORDER BY id DESC LIMIT ?", (last, _BATCH)).fetchall()
            if not rows:
                break
            last = rows[-1][0]
            # A large picture takes a second: each is a chance to stop.
            measured = [(picture, _measure(connection, sources, picture)) for (picture,) in rows if not should_stop()]
            with transaction(connection):
                connection.executemany(
                    "INSERT OR IGNORE INTO looks (picture, features) SELECT id, ? FROM pictures WHERE id = ?",
                    [(features, picture) for picture, features in measured if features is not None],
                )
            done += len(rows)
            if time.monotonic() - start > _PATIENCE:
                answer()
            if report is not None:
                report(Progress(done, max(done, total), "measuring"))
    return done


def count_unmeasured(connection: sqlite3.Connection) -> int:
    """How many pictures have no features yet."""
    (count,) = connection.execute("SELECT (SELECT count(*) FROM pictures) - (SELECT count(*) FROM looks)").fetchone()
    return max(0, int(count))


def _measure(connection: sqlite3.Connection, sources: Mapping[str, PictureSource], picture: int) -> bytes | None:
    """The features of a picture; empty when it cannot be opened, None when it is not there now."""
    result: bytes | None = None
    for source_key, path, key in list_places(connection, picture):
        source = sources.get(source_key)
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
