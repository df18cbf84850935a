"""A Draw Things server, as a process to be killed, that stops at a point of every run and says no more.

``python -m tests.stalling_server PHASE`` prints its address; phases are ``encoded``, ``sampling``, ``transfer`` and
``sent``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio

from drawthings_mcp._generated import image_service_pb2 as pb
from tests.slots import read_slots
from tests.strict_server import StrictServer, _grey, read_message

MODEL = "z_image_turbo_1.0_q8p.ckpt"
ENTRY = {"name": "Z Image Turbo 1.0", "file": MODEL, "version": "z_image", "default_scale": 16}
_SIGNPOST = pb.ImageGenerationSignpostProto
_HELD_STEP_SECONDS = 0.02


@dataclass
class StallingServer(StrictServer):
    """The server.

    Attributes
    ----------
    phase
        Where it stops.
    """

    phase: str = "encoded"

    async def _generate(self, request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
        slots = read_slots(read_message(request)[7][0])
        payload = _grey(slots["start_width"] * 64, slots["start_height"] * 64)
        for message in self._list_messages(payload):
            yield message.SerializeToString()
        await asyncio.Event().wait()

    def _list_messages(self, payload: bytes) -> Iterator[pb.ImageGenerationResponse]:
        encoded = _SIGNPOST(textEncoded=_SIGNPOST.TextEncoded())
        total = _SIGNPOST(sampling=_SIGNPOST.Sampling(step=4))
        yield pb.ImageGenerationResponse(currentSignpost=encoded, signposts=[encoded, total])
        if self.phase == "encoded":
            return
        for step in range(3 if self.phase == "sampling" else 5):
            reached = _SIGNPOST(sampling=_SIGNPOST.Sampling(step=step))
            yield pb.ImageGenerationResponse(currentSignpost=reached, signposts=[encoded, total])
        if self.phase == "transfer":
            half = payload[: len(payload) // 2]
            yield pb.ImageGenerationResponse(
                downloadSize=len(payload), generatedImages=[half], scaleFactor=1, chunkState=pb.MORE_CHUNKS
            )
        if self.phase == "sent":
            yield pb.ImageGenerationResponse(downloadSize=len(payload), generatedImages=[payload], scaleFactor=1)


@dataclass
class HeldServer(StallingServer):
    """A server whose runs go on and on until it is told to finish them.

    Attributes
    ----------
    finish
        Set by who wants the pictures.
    runs
        How many were begun.
    """

    phase: str = "sent"
    finish: asyncio.Event = field(default_factory=asyncio.Event)
    runs: int = 0

    async def _generate(self, request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
        self.runs += 1
        slots = read_slots(read_message(request)[7][0])
        begin, step, *rest = self._list_messages(_grey(slots["start_width"] * 64, slots["start_height"] * 64))
        yield begin.SerializeToString()
        while not self.finish.is_set():
            yield step.SerializeToString()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.finish.wait(), _HELD_STEP_SECONDS)
        for message in rest:
            yield message.SerializeToString()


@dataclass
class ServerProcess:
    """A process that prints its address."""

    process: subprocess.Popen[str]
    address: str

    def kill(self) -> None:
        """Ends it as a power cut does."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def start_server(*command: str) -> Iterator[ServerProcess]:
    """``start_server("drawthings_mcp", "simulator", …)``: a module as a process."""
    arguments = [sys.executable, "-m", *command]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        assert process.stdout is not None
        try:
            yield ServerProcess(process, process.stdout.readline().split()[0])
        finally:
            process.kill()


async def _serve(phase: str) -> None:
    async with StallingServer([ENTRY], phase=phase) as server:
        sys.stdout.write(f"{server.address}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
