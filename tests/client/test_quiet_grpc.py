"""What gRPC itself writes to stderr while a program uses the library."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

pytestmark = pytest.mark.anyio

Peer = Callable[..., Any]

SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
GOAWAY = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + b"\x00\x00\x00\x00" + b"\x00\x00\x00\x02"
"""The end of a connection for an internal error (RFC 9113 §6.8)."""

PROGRAM = """
import os, sys
{before}
from drawthings_mcp import DrawThingsClient, DrawThingsError
with DrawThingsClient(sys.argv[1], tls="off") as client:
    try:
        client.files_exist(["a.ckpt"])
    except DrawThingsError as error:
        print(type(error).__name__)
print(os.environ.get("GRPC_VERBOSITY"))
"""


async def refuse_politely(stream: ByteStream) -> None:
    """Greets, and sends whoever asks for more away."""
    received = b""
    # A probe sends an empty SETTINGS frame and leaves; only gRPC goes on.
    while len(received) < 24 + 9 + 1:
        received += await stream.receive()
        await stream.send(SETTINGS)
    await stream.send(GOAWAY)


async def run_program(address: str, *, before: str = "", **variables: str) -> tuple[list[str], str]:
    """The lines that a program with a client prints, and what is on its stderr."""
    kept = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    command = [sys.executable, "-c", PROGRAM.format(before=before), address]
    with anyio.fail_after(60):
        ended = await anyio.run_process(command, env={**kept, **variables})
    return ended.stdout.decode().split(), ended.stderr.decode()


async def test_notes_of_grpc_stay_off_stderr_and_the_environment_stays_as_it_was(serve_tcp: Peer) -> None:
    async with serve_tcp(refuse_politely) as address:
        printed, noise = await run_program(address)
    assert printed[1:] == ["None"]
    assert noise == ""


async def test_a_verbosity_that_the_user_chose_is_kept(serve_tcp: Peer) -> None:
    async with serve_tcp(refuse_politely) as address:
        printed, noise = await run_program(address, GRPC_VERBOSITY="INFO")
    assert printed[1:] == ["INFO"]
    assert "goaway" in noise


async def test_a_program_that_uses_grpc_itself_keeps_its_notes(serve_tcp: Peer) -> None:
    async with serve_tcp(refuse_politely) as address:
        _, noise = await run_program(address, before="import grpc")
    assert "goaway" in noise
