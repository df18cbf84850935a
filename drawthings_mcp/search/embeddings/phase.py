"""The third phase of indexing: what pictures say is sent to the user's endpoint, and what it means is kept.

Stops without a word when the endpoint does not serve: search does without.
"""

from __future__ import annotations

import logging
import sqlite3
from functools import partial

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.databases import Database
from drawthings_mcp.errors import EndpointError
from drawthings_mcp.search.embeddings.embedding import embed_texts
from drawthings_mcp.search.embeddings.vectors import VALUE_SIZE, encode_vector
from drawthings_mcp.search.indexing import Progress, Report, Stop, never
from drawthings_mcp.web.endpoint import Endpoint

_logger = logging.getLogger(__name__)

_BATCH = 32
"""Texts of one request: a second's work for a small model without a graphics card."""
_TIMEOUT = 60.0
_MAX_TEXT = 2000
_ALL = (1 << 63) - 1
_NEXT = """
    SELECT id, prompt, words FROM pictures WHERE id < ? AND NOT EXISTS
    (SELECT 1 FROM meanings WHERE picture = id AND model = ?) ORDER BY id DESC LIMIT ?
"""


async def run_meaning(
    index: Database, endpoint: Endpoint, *, should_stop: Stop = never, report: Report | None = None
) -> int:
    """Ask for the meanings that are missing, newest pictures first; how many were kept."""
    done, last = 0, _ALL
    while not should_stop():
        rows = await anyio.to_thread.run_sync(partial(_list_next, index, last, endpoint.model))
        if not rows:
            break
        last = rows[-1][0]
        try:
            vectors = await embed_texts(endpoint, [text for _, text in rows], timeout=_TIMEOUT)
        except EndpointError as error:
            _logger.info("no meanings: %s", error)
            break
        pictures = [picture for picture, _ in rows]
        await anyio.to_thread.run_sync(partial(_keep, index, endpoint.model, pictures, vectors))
        done += len(rows)
        if report is not None:
            report(Progress(done, done, "understanding"))
    return done


def _list_next(index: Database, last: int, model: str) -> list[tuple[int, str]]:
    with index.open() as connection:
        rows = connection.execute(_NEXT, (last, model, _BATCH)).fetchall()
    # Some servers refuse empty texts.
    return [(picture, (prompt or words or "picture")[:_MAX_TEXT]) for picture, prompt, words in rows]


def _keep(index: Database, model: str, pictures: list[int], vectors: NDArray[np.float32]) -> None:
    with index.write() as connection:
        _forget_other_lengths(connection, model, vectors.shape[1])
        for picture, vector in zip(pictures, vectors, strict=True):
            _replace(connection, picture, model, encode_vector(vector))


def _forget_other_lengths(connection: sqlite3.Connection, model: str, dimensions: int) -> None:
    """All of a model, when another one answers under its name: meanings of two models cannot be compared."""
    row = connection.execute(
        "SELECT length(vector) FROM meanings WHERE model = ? ORDER BY number DESC LIMIT 1", (model,)
    ).fetchone()
    if row is not None and row[0] != dimensions * VALUE_SIZE:
        connection.execute("DELETE FROM meanings WHERE model = ?", (model,))


def _replace(connection: sqlite3.Connection, picture: int, model: str, data: bytes) -> None:
    """With a new number, by which those that have read the table see that it is new."""
    connection.execute("DELETE FROM meanings WHERE picture = ?", (picture,))
    connection.execute(
        "INSERT INTO meanings (picture, model, vector) SELECT id, ?, ? FROM pictures WHERE id = ?",
        (model, data, picture),
    )
