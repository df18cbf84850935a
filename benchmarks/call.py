"""One ``generate_image`` over stdio, from the call to its answer, against unpacking the server's reply alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import fpzip
import grpc.aio
from mcp import Client, StdioServerParameters

from benchmarks.measurement import Duel, Measurement, time_once
from benchmarks.saving import make_photo
from drawthings_mcp._generated.image_service_pb2_grpc import ImageGenerationServiceStub
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig
from drawthings_mcp.tensors import encode_image
from drawthings_mcp.tensors.header import HEADER_SIZE, Codec
from drawthings_mcp.wire.request import build_request
from tests.strict_server import StrictServer

_ResultT = TypeVar("_ResultT")

_ROUNDS = 25
_GRAIN = 3.0
_MODEL = {"name": "Z Image Turbo 1.0", "file": "z_image_turbo_1.0_q8p.ckpt", "version": "z_image", "default_scale": 16}
_ANY_SIZE = (("grpc.max_receive_message_length", -1),)


def run() -> Iterator[Measurement]:
    """A call next to the decoder; about twenty seconds."""
    payload = encode_image(make_photo(_GRAIN), codec=Codec.FPZIP)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "payload")
        file.write_bytes(payload)
        duel, exchange = asyncio.run(_measure(payload[HEADER_SIZE:], file))
    note = (
        f"fpzip.decompress: {duel.note}; without the {exchange * 1e3:.1f} ms in which a bare gRPC client has the reply"
    )
    yield Measurement("generate_image over stdio", duel.ratio, "x", 1.20, note)


async def _measure(stream: bytes, payload: Path) -> tuple[Duel, float]:
    """Rounds of a call without what the reply takes to come, and of the decoder; and the least that it took."""
    rounds, exchanges = [], []
    with _start_server(payload) as address:
        async with (
            _connect(address, payload.parent) as client,
            grpc.aio.insecure_channel(address, _ANY_SIZE) as channel,
        ):
            for seed in range(_ROUNDS + 2):
                reference = time_once(lambda: fpzip.decompress(stream))
                exchange, _ = await _time(_exchange(channel))
                call = client.call_tool("generate_image", {"prompt": "a red fox in snow", "seed": seed})
                seconds, result = await _time(call)
                assert [block.type for block in result.content] == ["text", "image"], result
                exchanges.append(exchange)
                rounds.append((seconds - exchange, reference))
    return Duel(*map(tuple, zip(*rounds[2:], strict=True))), min(exchanges)


async def _time(work: Awaitable[_ResultT]) -> tuple[float, _ResultT]:
    start = time.perf_counter()
    result = await work
    return time.perf_counter() - start, result


async def _exchange(channel: grpc.aio.Channel) -> None:
    """The same run as any client would see it: until its reply is there, and nothing done with it."""
    configuration = ImageGenerationConfig(model=str(_MODEL["file"]), width=1024, height=1024, steps=8, seed=1)
    request = build_request(GenerationRequest("a red fox in snow", configuration), user="benchmark")
    async for _ in ImageGenerationServiceStub(channel).GenerateImage(request):
        pass


@contextmanager
def _start_server(payload: Path) -> Iterator[str]:
    """The address of a server, in a process of its own, that answers every run at once with a payload."""
    command = [sys.executable, "-m", __name__, str(payload)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


@asynccontextmanager
async def _connect(address: str, folder: Path) -> AsyncIterator[Client]:
    environment = {
        "HOME": os.environ["HOME"],
        "DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(folder / "state"),
        "DRAWTHINGS_CUSTOM_CONFIGS": "none",
        "DRAWTHINGS_TLS": "off",
    }
    arguments = ["-m", "drawthings_mcp", "--server", address]
    async with Client(StdioServerParameters(command=sys.executable, args=arguments, env=environment)) as client:
        yield client


async def _serve(payload: Path) -> None:
    async with StrictServer([_MODEL], payload=payload.read_bytes()) as server:
        print(server.address, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
