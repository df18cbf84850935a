"""How long a client waits: for the answer to ``initialize``, and for its first picture to be asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal

from benchmarks.measurement import Duel, Measurement
from drawthings_mcp.simulator import Simulator

ROUNDS = 11
CALL_ROUNDS = 5
BARE_SERVER = "from mcp.server import MCPServer; MCPServer('bare').run('stdio')"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    },
}
END_ROUNDS = 3
END_GOAL_MS = 80.0
"""Some clients kill a server that has not ended by then."""
ENDS = {"idle": (END_GOAL_MS, 0, ""), "during a render": (None, 150, "Step 2/"), "during a save": (None, 2, "Received")}
"""When a server is ended: the goal, the steps of what it renders, and the progress that is waited for."""
PAUSE = 2.0
"""Seconds from the handshake to the first call: sooner than anybody types a wish."""
CALL_GOAL_MS = 50.0
_OURS = str(Path(sys.executable).with_name("drawthings-mcp"))


def run() -> Iterable[Measurement]:
    """New processes each time; about a minute."""
    ours = [_OURS, "--server", "demo"]
    bare = [sys.executable, "-c", BARE_SERVER]
    time_start(ours), time_start(bare)
    rounds = [(time_start(ours), time_start(bare)) for _ in range(ROUNDS)]
    duel = Duel(*map(tuple, zip(*rounds, strict=True)))
    yield Measurement("spawn to initialize, against a bare server", duel.ratio, "x", 1.10, duel.note)
    bare_end = min(time_end(bare) for _ in range(END_ROUNDS)) * 1e3
    for name, (goal, steps, until) in ENDS.items():
        ends = [time_end(ours, steps, until) for _ in range(END_ROUNDS)]
        yield Measurement(f"end after SIGTERM, {name}", min(ends) * 1e3, "ms", goal, f"a bare server {bare_end:.0f} ms")
    for tls, goal in (("off", CALL_GOAL_MS), ("on", None)):
        # The first round makes the catalog.
        first, *later = time_first_calls(tls, CALL_ROUNDS + 1)
        note = f"{PAUSE:g} s after the handshake; TLS {tls}; on a fresh disk {first * 1e3:.0f} ms"
        yield Measurement("first call to its request's arrival", min(later) * 1e3, "ms", goal, note)


def time_end(command: Sequence[str], steps: int = 0, until: str = "") -> float:
    """Seconds from SIGTERM, or a closed stdin where that is all that ends a server, to the end of its process."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"DRAWTHINGS_OUTPUT_DIR": f"{folder}/pictures", "DRAWTHINGS_STATE_DIR": f"{folder}/state"}
        with spawn(command, environment) as process:
            send(process, INITIALIZE)
            read(process)
            time.sleep(PAUSE)
            if steps:
                send(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})
                arguments = {"prompt": "a fox", "width": 512, "height": 512, "steps": steps}
                params = {"name": "generate_image", "arguments": arguments, "_meta": {"progressToken": 1}}
                send(process, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})
                while until not in str(read(process)):
                    pass
            start = time.perf_counter()
            if command[0] == _OURS:
                process.terminate()
            else:
                assert process.stdin is not None
                process.stdin.close()
            process.wait(30)
            return time.perf_counter() - start


def time_start(command: Sequence[str]) -> float:
    """Seconds from spawning a server to its answer; its end is waited for and not counted."""
    start = time.perf_counter()
    with spawn(command) as process:
        send(process, INITIALIZE)
        answer = read(process)
        seconds = time.perf_counter() - start
    if "result" not in answer:
        sys.exit(f"{command} answered {answer}")
    return seconds


def time_first_calls(tls: str, rounds: int) -> list[float]:
    """Seconds from a process's first ``generate_image`` to the arrival of its request at a server."""
    with (
        tempfile.TemporaryDirectory() as folder,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Simulator(tls=tls == "on")) as simulator,
    ):
        folders = {"DRAWTHINGS_OUTPUT_DIR": f"{folder}/pictures", "DRAWTHINGS_STATE_DIR": f"{folder}/state"}
        command = [_OURS, "--server", simulator.address, "--tls", tls]
        return [time_first_call(command, folders, simulator) for _ in range(rounds)]


def time_first_call(command: Sequence[str], environment: dict[str, str], simulator: Simulator) -> float:
    """The same of one process; a client asks for the tools before."""
    count = len(simulator.requests)
    with spawn(command, environment) as process:
        send(process, INITIALIZE)
        read(process)
        send(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        send(process, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
        read(process)
        time.sleep(PAUSE)
        start = time.perf_counter()
        arguments = {"prompt": "a fox", "width": 512, "height": 512}
        params = {"name": "generate_image", "arguments": arguments}
        send(process, {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params})
        while len(simulator.requests) == count:
            time.sleep(0.0005)
        seconds = time.perf_counter() - start
        answer = read(process)
    if answer.get("result", {}).get("isError", True):
        sys.exit(f"{command} answered {answer}")
    return seconds


@contextmanager
def spawn(command: Sequence[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A server's process, which is ended and waited for when it is left."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def send(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    """Writes a message to a server."""
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def read(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """A server's next message."""
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))
