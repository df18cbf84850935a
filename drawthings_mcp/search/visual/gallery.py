"""The looks of all pictures in memory, and what is most like one of them.

Owns the order: what shows the same first, then what has its colours and composition. Thirty bytes per picture are
searched through for each question; that is faster than any tree up to millions of pictures.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.search.database import find_last_number
from drawthings_mcp.search.visual.colours import COLOURS
from drawthings_mcp.search.visual.look import LOOK_SIZE, Look, decode_grid

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


class Gallery:
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
            self._append([(picture, data) for _, picture, data in batch if len(data) == LOOK_SIZE])

    def rank(
        self,
        connection: sqlite3.Connection,
        look: Look,
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

    def _score(self, look: Look, wishes: Sequence[str]) -> NDArray[np.uint16]:
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
        look: Look,
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
        return len(data) == LOOK_SIZE and int.from_bytes(data[:_HASH_SIZE], "little") == self._columns.hashes[number]

    def _is_version(self, number: int, look: Look) -> bool:
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
