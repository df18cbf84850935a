"""The server as a process: what it writes, and how it ends."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drawthings_mcp.attachments.encoding import count_result
from drawthings_mcp.attachments.preview import Preview
from drawthings_mcp.server.session import Session
from drawthings_mcp.server.viewer import ChatClient
from tests.warm_start import list_command

TOKEN = {"progressToken": "p"}
END_WITHIN = 2.0
"""Seconds that a process may take to end."""


class Process:
    """A server process, spoken to line by line."""

    def __init__(self, environment: dict[str, str], *, is_fresh: bool = False) -> None:
        command = ["-m", "drawthings_mcp", "--server", "demo"]
        self.process = subprocess.Popen(
            [sys.executable, *command] if is_fresh else list_command(*command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        # A test that waits for a line that never comes must end.
        self.watchdog = threading.Timer(60, self.process.kill)
        self.watchdog.start()
        self.lines: list[dict[str, Any]] = []

    def send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = json.loads(self.process.stdout.readline())
        self.lines.append(line)
        return dict(line)

    def initialize(self) -> None:
        client = {"name": "mcp-inspector", "version": "1"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        self.send(id=1, method="initialize", params=params)
        assert self.read()["id"] == 1
        self.send(method="notifications/initialized")

    def start_rendering(self, steps: int) -> None:
        arguments = {"prompt": "a fox", "width": 128, "height": 128, "steps": steps}
        params = {"name": "generate_image", "arguments": arguments, "_meta": TOKEN}
        self.send(id=2, method="tools/call", params=params)

    def close(self) -> None:
        self.watchdog.cancel()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()


@pytest.fixture
def server(server_environment: dict[str, str], request: pytest.FixtureRequest) -> Iterator[Process]:
    process = Process(server_environment, is_fresh=getattr(request, "param", False))
    try:
        process.initialize()
        yield process
    finally:
        process.close()


def wait_for_step(server: Process, step: int) -> None:
    while f"Step {step}/" not in server.read().get("params", {}).get("message", ""):
        pass


@pytest.mark.parametrize("server", [True], indirect=True, ids=["fresh"])
@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "closed stdin"])
def test_the_process_ends_cleanly_also_while_it_renders(server: Process, how: str, busy: bool) -> None:
    if busy:
        server.start_rendering(steps=150)
        wait_for_step(server, 2)
    if how == "closed stdin":
        assert server.process.stdin is not None
        server.process.stdin.close()
    else:
        server.process.send_signal(signal.Signals[how])
    assert server.process.wait(END_WITHIN) == 0
    assert server.process.stderr is not None
    assert b"Traceback" not in server.process.stderr.read()


def test_nothing_but_the_protocol_is_written_to_stdout(server: Process) -> None:
    server.send(id=3, method="tools/list")
    server.start_rendering(steps=2)
    answered: set[Any] = set()
    while answered != {2, 3}:
        answered |= {server.read().get("id")} - {None}
    assert all(line["jsonrpc"] == "2.0" for line in server.lines)


def test_the_characters_of_a_result_are_counted_as_they_are_on_the_wire(server: Process) -> None:
    arguments = {"prompt": 'a "fox" \\ füchslein', "width": 128, "height": 128, "variants": 4, "steps": 1}
    server.send(id=4, method="tools/call", params={"name": "generate_image", "arguments": arguments})
    while (answer := server.read()).get("id") != 4:
        pass
    text, *pictures = answer["result"]["content"]
    previews = [Preview(base64.b64decode(block["data"]), block["mimeType"], 0, 0) for block in pictures]
    on_the_wire = len(json.dumps(answer["result"], ensure_ascii=False, separators=(",", ":")))
    # Newer versions of the protocol than this client's add what kind of result it is.
    assert count_result(text["text"], previews) == on_the_wire + len(',"resultType":"complete"')
    assert len(previews) == 3


NO_MESSAGES: list[tuple[bytes, str | int | None, int]] = [
    (b"{not json", None, -32700),
    (b"\xff\xfe", None, -32700),
    (b"[]", None, -32600),
    (b'"text"', None, -32600),
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', None, -32600),
    (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', None, -32600),
    (b'{"jsonrpc":"1.0","id":7,"method":"ping"}', 7, -32600),
    (b'{"id":"a","method":"ping"}', "a", -32600),
    (b'{"jsonrpc":"2.0","id":7,"method":8}', 7, -32600),
    (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":[1]}', 7, -32602),
    (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":"x"}', 7, -32602),
    (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":3}', 7, -32602),
    (b'{"jsonrpc":"2.0","id":"\\"7","method":"ping","params":' + b'{"id":' * 200 + b"1" + b"}" * 201, '"7', -32602),
    (b'{"params":' + b"[" * 100_000 + b"]" * 100_000 + b',"id":7,"method":"ping","jsonrpc":"2.0"}', 7, -32602),
    (b"[" * 100_000, None, -32602),
]
"""Lines, the id that their refusal has, and its code."""


def test_lines_that_are_no_messages_are_answered_and_the_next_ones_served(server: Process) -> None:
    assert server.process.stdin is not None
    for number, (line, request_id, code) in enumerate(NO_MESSAGES, start=100):
        server.process.stdin.write(line + b"\n")
        server.send(id=number, method="tools/list")
        refusal, answer = server.read(), server.read()
        assert (refusal["id"], refusal["error"]["code"]) == (request_id, code), line[:60]
        assert answer["id"] == number
        assert answer["result"]["tools"]


def test_a_client_that_discovers_and_then_initializes_is_served(server_environment: dict[str, str]) -> None:
    process = Process(server_environment)
    prefix = "io.modelcontextprotocol/"
    about = {"protocolVersion": "2026-07-28", "clientInfo": {"name": "test", "version": "1"}, "clientCapabilities": {}}
    envelope = {prefix + name: value for name, value in about.items()}
    try:
        for number in (10, 11):
            process.send(id=number, method="server/discover", params={"_meta": envelope})
            assert "capabilities" in process.read()["result"]
        process.initialize()
        process.send(id=2, method="tools/list")
        assert process.read()["result"]["tools"]
    finally:
        process.close()


def test_a_client_that_discovers_and_goes_on_without_a_handshake_is_served(server_environment: dict[str, str]) -> None:
    process = Process(server_environment)
    prefix = "io.modelcontextprotocol/"
    about = {"protocolVersion": "2026-07-28", "clientInfo": {"name": "test", "version": "1"}, "clientCapabilities": {}}
    envelope = {prefix + name: value for name, value in about.items()}
    try:
        process.send(id=1, method="server/discover", params={"_meta": envelope})
        process.read()
        process.send(id=2, method="tools/list", params={"_meta": envelope})
        assert process.read()["result"]["tools"]
    finally:
        process.close()


@pytest.mark.parametrize("server", [True], indirect=True, ids=["fresh"])
def test_further_signals_do_not_disturb_the_end(server: Process, server_environment: dict[str, str]) -> None:
    arguments = {"prompt": "a fox", "width": 128, "height": 128, "steps": 2, "variants": 4}
    server.send(id=2, method="tools/call", params={"name": "generate_image", "arguments": arguments, "_meta": TOKEN})
    while "Received" not in server.read().get("params", {}).get("message", ""):
        pass
    for number in [signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM]:
        with contextlib.suppress(ProcessLookupError):
            server.process.send_signal(number)
    assert server.process.wait(END_WITHIN) == 0
    saved = list(Path(server_environment["DRAWTHINGS_OUTPUT_DIR"]).rglob("*.png"))
    assert saved, "the picture that had arrived was not saved"
    assert not list(Path(server_environment["DRAWTHINGS_OUTPUT_DIR"]).rglob("*.part"))


@pytest.mark.parametrize(("reason", "goes_on"), [("Request timed out", True), ("the user pressed stop", False)])
def test_a_cancellation_because_time_is_up_leaves_the_render_as_a_job(
    server: Process, reason: str, goes_on: bool
) -> None:
    server.start_rendering(steps=40)
    wait_for_step(server, 2)
    server.send(method="notifications/cancelled", params={"requestId": 2, "reason": reason})
    server.send(id=3, method="tools/call", params={"name": "get_job", "arguments": {}})
    while (answer := server.read()).get("id") != 3:
        pass
    assert answer["result"].get("isError", False) is not goes_on
    assert ("v1: " in answer["result"]["content"][0]["text"]) is goes_on


@pytest.mark.parametrize(
    ("client", "reason", "seconds", "timed_out"),
    [
        ("codex-mcp-client", "MCP request cancelled by caller", 299, True),
        ("codex-mcp-client", "MCP request cancelled by caller", 60, False),
        ("somebody", "", 61.5, True),
        ("somebody", "", 63, False),
        ("somebody", "timed out after 5s", 5, True),
        ("somebody", "stopped by the user", 5, False),
    ],
)
def test_a_cancellation_at_the_limit_of_a_client_is_one_because_time_is_up(
    client: str, reason: str, seconds: float, timed_out: bool
) -> None:
    session, call = Session.__new__(Session), SimpleNamespace(request_id="7")
    session.cancelled = {"7": reason}
    assert session.has_timed_out(cast(Any, call), ChatClient(client, "1"), seconds) is timed_out


def test_half_of_an_emoji_in_an_argument_is_answered(server: Process) -> None:
    line = (
        rb'{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"list_models",'
        rb'"arguments":{"query":"\ud83d \ud83e\udd8a \\ud83d"}}}'
    )
    assert server.process.stdin is not None
    server.process.stdin.write(line + b"\n")
    server.process.stdin.flush()
    assert server.read()["id"] == 6


def test_a_file_as_stdin_is_read_to_its_end(tmp_path: Path, server_environment: dict[str, str]) -> None:
    script = tmp_path / "session.jsonl"
    script.write_text("{not json\n")
    with script.open() as stdin:
        done = subprocess.run(
            [sys.executable, "-m", "drawthings_mcp", "--server", "demo"],
            stdin=stdin,
            capture_output=True,
            env={**os.environ, **server_environment},
            timeout=60,
            check=True,
        )
    assert json.loads(done.stdout)["error"]["code"] == -32700
