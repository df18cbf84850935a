"""Several simulators, each a process with a fixed time per step: pictures per second, and moving on after a death."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.measurement import Measurement
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.settings import load_settings
from drawthings_mcp.studio.studio import JobRun, Studio, open_studio

_COUNTS = (1, 2, 4, 8)
_EACH = 3
_STEP_SECONDS = 0.25
_STEPS = 8
_SIDE = 128
_LONG = 40
"""Steps of the picture whose server dies."""


def run() -> Iterator[Measurement]:
    """Throughput by the number of servers, then the time to the first step elsewhere; about a minute."""
    rates = {count: asyncio.run(_measure_rate(count)) for count in _COUNTS}
    for count in _COUNTS[1:]:
        share = rates[count] / (count * rates[1])
        note = f"{rates[count]:.2f} pictures/s, of one server {rates[1]:.2f}"
        # Goals are upper bounds here: what {count} servers take for the work of one, each.
        yield Measurement(f"{count} servers, time per picture and server", 1 / share, "x", 1 / 0.95, note)
    seconds = asyncio.run(_measure_failover())
    yield Measurement("from a server's death to the first step elsewhere", seconds, "s", 1.0, "killed in sampling")


@contextmanager
def _start(step_seconds: float) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = ["-m", "drawthings_mcp", "simulator", "--port", "0", "--no-tls", "--step-seconds", str(step_seconds)]
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()[0]
        finally:
            process.kill()


def _load(addresses: Sequence[str], folder: str) -> dict[str, str]:
    return {
        "DRAWTHINGS_SERVER": ",".join(addresses),
        "DRAWTHINGS_TLS": "off",
        "DRAWTHINGS_OUTPUT_DIR": str(Path(folder, "pictures")),
        "DRAWTHINGS_STATE_DIR": str(Path(folder, "state")),
        "DRAWTHINGS_CUSTOM_CONFIGS": "none",
    }


def _ask(count: int, steps: int) -> GenerateParams:
    sweep = {"seed": list(range(1, count + 1))} if count > 1 else {}
    return GenerateParams(prompt="a red fox", width=_SIDE, height=_SIDE, steps=steps, sweep=sweep)


async def _measure_rate(count: int) -> float:
    """Pictures per second once everything is connected and loaded."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        servers = [stack.enter_context(_start(_STEP_SECONDS)) for _ in range(count)]
        settings = load_settings(environment=_load([address for _, address in servers], folder))
        async with open_studio(settings) as studio:
            await studio.generate(_ask(max(2, count), 1))
            started = time.perf_counter()
            result = await studio.generate(_ask(_EACH * count, _STEPS))
            seconds = time.perf_counter() - started
    assert len(result.variants) == _EACH * count
    return _EACH * count / seconds


async def _measure_failover() -> float:
    with _start(_STEP_SECONDS) as first, _start(_STEP_SECONDS) as second, tempfile.TemporaryDirectory() as folder:
        settings = load_settings(environment=_load([first[1], second[1]], folder))
        async with open_studio(settings) as studio:
            return await _kill_in_sampling(studio, first[0].pid)


async def _kill_in_sampling(studio: Studio, pid: int) -> float:
    moments: list[float] = []

    async def report(_: float, message: str) -> None:
        if message.startswith("Step 2/") and not moments:
            os.kill(pid, signal.SIGKILL)
            moments.append(time.perf_counter())
        elif message.startswith("Step 0/") and len(moments) == 1:
            moments.append(time.perf_counter())

    await studio.generate(_ask(1, _LONG), JobRun(report=report))
    died, moved = moments
    return moved - died
