"""From starting the server to its answer to ``initialize``, beside a server of the same SDK that does nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.measurement import Duel, Measurement

ROUNDS = 11
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


def run() -> Iterable[Measurement]:
    """Spawn to initialize, both in new processes, in turn."""
    ours = [str(Path(sys.executable).with_name("drawthings-mcp")), "--server", "demo"]
    bare = [sys.executable, "-c", BARE_SERVER]
    time_start(ours), time_start(bare)
    rounds = [(time_start(ours), time_start(bare)) for _ in range(ROUNDS)]
    duel = Duel(*map(tuple, zip(*rounds, strict=True)))
    yield Measurement("spawn to initialize, against a bare server", duel.ratio, "x", 1.10, duel.note)


def time_start(command: Sequence[str]) -> float:
    """Seconds from spawning a server to its answer; its end is waited for and not counted."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        seconds = time.perf_counter() - start
        process.stdin.close()
        process.wait(30)
    if "result" not in answer:
        sys.exit(f"{command} answered {answer}")
    return seconds
