"""One server over HTTP: what it adds to a call against stdio, and how it answers one client while many others work."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from benchmarks.measurement import Duel, Measurement
from tests.http_process import HttpProcess, serve_http

SESSIONS = 50
PAUSE = 5.0
"""Seconds that a session rests after a call; agents that work without a break rest longer, as their model thinks."""
SECONDS = 40.0
SETTLED = 0.3
"""Share of the time after which all that is loaded once is loaded."""
_ROUNDS = 40
_PROBES = 100
_SIZE = {"width": 128, "height": 128, "steps": 1, "model": "z-image"}
_SEARCH: tuple[str, dict[str, Any]] = ("search_images", {"query": "fox", "limit": 5})
_CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("generate_image", {"prompt": "a red fox in snow", **_SIZE}),
    ("list_models", {"query": "flux", "limit": 5}),
    _SEARCH,
    ("review_image", {"images": ["latest"]}),
)
"""What each session does, over and over."""


def run() -> Iterable[Measurement]:
    """About a minute and a half."""
    with tempfile.TemporaryDirectory() as folder, _simulate() as address:
        duels = anyio.run(_compare, Path(folder), address)
    for (tool, _), duel in zip((_CALLS[1], _SEARCH), duels, strict=True):
        added = (min(duel.ours) - min(duel.reference)) * 1e3
        yield Measurement(f"{tool} over HTTP, added to stdio", added, "ms", 5, duel.note)
    yield from measure_sessions(SECONDS)


def measure_sessions(seconds: float) -> Iterator[Measurement]:
    """Searches of one session, alone and while the others work for so long; errors of all; the server's memory."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _simulate() as address,
        serve_http(build_environment(Path(folder)), server=address) as server,
    ):
        command = [sys.executable, "-m", __name__, server.url, str(seconds)]
        anyio.run(_draw_some, server)
        alone, _ = anyio.run(_probe, server, None)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as others:
            among, memory = anyio.run(_probe, server, others)
            assert others.stdout is not None
            calls, errors = map(int, others.stdout.read().split())
    note = f"{calls} calls of {SESSIONS} sessions, each {PAUSE:g} s after its last"
    yield Measurement("calls that failed", errors, "", 0, note)
    note = f"{_find_p95(among) * 1e3:.1f} against {_find_p95(alone) * 1e3:.1f} ms of a session alone"
    yield Measurement("search among them, 95th percentile", _find_p95(among) / _find_p95(alone), "x", 3.0, note)
    settled = memory[int(len(memory) * SETTLED) :]
    tenth = max(len(settled) // 10, 1)
    first, last = min(settled[:tenth]), min(settled[-tenth:])
    note = f"{first / 2**20:.0f} → {last / 2**20:.0f} MiB"
    yield Measurement("memory at the end, against the start", last / first, "x", 1.25, note)


def build_environment(folder: Path) -> dict[str, str]:
    """Settings of a server that keeps everything in a folder."""
    return {
        "HOME": str(folder),
        "DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(folder / "state"),
        "DRAWTHINGS_CUSTOM_CONFIGS": "none",
    }


@contextmanager
def _simulate() -> Iterator[str]:
    """The address of a simulator in a process of its own."""
    command = [sys.executable, "-m", "drawthings_mcp", "simulator", "--port", "0", "--no-tls"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(word for line in process.stdout for word in line.split() if ":" in word and word[-1].isdigit())
        finally:
            process.terminate()


@asynccontextmanager
async def _connect(url: str, mode: str = "auto") -> AsyncIterator[Client]:
    async with httpx2.AsyncClient(timeout=120) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, read_timeout_seconds=120, mode=mode) as client:
            yield client


async def _compare(folder: Path, address: str) -> list[Duel]:
    """Calls over HTTP and over stdio in turn, each to a server of its own with the same settings."""
    own = build_environment(folder / "stdio")
    command = StdioServerParameters(command=sys.executable, args=["-m", "drawthings_mcp", "--server", address], env=own)
    with serve_http(build_environment(folder / "http"), server=address) as server:
        async with _connect(server.url) as ours, Client(command, read_timeout_seconds=120) as reference:
            return [await _time_in_turn(ours, reference, *call) for call in (_CALLS[1], _SEARCH)]


async def _time_in_turn(ours: Client, reference: Client, tool: str, arguments: Mapping[str, Any]) -> Duel:
    rounds = [
        [await _time(client, tool, arguments) for client in (ours, reference)] for _ in range(_ROUNDS + _ROUNDS // 4)
    ]
    return Duel(*map(tuple, zip(*rounds[_ROUNDS // 4 :], strict=True)))


async def _time(client: Client, tool: str, arguments: Mapping[str, Any]) -> float:
    start = time.perf_counter()
    result = await client.call_tool(tool, dict(arguments))
    assert not result.is_error, result
    return time.perf_counter() - start


async def _draw_some(server: HttpProcess) -> None:
    """Something to find, and everything loaded that is loaded once."""
    async with _connect(server.url) as client:
        for (tool, arguments), _ in itertools.product(_CALLS, range(5)):
            await client.call_tool(tool, arguments)


async def _probe(server: HttpProcess, others: subprocess.Popen[str] | None) -> tuple[list[float], list[int]]:
    """Seconds of searches, and the server's memory, until the others end; without others some of them."""
    seconds: list[float] = []
    memory: list[int] = []
    async with _connect(server.url) as client:
        while (others.poll() is None) if others is not None else len(seconds) < _PROBES:
            seconds.append(await _time(client, *_SEARCH))
            memory.append(server.measure_memory())
            await anyio.sleep(0.1)
    return seconds, memory


def _find_p95(seconds: list[float]) -> float:
    return sorted(seconds)[math.ceil(len(seconds) * 0.95) - 1]


async def _work(url: str, seconds: float) -> None:
    """All sessions but the one that is timed, in both eras; prints how many calls they made and how many failed."""
    outcomes: list[bool] = []
    end = time.monotonic() + seconds

    async def work(number: int) -> None:
        await anyio.sleep(PAUSE * number / SESSIONS)
        mode = "legacy" if number % 2 else "auto"
        async with _connect(url, mode) as client:
            for tool, arguments in itertools.cycle(_CALLS):
                if time.monotonic() > end:
                    break
                outcomes.append(not (await client.call_tool(tool, arguments)).is_error)
                await anyio.sleep(PAUSE)

    async with anyio.create_task_group() as tasks:
        for number in range(1, SESSIONS):
            tasks.start_soon(work, number)
    print(len(outcomes), outcomes.count(False))


if __name__ == "__main__":
    anyio.run(_work, sys.argv[1], float(sys.argv[2]))
