"""Thousands of calls to a server, of connections over HTTP, and of searches among others: what grows, what gets slower.

``make soak`` runs it for some minutes; ``SOAK_CALLS`` changes how many. Everything stays on this machine.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters

from benchmarks.http import build_environment, measure_sessions
from benchmarks.measurement import Measurement
from drawthings_mcp.jobs.board import JobBoard
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.simulator import Simulator
from tests.http_process import serve_http
from tests.server.test_durable_jobs import order

CALLS = int(os.environ.get("SOAK_CALLS", "3000"))
KILLS = int(os.environ.get("SOAK_KILLS", "50"))
IDLE = 10_000
"""Connections on which nothing is sent."""
HOUSE_SECONDS = CALLS / 10
"""For which many sessions work at once."""
SETTLED = 0.2
"""Share of the calls after which all that is loaded once is loaded."""

_SIZE = {"width": 128, "height": 128, "steps": 1, "model": "z-image"}
_KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("generate_image", {"prompt": "a red fox in snow", **_SIZE}),
    ("list_models", {"query": "flux", "limit": 5}),
    ("generate_image", {"prompt": "a lighthouse", "canvas": "latest", "mode": "image2image", **_SIZE}),
    ("review_image", {"images": ["latest"]}),
    ("transform_image", {"operation": "crop", "images": ["latest"], "boxes": [[0, 0, 0.5, 0.5]]}),
    ("search_images", {"query": "fox", "limit": 5}),
    ("generate_image", {"prompt": "a castle", "dry_run": True}),
    ("generate_image", {"prompt": "a castle", "model": "nonesuch"}),
    ("tag_image", {"images": ["latest"], "add": ["best"]}),
)
"""One round of calls; one of them is refused."""


def run() -> Iterable[Measurement]:
    """What the process takes after all calls, against after the first fifth of them."""
    with tempfile.TemporaryDirectory() as folder:
        samples, seconds = anyio.run(_soak, Path(folder))
    # The least of some samples: indexing in the background has files open for moments.
    settled, some = int(len(samples) * SETTLED), max(len(samples) // 10, 1)
    first, last = (_find_least(part) for part in (samples[settled : settled + some], samples[-some:]))
    note = f"{CALLS} calls; {first['memory']:.0f} → {last['memory']:.0f} MiB"
    yield Measurement("memory at the end, against the start", last["memory"] / first["memory"], "x", 1.25, note)
    for name in ("descriptors", "threads"):
        note = f"{first[name]:.0f} → {last[name]:.0f}"
        yield Measurement(f"more {name} at the end", last[name] - first[name], "", 3, note)
    for tool in dict.fromkeys(tool for tool, _ in _KINDS):
        times = seconds[tool]
        tenth = max(len(times) // 10, 1)
        start = statistics.median(times[tenth : 2 * tenth])
        end = statistics.median(times[-tenth:])
        note = f"{start * 1e3:.1f} → {end * 1e3:.1f} ms"
        yield Measurement(f"{tool} at the end, against the start", end / start, "x", 2.0, note)
    yield from _connect_idly()
    yield from measure_sessions(HOUSE_SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        yield from anyio.run(_kill_often, Path(folder))


def _connect_idly() -> Iterable[Measurement]:
    """What the server over HTTP takes while thousands of connections stay silent, and whether it answers others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(IDLE, (hard if hard != resource.RLIM_INFINITY else 2 * IDLE) - 100)
    with tempfile.TemporaryDirectory() as folder, serve_http(build_environment(Path(folder))) as server:
        assert server.status("GET", "/health") == 200
        before = server.measure_memory()
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(server.connect_raw())
            start = time.perf_counter()
            assert server.status("GET", "/health") == 200
            seconds = time.perf_counter() - start
            grown = (server.measure_memory() - before) / 2**20
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    note = f"{count} connections"
    yield Measurement("memory for idle connections", grown, "MiB", 100, note)
    yield Measurement("an answer with idle connections", seconds * 1e3, "ms", 2_000, note)


async def _kill_often(folder: Path) -> list[Measurement]:
    """What becomes of jobs whose server is killed again and again, at moments of any phase."""
    environment = {**build_environment(folder), "DRAWTHINGS_MAX_WAIT": "0.1"}
    moments = random.Random(15)
    async with Simulator(step_seconds=0.05) as simulator:
        for number in range(KILLS):
            with serve_http(environment, server=simulator.address) as server:
                await order(server, steps=4, variants=2, seed=10 * number)
                await anyio.sleep(moments.uniform(0, 1.5))
                server.process.kill()
        board = JobBoard(folder / "state")
        with serve_http(environment, server=simulator.address):
            while any(job.is_active or not job.is_done for job in board.list_jobs(KILLS)):  # noqa: ASYNC110
                await anyio.sleep(1)
    jobs = board.list_jobs(KILLS)
    pictures = ImageCatalog(folder / "state").list_images(["v"])
    done = sum(job.state == "done" for job in jobs)
    given_up = sum(job.state == "failed" and "it is not tried again" in job.message for job in jobs)
    note = f"{KILLS} kills; {done} done, {given_up} given up after two crashes, {len(pictures)} pictures"
    files = len(list((folder / "pictures").glob("*.png")))
    return [
        Measurement("jobs lost", KILLS - done - given_up, "", 0, note),
        Measurement("pictures made twice", len(pictures) - len({picture.seed for picture in pictures}), "", 0, note),
        Measurement("pictures missing of what was done", max(2 * done - len(pictures), 0), "", 0, note),
        Measurement("files without a record", files - len(pictures), "", 0, note),
    ]


async def _soak(folder: Path) -> tuple[list[dict[str, float]], dict[str, list[float]]]:
    command = StdioServerParameters(command="drawthings-mcp", args=["--server", "demo"], env=build_environment(folder))
    before = _list_children()
    samples: list[dict[str, float]] = []
    seconds: dict[str, list[float]] = {tool: [] for tool, _ in _KINDS}
    async with Client(command, read_timeout_seconds=120) as client:
        (process,) = _list_children() - before
        for number, (tool, arguments) in enumerate(itertools.islice(itertools.cycle(_KINDS), CALLS)):
            start = time.perf_counter()
            await client.call_tool(tool, arguments)
            seconds[tool].append(time.perf_counter() - start)
            if number % 50 == 0:
                samples.append(_look_at(process))
        samples.append(_look_at(process))
    return samples, seconds


def _find_least(samples: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: min(sample[name] for sample in samples) for name in samples[0]}


def _list_children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def _look_at(process: int) -> dict[str, float]:
    """Of the server itself; the processes that decode are its children."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return {
        "memory": int(status["VmRSS"].split()[0]) / 1024,
        "threads": int(status["Threads"]),
        "descriptors": len(list(Path(f"/proc/{process}/fd").iterdir())),
    }
