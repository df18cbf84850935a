"""A server that goes away: a run is sent again once, and only when nothing of it had come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import grpc
import numpy as np
import pytest

from drawthings_mcp import AsyncDrawThingsClient, GenerationRequest
from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.errors import ServerDiedError
from drawthings_mcp.tensors import encode_image

pytestmark = pytest.mark.anyio

Serve = Callable[..., Any]
Messages = AsyncIterator[pb.ImageGenerationResponse]

PAYLOAD = encode_image(np.full((128, 128, 3), 200, np.uint8))
FIRST_MESSAGES = {
    "a signpost": pb.ImageGenerationResponse(
        currentSignpost=pb.ImageGenerationSignpostProto(textEncoded=pb.ImageGenerationSignpostProto.TextEncoded())
    ),
    "a preview": pb.ImageGenerationResponse(previewImage=b"latent"),
    "an announcement": pb.ImageGenerationResponse(downloadSize=len(PAYLOAD)),
    "an image": pb.ImageGenerationResponse(generatedImages=[PAYLOAD]),
}


class Crashes:
    """Goes away in the first runs, after some messages; later ones succeed."""

    def __init__(self, times: int, *messages: pb.ImageGenerationResponse) -> None:
        self.times = times
        self.messages = messages
        self.runs = 0

    async def __call__(self, request: object, context: Any) -> Messages:
        self.runs += 1
        if self.runs > self.times:
            yield pb.ImageGenerationResponse(generatedImages=[PAYLOAD])
            return
        for message in self.messages:
            yield message
        await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


async def test_a_run_is_sent_again_when_the_server_went_away_before_anything_came(
    serve: Serve, small_request: GenerationRequest
) -> None:
    run = Crashes(1)
    with anyio.fail_after(30):
        async with serve(run) as address, AsyncDrawThingsClient(address) as client:
            (image,) = await client.generate(small_request)
    assert (image.pixels == 200).all()
    assert run.runs == 2


async def test_a_heartbeat_of_the_queue_is_nothing_of_the_run(serve: Serve, small_request: GenerationRequest) -> None:
    run = Crashes(1, pb.ImageGenerationResponse())
    with anyio.fail_after(30):
        async with serve(run) as address, AsyncDrawThingsClient(address) as client:
            assert len(await client.generate(small_request)) == 1
    assert run.runs == 2


@pytest.mark.parametrize("first", FIRST_MESSAGES)
async def test_a_run_that_had_begun_is_never_sent_again(
    serve: Serve, small_request: GenerationRequest, first: str
) -> None:
    run = Crashes(1, FIRST_MESSAGES[first])
    with anyio.fail_after(30):
        async with serve(run) as address, AsyncDrawThingsClient(address) as client:
            with pytest.raises(ServerDiedError, match="went away while it worked"):
                await client.generate(small_request)
    assert run.runs == 1


async def test_a_run_is_sent_again_only_once(serve: Serve, small_request: GenerationRequest) -> None:
    run = Crashes(2)
    with anyio.fail_after(30):
        async with serve(run) as address, AsyncDrawThingsClient(address) as client:
            with pytest.raises(ServerDiedError, match="went away while it worked"):
                await client.generate(small_request)
    assert run.runs == 2


class Hangs:
    """A run without an end, which says when it is there."""

    def __init__(self) -> None:
        self.started = anyio.Event()

    async def __call__(self, request: object, context: object) -> Messages:
        self.started.set()
        await anyio.sleep_forever()
        yield pb.ImageGenerationResponse()


async def test_a_client_waits_for_a_server_that_listens_again_after_a_while(
    serve: Serve, small_request: GenerationRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "drawthings_mcp.client.channel")
    images: list[Any] = []
    queued = Hangs()

    async def generate(client: AsyncDrawThingsClient) -> None:
        images.extend(await client.generate(small_request))

    with anyio.fail_after(30):
        server = serve(queued)
        address = await server.__aenter__()
        async with AsyncDrawThingsClient(address) as client, anyio.create_task_group() as group:
            group.start_soon(generate, client)
            await queued.started.wait()
            await server.__aexit__(None, None, None)
            while "nothing listens there" not in caplog.text:
                await anyio.lowlevel.checkpoint()
            async with serve(Crashes(0), port=int(address.rpartition(":")[2])):
                while not images:
                    await anyio.lowlevel.checkpoint()
    assert (images[0].pixels == 200).all()


async def test_a_server_that_does_not_come_back_in_time_has_died(
    serve: Serve, small_request: GenerationRequest
) -> None:
    queued = Hangs()
    with anyio.fail_after(30):
        server = serve(queued)
        address = await server.__aenter__()
        async with AsyncDrawThingsClient(address, connect_timeout=0.3) as client, anyio.create_task_group() as group:

            async def stop() -> None:
                await queued.started.wait()
                await server.__aexit__(None, None, None)

            group.start_soon(stop)
            with pytest.raises(ServerDiedError):
                await client.generate(small_request)
