"""The nearest embeddings among a million: time, memory, and how many of the truly nearest are among them.

Vectors of 768 numbers around a few thousand topics, as models of language make them. A full comparison of the same
numbers runs for comparison. ``BENCHMARK_ROWS=100000`` stops earlier: a million take one and a half gigabytes of disk.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import Measurement, measure_peak, time_once
from drawthings_mcp.databases import transaction
from drawthings_mcp.search.database import open_index
from drawthings_mcp.search.embeddings import EmbeddingIndex, decode_vector, encode_vector

_ROWS, _DIMENSIONS, _TOPICS = 1_000_000, 768, 2000
_QUERIES, _NEAREST, _ASKED = 40, 10, 50
_BATCH = 20_000
_GOAL_MS, _MEMORY_GOAL_MIB = 150.0, 300.0


def run() -> Iterator[Measurement]:
    """The figures at the largest size."""
    rows = int(os.environ.get("BENCHMARK_ROWS", _ROWS))
    with tempfile.TemporaryDirectory() as place:
        # It begins before this one has filled its memory, which a system may count as the child's as well.
        command = [sys.executable, "-m", "benchmarks.embeddings", place]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            wanted = _fill(Path(place), rows)
            np.save(Path(place) / "wanted.npy", wanted)
            report = json.loads(process.communicate("go on\n")[0])
        start = time.perf_counter()
        nearest = _compare_all(Path(place), wanted)
        scan = (time.perf_counter() - start) / _QUERIES * 1e3
    times, found = report["times"], report["found"]
    note = f"median {statistics.median(times):.1f}; a full comparison {scan:.0f} ms, forty at once"
    yield Measurement(f"nearest of {rows:,}, p95", sorted(times)[int(len(times) * 0.95) - 1], "ms", _GOAL_MS, note)
    missed = 1 - sum(len(set(near) & set(ours)) for near, ours in zip(nearest, found, strict=True)) / (
        _NEAREST * _QUERIES
    )
    yield Measurement(f"of the {_NEAREST} nearest, not found", missed * 100, "%", 5.0)
    yield Measurement("reading all signs into memory", report["seconds"] * 1e3, "ms", None, "once per process")
    yield Measurement("memory with all signs loaded", report["memory"], "MiB", _MEMORY_GOAL_MIB, "peak of the process")


def _fill(folder: Path, rows: int) -> NDArray[np.float32]:
    """Fills an index; what is asked for afterwards, each near to one of its vectors."""
    dice = np.random.default_rng(3)
    topics = dice.normal(size=(_TOPICS, _DIMENSIONS)) * 0.8 + dice.normal(size=_DIMENSIONS) * 0.5
    aspects = dice.normal(size=(64, _DIMENSIONS)) * 0.12
    wanted = []
    with open_index(folder).open() as connection:
        for first in range(0, rows, _BATCH):
            count = min(_BATCH, rows - first)
            vectors = topics[dice.integers(0, _TOPICS, count)] + dice.normal(size=(count, 64)) @ aspects
            vectors += dice.normal(size=vectors.shape) * 0.3
            unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
            wanted.append(unit[0] + dice.normal(size=_DIMENSIONS) * 0.01)
            with transaction(connection):
                connection.executemany(
                    "INSERT INTO meanings (picture, model, vector) VALUES (?, 'm', ?)",
                    ((first + place, encode_vector(vector)) for place, vector in enumerate(unit)),
                )
    chosen = np.resize(np.array(wanted, np.float32), (_QUERIES, _DIMENSIONS))
    unit_wanted: NDArray[np.float32] = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    return unit_wanted


def _compare_all(folder: Path, wanted: NDArray[np.float32]) -> list[list[int]]:
    """The nearest by comparing every number."""
    best = np.zeros((_QUERIES, 0), np.float32)
    pictures = np.zeros((_QUERIES, 0), np.int64)
    with open_index(folder).open() as connection:
        rows = connection.execute("SELECT picture, vector FROM meanings")
        while batch := rows.fetchmany(_BATCH):
            cosines = wanted @ np.stack([decode_vector(data) for _, data in batch]).T
            best = np.hstack((best, cosines))
            pictures = np.hstack((pictures, np.tile([picture for picture, _ in batch], (_QUERIES, 1))))
            first = np.argsort(-best, axis=1)[:, :_NEAREST]
            best, pictures = np.take_along_axis(best, first, 1), np.take_along_axis(pictures, first, 1)
    nearest: list[list[int]] = pictures.tolist()
    return nearest


def serve(folder: Path) -> None:
    """The process that is measured."""
    sys.stdin.readline()
    index, wanted = EmbeddingIndex("m"), np.load(folder / "wanted.npy")
    found: list[list[int]] = []
    with open_index(folder).open() as connection:
        seconds = time_once(partial(index.refresh, connection))

        def ask(vector: NDArray[np.float32]) -> None:
            found.append([near.picture for near in index.find_nearest(connection, vector, _ASKED)])

        times = [time_once(partial(ask, vector)) * 1e3 for vector in wanted]
    print(json.dumps({"seconds": seconds, "times": times, "found": found, "memory": measure_peak()}))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
