"""Search by meaning: what pictures say as vectors of the user's embedding endpoint, and which are nearest to a query.

Vectors are kept with sixteen bits per number in the index and one bit, the sign, in memory. The signs find some hundred
candidates among a million in tens of milliseconds; the kept numbers put those in order. An extension of SQLite would do
the same scan, but many builds of Python cannot load one. Without a working endpoint, search does without.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.databases import Database
from drawthings_mcp.errors import EndpointError
from drawthings_mcp.search.database import find_last_number
from drawthings_mcp.search.indexing import Progress, ReportProgress, Stop, never
from drawthings_mcp.web.endpoint import Endpoint, post_json

SHORTLIST = 256
"""Candidates whose numbers are compared."""
VALUE_SIZE = 2
"""Bytes of a kept number."""
_CHUNK = 1 << 16
_WORD = 64
_GROWTH = 1.5
MAX_DIMENSIONS = 8192
_BATCH = 32
"""Texts of one request: a second's work for a small model without a graphics card."""
_TIMEOUT = 60.0
_MAX_TEXT = 2000
_ALL = (1 << 63) - 1
_NEXT = """
    SELECT id, prompt, words FROM pictures WHERE id < ? AND NOT EXISTS
    (SELECT 1 FROM meanings WHERE picture = id AND model = ?) ORDER BY id DESC LIMIT ?
"""


class Nearness(NamedTuple):
    """A picture and the cosine between its embedding and the one that was asked for."""

    picture: int
    cosine: float


class EmbeddingIndex:
    """The embeddings of all pictures, in memory; ``refresh`` reads those that are new.

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
        """Read the embeddings that were added since; all of them when the index was made again."""
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
        """The pictures whose embeddings are nearest to ``wanted``, ``(D,)`` of length 1; the nearest first."""
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

    def _append(self, embeddings: list[tuple[int, NDArray[np.float32]]]) -> None:
        newest = len(embeddings[-1][1])
        if newest != self._dimensions:  # another model answers under the same name
            self._count, self._dimensions = 0, newest
            self._grow(0)
        kept = [(picture, vector) for picture, vector in embeddings if len(vector) == self._dimensions]
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


async def embed_texts(endpoint: Endpoint, texts: Sequence[str], *, timeout: float) -> NDArray[np.float32]:
    """The embeddings of some texts: ``(len(texts), D)``, each of length 1, so that products are cosines.

    Raises ``EndpointError`` when the endpoint cannot be reached, or answers something else than so many vectors.
    """
    body = {"input": list(texts), "encoding_format": "float", **({"model": endpoint.model} if endpoint.model else {})}
    answer = await post_json(endpoint, "embeddings", body, timeout=timeout)
    try:
        vectors = np.array([entry["embedding"] for entry in _sort(answer)], np.float32)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise _build_error(endpoint) from error
    if vectors.shape[:1] != (len(texts),) or vectors.ndim != 2 or not 0 < vectors.shape[1] <= MAX_DIMENSIONS:
        raise _build_error(endpoint)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise _build_error(endpoint)
    unit: NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit


def _sort(answer: Any) -> list[Mapping[str, Any]]:
    """The entries in the order of the texts, whatever order they came in."""
    entries = list(answer["data"])
    if not all(isinstance(entry, Mapping) for entry in entries):
        raise TypeError("entries are objects")
    return sorted(entries, key=lambda entry: entry.get("index", 0))


def _build_error(endpoint: Endpoint) -> EndpointError:
    return EndpointError(f"The endpoint {endpoint.name} did not answer with embeddings; check its model.")


def name_model(endpoint: Endpoint) -> str:
    """What the embeddings of a model are kept under: its name, or else the address where it is the only one."""
    return endpoint.model or endpoint.name


async def run_embedding(
    index: Database, endpoint: Endpoint, *, should_stop: Stop = never, report: ReportProgress | None = None
) -> int:
    """Ask for the embeddings that are missing, newest pictures first; how many were kept.

    Raises ``EndpointError``; what was kept before stays.
    """
    model = name_model(endpoint)
    done, last = 0, _ALL
    while not should_stop():
        rows = await anyio.to_thread.run_sync(partial(_list_next, index, last, model))
        if not rows:
            break
        last = rows[-1][0]
        vectors = await embed_texts(endpoint, [text for _, text in rows], timeout=_TIMEOUT)
        pictures = [picture for picture, _ in rows]
        await anyio.to_thread.run_sync(partial(_keep, index, model, pictures, vectors))
        done += len(rows)
        if report is not None:
            report(Progress(done, done, "embedding"))
    return done


def _list_next(index: Database, last: int, model: str) -> list[tuple[int, str]]:
    with index.open() as connection:
        rows = connection.execute(_NEXT, (last, model, _BATCH)).fetchall()
    # Some servers refuse empty texts.
    return [(picture, (prompt or words or "picture")[:_MAX_TEXT]) for picture, prompt, words in rows]


def _keep(index: Database, model: str, pictures: list[int], vectors: NDArray[np.float32]) -> None:
    with index.write() as connection:
        forget_other_lengths(connection, model, vectors.shape[1])
        for picture, vector in zip(pictures, vectors, strict=True):
            # With a new number, by which those that have read the table see that it is new.
            connection.execute("DELETE FROM meanings WHERE picture = ?", (picture,))
            connection.execute(
                "INSERT INTO meanings (picture, model, vector) SELECT id, ?, ? FROM pictures WHERE id = ?",
                (model, encode_vector(vector), picture),
            )


def forget_other_lengths(connection: sqlite3.Connection, model: str, dimensions: int) -> bool:
    """Forget all of a model when another one answers under its name; whether that was so.

    Embeddings of two models cannot be compared.
    """
    row = connection.execute(
        "SELECT length(vector) FROM meanings WHERE model = ? ORDER BY number DESC LIMIT 1", (model,)
    ).fetchone()
    is_other = row is not None and row[0] != dimensions * VALUE_SIZE
    if is_other:
        connection.execute("DELETE FROM meanings WHERE model = ?", (model,))
    return is_other
