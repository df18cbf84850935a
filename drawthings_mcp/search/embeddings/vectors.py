"""The meanings of all pictures in memory, and which are nearest to one.

Owns how they are kept: sixteen bits per number in the index, one bit, its sign, in memory. The signs find some hundred
candidates among a million in tens of milliseconds; the kept numbers put those in order. An extension of SQLite would do
the same scan, but many builds of Python cannot load one.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.search.database import find_last_number

SHORTLIST = 256
"""Candidates whose numbers are compared."""
VALUE_SIZE = 2
"""Bytes of a kept number."""
_CHUNK = 1 << 16
_WORD = 64
_GROWTH = 1.5


class Nearness(NamedTuple):
    """A picture and the cosine between its meaning and the one that was asked for."""

    picture: int
    cosine: float


class Meanings:
    """Meanings read from an index; ``refresh`` reads those that are new.

    Those of other models, and of other lengths than the newest, are left out. Not for several threads at once.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._last = 0
        self._count = 0
        self._dimensions = 0
        self._expected = 0
        self._pictures = np.zeros(0, np.int64)
        self._signs = np.zeros((0, 0), np.uint64)

    def __len__(self) -> int:
        return self._count

    def refresh(self, connection: sqlite3.Connection) -> None:
        """Read the meanings that were added since; all of them when the index was made anew."""
        last = find_last_number(connection, "meanings")
        if last < self._last:
            self.__init__(self._model)  # type: ignore[misc]
        # Memory that is never written to costs nothing, growing a copy.
        self._expected = self._count + last - self._last
        rows = connection.execute(
            "SELECT number, picture, vector FROM meanings WHERE number > ? AND model = ? ORDER BY number",
            (self._last, self._model),
        )
        while batch := rows.fetchmany(4096):
            self._append([(picture, decode_vector(data)) for _, picture, data in batch])
            self._last = batch[-1][0]

    def find_nearest(self, connection: sqlite3.Connection, wanted: NDArray[np.float32], count: int) -> list[Nearness]:
        """The pictures whose meanings are nearest, the nearest first.

        Parameters
        ----------
        wanted
            ``(D,)``, of length 1.
        """
        if not self._count or len(wanted) != self._dimensions:
            return []
        apart = self._count_apart(_pack_signs(wanted[None, :])[0])
        numbers = np.argpartition(apart, SHORTLIST)[:SHORTLIST] if len(apart) > SHORTLIST else np.arange(len(apart))
        found = []
        for picture in dict.fromkeys(self._pictures[numbers].tolist()):
            row = connection.execute("SELECT vector FROM meanings WHERE picture = ?", (picture,)).fetchone()
            vector = decode_vector(row[0]) if row is not None else wanted[:0]
            if len(vector) == len(wanted):
                found.append(Nearness(picture, float(vector @ wanted)))
        return sorted(found, key=lambda near: (-near.cosine, -near.picture))[:count]

    def _count_apart(self, signs: NDArray[np.uint64]) -> NDArray[np.uint16]:
        """Signs that differ, a part of the pictures at a time, so that little memory is needed."""
        apart = np.zeros(self._count, np.uint16)
        for start in range(0, self._count, _CHUNK):
            part = self._signs[start : min(start + _CHUNK, self._count)]
            apart[start : start + len(part)] = np.bitwise_count(part ^ signs).sum(axis=1, dtype=np.uint16)
        return apart

    def _append(self, meanings: list[tuple[int, NDArray[np.float32]]]) -> None:
        newest = len(meanings[-1][1])
        if newest != self._dimensions:  # another model answers under the same name
            self._count, self._dimensions = 0, newest
            self._grow(0)
        kept = [(picture, vector) for picture, vector in meanings if len(vector) == self._dimensions]
        end = self._count + len(kept)
        if end > len(self._pictures):
            self._grow(max(int(end * _GROWTH), self._expected))
        if kept:
            self._pictures[self._count : end] = [picture for picture, _ in kept]
            self._signs[self._count : end] = _pack_signs(np.stack([vector for _, vector in kept]))
        self._count = end

    def _grow(self, size: int) -> None:
        pictures = np.zeros(size, np.int64)
        signs = np.zeros((size, -(-self._dimensions // _WORD)), np.uint64)
        pictures[: self._count] = self._pictures[: self._count]
        if self._count:
            signs[: self._count] = self._signs[: self._count]
        self._pictures, self._signs = pictures, signs


def encode_vector(vector: NDArray[np.float32]) -> bytes:
    """As it is kept."""
    return vector.astype("<f2").tobytes()


def decode_vector(data: bytes) -> NDArray[np.float32]:
    """As it was; empty when it cannot be one."""
    return np.frombuffer(data[: len(data) // VALUE_SIZE * VALUE_SIZE], "<f2").astype(np.float32)


def _pack_signs(vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
    """``(N, D)`` → ``(N, D / 64)``, one bit per number."""
    missing = -vectors.shape[1] % _WORD
    bits = np.packbits(np.pad(vectors > 0, ((0, 0), (0, missing))), axis=1)
    return np.ascontiguousarray(bits).view(np.uint64)
