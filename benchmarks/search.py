"""Searching ten thousand, a hundred thousand and a million pictures, next to plain scans of the same rows.

Indexing and searching run in a process of their own, whose memory is measured; the scans they are compared with run in
this one. ``BENCHMARK_ROWS=100000`` stops earlier: a million takes minutes to index.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.collection import COMMON, MadeUpSource, make_rare_words
from benchmarks.measurement import Measurement, measure_peak, time_once
from drawthings_mcp.databases import Database, transaction
from drawthings_mcp.generation import ImageGenerationConfig, ResultImage
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.metadata.draw_things import build_metadata
from drawthings_mcp.metadata.reading import read_image_metadata_from
from drawthings_mcp.search.database import open_index, open_tags
from drawthings_mcp.search.folders import FolderSource
from drawthings_mcp.search.hits import HitBuilder, source_key
from drawthings_mcp.search.indexing import run_indexing
from drawthings_mcp.search.matching import IndexQuery
from drawthings_mcp.search.query import parse_query
from drawthings_mcp.search.visual_features import COLOURS, VisualFeatures
from drawthings_mcp.search.visual_index import VisualIndex
from drawthings_mcp.tensors.png import encode_png

_ROWS = (10_000, 100_000, 1_000_000)
_QUERIES = 200
_SCANS = 5
_PAGE = 12
_SYLLABLES = 4
"""Of words that are not part of others."""
_FILES = 3000
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_TEXT_GOAL_MS, _VISUAL_GOAL_MS = 50.0, 150.0
_FILE_GOAL_MS = 1000 / 1500
_MEMORY_GOAL_MIB = 300.0
_RARE = make_rare_words()


def run() -> Iterator[Measurement]:
    """Reading files, then searches at each size; some minutes."""
    last = int(os.environ.get("BENCHMARK_ROWS", _ROWS[-1]))
    with tempfile.TemporaryDirectory() as place:
        yield _measure_files(Path(place) / "files")
        yield from _measure_searches(Path(place) / "index", [rows for rows in _ROWS if rows <= last])


def _measure_files(folder: Path) -> Measurement:
    """PNG files as this package writes them, by their metadata only."""
    folder.mkdir()
    pixels = np.zeros((64, 64, 3), np.uint8)
    for number in range(_FILES):
        prompt = f"a red fox number {number} in snow, {_RARE[number]}"
        image = ResultImage(pixels, prompt, "blurry", ImageGenerationConfig(model="m.ckpt", seed=number, steps=8))
        (folder / f"{number}.png").write_bytes(encode_png(pixels, build_metadata(image)))
    source = FolderSource("folders", folder, lambda file, path: read_image_metadata_from(file, name=str(path)))
    state = folder.parent / "state"
    seconds = time_once(lambda: run_indexing(open_index(state), open_tags(state), [source]))
    note = f"{_FILES / seconds:.0f} files a second"
    return Measurement("indexing a PNG file by its metadata", seconds / _FILES * 1e3, "ms", _FILE_GOAL_MS, note)


def _measure_searches(folder: Path, sizes: Sequence[int]) -> Iterator[Measurement]:
    command = [sys.executable, "-m", "benchmarks.search", str(folder), *map(str, sizes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        found: dict[str, dict[int, list[float]]] = {}
        for size in sizes:
            report = json.loads(process.stdout.readline())
            yield Measurement(f"indexing {size:,} rows, each", report["ms_per_row"], "ms", None, report["note"])
            scans = {"text": _scan_by_like(folder), "visual": _scan_hashes(folder)}
            for kind, times in report["times"].items():
                found.setdefault(kind, {})[size] = times
                yield _judge(kind, size, times, scans.get("visual" if kind.startswith("visual") else "text", 0.0))
            process.stdin.write("go on\n")
            process.stdin.flush()
        peak = json.loads(process.stdout.readline())
    for kind, by_size in found.items():
        for smaller, larger in pairwise(sizes):
            growth = statistics.median(by_size[larger]) / statistics.median(by_size[smaller])
            yield Measurement(f"{kind}: {larger:,} rows over {smaller:,}", growth, "x", None, "medians")
    yield Measurement("memory after indexing, words only", peak["indexing"], "MiB", _MEMORY_GOAL_MIB)
    yield Measurement("memory with all looks loaded", peak["all"], "MiB", _MEMORY_GOAL_MIB, "peak of the process")


def _judge(kind: str, size: int, times: Sequence[float], scan: float) -> Measurement:
    median, p95 = statistics.median(times), sorted(times)[int(len(times) * 0.95) - 1]
    goal, against = (_VISUAL_GOAL_MS, "a hash scan") if kind.startswith("visual") else (_TEXT_GOAL_MS, "a LIKE scan")
    note = f"median {median:.2f}, max {max(times):.1f}; {against} {scan:.0f} ms"
    return Measurement(f"{kind}, {size:,} rows, p95", p95, "ms", goal, note)


def _scan_by_like(folder: Path) -> float:
    """Milliseconds for the newest pictures that contain a frequent word and a rare one, without an index."""
    statement = "SELECT id FROM pictures WHERE words LIKE ? AND words LIKE ? ORDER BY id DESC LIMIT ?"
    rare = [word for word in reversed(_RARE) if len(word) >= 2 * _SYLLABLES]
    words = [(f"%{common}%", f"%{word}%", _PAGE) for common, word in zip(COMMON[:_SCANS], rare, strict=False)]
    with open_index(folder).open() as connection:
        scans = [partial(_fetch, connection.execute, statement, pair) for pair in words]
        return _best(partial(_run_each, scans)) / _SCANS


def _fetch(execute: Callable[..., object], statement: str, values: object) -> None:
    list(execute(statement, values))  # type: ignore[call-overload]


def _run_each(works: Sequence[Callable[[], object]]) -> None:
    for work in works:
        work()


def _scan_hashes(folder: Path) -> float:
    """Milliseconds for the nearest hashes by a loop over all of them."""
    with open_index(folder).open() as connection:
        rows = connection.execute("SELECT picture, substr(features, 1, 8) FROM looks").fetchall()
    hashes = [(int.from_bytes(data, "little"), picture) for picture, data in rows]
    wanted = hashes[0][0]
    return _best(lambda: sorted(((wanted ^ one).bit_count(), picture) for one, picture in hashes)[:_PAGE])


def _best(work: Callable[[], object], rounds: int = 2) -> float:
    return min(time_once(work) for _ in range(rounds)) * 1e3


def serve(folder: Path, sizes: Sequence[int]) -> None:
    """The process that is measured: grows an index, searches it at each size, tells what it took."""
    index, tags = open_index(folder), open_tags(folder)
    gallery = VisualIndex()
    before, indexing = 0, 0.0
    for size in sizes:
        seconds = time_once(lambda size=size: run_indexing(index, tags, [MadeUpSource(0, size)]))  # type: ignore[misc]
        indexing = measure_peak()
        _add_looks(index)
        times = {kind: [_time(ask) for ask in asks] for kind, asks in _list_questions(index, folder, gallery, size)}
        note = f"{(size - before) / seconds:.0f} a second, {index.path.stat().st_size / 1e6 / size * 1000:.2f} KB each"
        _tell({"ms_per_row": seconds / (size - before) * 1e3, "note": note, "times": times})
        sys.stdin.readline()
        before = size
    _tell({"indexing": indexing, "all": measure_peak()})


def _tell(report: object) -> None:
    print(json.dumps(report), flush=True)


def _time(ask: Callable[[], object]) -> float:
    start = time.perf_counter()
    ask()
    return (time.perf_counter() - start) * 1e3


Question = Callable[[], object]


def _list_questions(
    index: Database, folder: Path, gallery: VisualIndex, size: int
) -> Iterator[tuple[str, list[Question]]]:
    dice = random.Random(11)
    ask = partial(_search, index, MadeUpSource(0, size), ImageCatalog(folder))
    common, rare = list(COMMON), _RARE[: len(_RARE) // 4]

    def pick(count: int) -> str:
        return " ".join(dice.sample(common, count))

    text: list[Question] = [
        *(partial(ask, pick(1 + number % 4)) for number in range(_QUERIES // 2)),
        *(partial(ask, f"{pick(1)} {dice.choice(rare)}") for _ in range(_QUERIES // 4)),
        *(partial(ask, f'"{pick(2)}" {pick(1)}') for _ in range(_QUERIES // 4)),
    ]
    filters = ("model:flux", "model:qwen_3", "size:1344x768", "size:512x512", "since:2021", "-portrait", "model:sdxl")
    filtered: list[Question] = [
        *(partial(ask, f"{pick(2)} {dice.choice(filters)} {dice.choice(filters)}") for _ in range(_QUERIES // 2)),
        *(partial(ask, f"{dice.choice(rare)} {dice.choice(filters)}") for _ in range(_QUERIES // 4)),
        *(partial(ask, dice.choice(filters)) for _ in range(_QUERIES // 4)),
    ]
    beginnings: list[Question] = [
        partial(ask, f"{pick(1)} {dice.choice(rare)[: dice.randint(2, 4)]}") for _ in range(_QUERIES)
    ]
    fuzzy: list[Question] = [
        partial(ask, f"{pick(1)} {_misspell(dice, dice.choice(common))}x") for _ in range(_QUERIES)
    ]
    looks = [_make_look(dice.randrange(size), noise=3) for _ in range(_QUERIES)]
    _rank(index, gallery, looks[0], ())  # the first question reads all looks into memory
    yield "text", text
    yield "filtered", filtered
    yield "beginnings", beginnings
    yield "fuzzy", fuzzy
    yield "visual", [partial(_rank, index, gallery, look, ()) for look in looks]
    yield "visual with a colour", [partial(_rank, index, gallery, look, ("blue",)) for look in looks]


def _search(index: Database, source: MadeUpSource, catalog: ImageCatalog, text: str) -> object:
    """As a search does, but for the ids of the catalog."""
    with index.open() as connection:
        builder = HitBuilder(connection, {source_key(source.root, source.kind): source}, catalog)
        query = parse_query(text, _NOW)
        return IndexQuery(connection, query).find_page(0, _PAGE, builder.is_alive)


def _rank(index: Database, gallery: VisualIndex, look: VisualFeatures, wishes: Sequence[str]) -> object:
    with index.open() as connection:
        gallery.refresh(connection)
        return gallery.rank(connection, look, wishes=wishes)


def _misspell(dice: random.Random, word: str) -> str:
    at = dice.randrange(len(word) - 1)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _make_look(number: int, noise: int = 0) -> VisualFeatures:
    dice = np.random.default_rng(number)
    shares = dice.dirichlet(np.full(len(COLOURS), 0.4))
    grid = dice.integers(0, 256, (4, 4, 3), np.uint8)
    bits = int(dice.integers(0, 1 << 64, dtype=np.uint64)) ^ ((1 << noise) - 1)
    return VisualFeatures(
        bits, np.rint(shares * 255).astype(np.uint8), int(dice.integers(256)), int(dice.integers(96, 160)), grid
    )


def _add_looks(index: Database) -> None:
    """Looks for the pictures that have none, as if they had been looked at."""
    with index.open() as connection, transaction(connection):
        rows = connection.execute("SELECT id FROM pictures WHERE id NOT IN (SELECT picture FROM looks)").fetchall()
        (first,) = connection.execute("SELECT count(*) FROM looks").fetchone()
        connection.executemany(
            "INSERT INTO looks (picture, features) VALUES (?, ?)",
            ((picture, _make_look(first + number).encode()) for number, (picture,) in enumerate(rows)),
        )


if __name__ == "__main__":
    serve(Path(sys.argv[1]), [int(size) for size in sys.argv[2:]])
