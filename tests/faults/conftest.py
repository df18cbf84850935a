"""A real gRPC server whose runs are a test's own, on a port that can be taken again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import grpc
import grpc.aio
import pytest

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp._generated import image_service_pb2_grpc as pb_grpc
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig

Messages: TypeAlias = AsyncIterator[pb.ImageGenerationResponse]
Generate: TypeAlias = Callable[[pb.ImageGenerationRequest, Any], Messages]


class _Servicer(pb_grpc.ImageGenerationServiceServicer):
    def __init__(self, generate: Generate) -> None:
        self._generate = generate

    async def Echo(self, request: pb.EchoRequest, context: object) -> pb.EchoReply:  # noqa: N802
        return pb.EchoReply(message=f"HELLO {request.name}", serverIdentifier=7)

    async def FilesExist(  # noqa: N802
        self, request: pb.FileListRequest, context: object
    ) -> pb.FileExistenceResponse:
        return pb.FileExistenceResponse(files=request.files, existences=[True] * len(request.files))

    async def GenerateImage(self, request: pb.ImageGenerationRequest, context: Any) -> Messages:  # noqa: N802
        async for message in self._generate(request, context):
            yield message


@asynccontextmanager
async def _serve(generate: Generate, port: int = 0) -> AsyncIterator[str]:
    # Without exclusive ports a server that was restarted would share its port with a stranger.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_ImageGenerationServiceServicer_to_server(_Servicer(generate), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(None)


@pytest.fixture
def serve() -> Callable[..., AbstractAsyncContextManager[str]]:
    """``serve(generate, port)``: a gRPC server that has every file; yields its address."""
    return _serve


@pytest.fixture
def small_request() -> GenerationRequest:
    """A request that any server takes."""
    configuration = ImageGenerationConfig(model="z_image_turbo_1.0_q8p.ckpt", width=128, height=128, steps=4, seed=42)
    return GenerationRequest("a lighthouse", configuration)
