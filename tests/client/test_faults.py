"""Servers that fail during a request: every failure is one clear error, and the next request is not harmed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import grpc
import numpy as np
import pytest
from anyio.abc import ByteStream

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.api.async_client import AsyncDrawThingsClient
from drawthings_mcp.client.status import STATUS_ERRORS
from drawthings_mcp.errors import (
    DrawThingsError,
    EmptyResultError,
    InvalidInputError,
    MessageTooLargeError,
    RequestRefusedError,
    ServerDiedError,
    ServerError,
    ServerUnreachableError,
    SharedSecretError,
    TensorError,
    TruncatedTransferError,
    UnsupportedRequestError,
    WrongProtocolError,
)
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig
from drawthings_mcp.tensors import encode_image

pytestmark = pytest.mark.anyio

Peer = Callable[..., Any]
Messages = AsyncIterator[pb.ImageGenerationResponse]

PAYLOAD = encode_image(np.full((128, 128, 3), 200, np.uint8))

SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
RESPONSE_HEADERS = b"\x00\x00\x13\x01\x04\x00\x00\x00\x01" + b"\x88\x5f\x10application/grpc"
"""An HTTP/2 HEADERS frame of stream 1: status 200 and the content type (RFC 7541, static table 8 and 31)."""
DATA = 0
HEADERS = 1


async def fail(client: AsyncDrawThingsClient, request: GenerationRequest, error: type[DrawThingsError]) -> Any:
    with anyio.fail_after(20), pytest.raises(error) as caught:
        await client.generate(request)
    return caught.value


async def fail_once(address: str, request: GenerationRequest, error: type[DrawThingsError]) -> Any:
    async with AsyncDrawThingsClient(address, tls="off") as client:
        return await fail(client, request, error)


def test_every_status_has_its_error() -> None:
    assert STATUS_ERRORS.keys() == set(grpc.StatusCode) - {grpc.StatusCode.OK}
    assert all(issubclass(kind, ServerError) for kind, _ in STATUS_ERRORS.values())


@pytest.mark.parametrize("code", list(STATUS_ERRORS))
@pytest.mark.parametrize("started", [False, True])
async def test_a_status_from_a_server_becomes_its_error(
    serve_grpc: Peer, small_request: GenerationRequest, code: grpc.StatusCode, started: bool
) -> None:
    async def refuse(request: object, context: Any) -> Messages:
        if started:
            yield pb.ImageGenerationResponse()
        await context.abort(code, "the server's\nown words")

    async with serve_grpc(refuse) as address:
        error = await fail_once(address, small_request, STATUS_ERRORS[code][0])
    assert address in str(error)
    assert "(the server's own words)" in str(error)
    assert error.__cause__.code() is code


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, ServerDiedError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, MessageTooLargeError),
        (grpc.StatusCode.UNIMPLEMENTED, UnsupportedRequestError),
        (grpc.StatusCode.UNAUTHENTICATED, SharedSecretError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ServerUnreachableError),
        (grpc.StatusCode.PERMISSION_DENIED, RequestRefusedError),
        (grpc.StatusCode.INTERNAL, RequestRefusedError),
    ],
)
def test_the_table_tells_apart_what_calls_for_different_steps(code: grpc.StatusCode, error: type[ServerError]) -> None:
    assert STATUS_ERRORS[code][0] is error


@pytest.mark.parametrize("given", ["", "wrong"])
async def test_a_refusal_for_a_wrong_secret_is_distinguished_from_other_failures(
    serve_grpc: Peer, small_request: GenerationRequest, given: str
) -> None:
    async def refuse(request: pb.ImageGenerationRequest, context: Any) -> Messages:
        assert request.sharedSecret != "right"
        await context.abort(grpc.StatusCode.INTERNAL, "unknown error processing request")
        yield pb.ImageGenerationResponse()

    async with (
        serve_grpc(refuse, secret="right") as address,
        AsyncDrawThingsClient(address, shared_secret=given) as client,
    ):
        error = await fail(client, small_request, SharedSecretError)
        assert error.__cause__.code() is grpc.StatusCode.INTERNAL
        with pytest.raises(SharedSecretError, match="another shared secret" if given else "a shared secret"):
            await client.echo()


async def test_a_run_without_a_picture_is_an_error(serve_grpc: Peer, small_request: GenerationRequest) -> None:
    async def finish(request: object, context: object) -> Messages:
        yield pb.ImageGenerationResponse(scaleFactor=1)

    async with serve_grpc(finish) as address:
        await fail_once(address, small_request, EmptyResultError)


async def test_a_picture_that_cannot_be_read_is_an_error_with_a_next_step(
    serve_grpc: Peer, small_request: GenerationRequest
) -> None:
    async def send_garbage(request: object, context: object) -> Messages:
        yield pb.ImageGenerationResponse(generatedImages=[PAYLOAD[:100]])

    async with serve_grpc(send_garbage) as address, AsyncDrawThingsClient(address) as client:
        with pytest.raises(TensorError, match=r"^The server sent a picture that cannot be read: .* update Draw Things"):
            await client.generate(small_request)


async def test_half_a_payload_is_an_error_that_keeps_what_is_whole(
    serve_grpc: Peer, small_request: GenerationRequest
) -> None:
    async def send_half(request: object, context: object) -> Messages:
        yield pb.ImageGenerationResponse(downloadSize=2 * len(PAYLOAD))
        yield pb.ImageGenerationResponse(generatedImages=[PAYLOAD])
        yield pb.ImageGenerationResponse(generatedImages=[PAYLOAD[:100]], chunkState=pb.MORE_CHUNKS)

    async with serve_grpc(send_half) as address:
        error = await fail_once(address, small_request, TruncatedTransferError)
    assert error.complete == (PAYLOAD,)


async def test_a_payload_that_is_no_image_is_raised_by_itself_and_stops_the_run(
    serve_grpc: Peer, small_request: GenerationRequest
) -> None:
    cancelled = anyio.Event()

    async def send_garbage(request: object, context: Any) -> Messages:
        context.add_done_callback(lambda _: cancelled.set())
        yield pb.ImageGenerationResponse(generatedImages=[b"garbage"])
        await anyio.sleep_forever()

    async with serve_grpc(send_garbage) as address:
        await fail_once(address, small_request, TensorError)
        with anyio.fail_after(20):
            await cancelled.wait()


async def test_heartbeats_of_a_proxy_are_ignored(serve_grpc: Peer, small_request: GenerationRequest) -> None:
    async def wait_in_queue(request: object, context: object) -> Messages:
        for _ in range(3):
            yield pb.ImageGenerationResponse()
        yield pb.ImageGenerationResponse(generatedImages=[PAYLOAD])

    with anyio.fail_after(20):
        async with serve_grpc(wait_in_queue) as address, AsyncDrawThingsClient(address) as client:
            (image,) = await client.generate(small_request)
    assert (image.pixels == 200).all()


async def test_an_error_of_the_callback_is_raised_by_itself_and_stops_the_run(
    serve_grpc: Peer, small_request: GenerationRequest
) -> None:
    cancelled = anyio.Event()

    async def never_finish(request: object, context: Any) -> Messages:
        context.add_done_callback(lambda _: cancelled.set())
        yield pb.ImageGenerationResponse(downloadSize=5)
        await anyio.sleep_forever()

    def complain(event: object) -> None:
        raise ZeroDivisionError

    with anyio.fail_after(20):
        async with serve_grpc(never_finish) as address, AsyncDrawThingsClient(address) as client:
            with pytest.raises(ZeroDivisionError):
                await client.generate(small_request, complain)
            await cancelled.wait()


async def read_request(stream: ByteStream) -> None:
    """Reads a client's HTTP/2 frames up to the end of its request."""
    received = b""

    async def read(size: int) -> bytes:
        nonlocal received
        while len(received) < size:
            received += await stream.receive()
        part, received = received[:size], received[size:]
        return part

    await read(24)
    await stream.send(SETTINGS)
    while True:
        header = await read(9)
        await read(int.from_bytes(header[:3], "big"))
        if header[3] in {DATA, HEADERS} and header[4] & 1:
            return


def answer_with(frames: bytes) -> Callable[[ByteStream], Any]:
    """A peer that is gRPC enough to be asked, answers with frames and hangs up."""

    async def answer(stream: ByteStream) -> None:
        await read_request(stream)
        await stream.send(frames)

    return answer


def answer_in_http(status: int) -> bytes:
    """An HTTP/2 HEADERS frame that ends stream 1 with a status (RFC 7541 §6.2.2, static table 8) and nothing else."""
    block = b"\x08\x03" + str(status).encode()
    return len(block).to_bytes(3, "big") + b"\x01\x05\x00\x00\x00\x01" + block


@pytest.mark.parametrize(
    ("status", "who"),
    [
        *((status, "another web server") for status in (301, 400, 401, 403, 404, 405, 415, 429, 500)),
        *((status, "a proxy that does not reach the server behind it") for status in (502, 503, 504)),
    ],
)
async def test_who_answers_in_plain_http_is_distinguished_from_draw_things(
    serve_tcp: Peer, small_request: GenerationRequest, status: int, who: str
) -> None:
    async def answer(stream: ByteStream) -> None:
        await read_request(stream)
        await stream.send(answer_in_http(status))
        async for _ in stream:
            pass

    async with serve_tcp(answer) as address:
        error = await fail_once(address, small_request, WrongProtocolError)
    assert f"{address} answers in plain HTTP (status {status})" in str(error)
    assert who in str(error)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(b"", id="before it answers"),
        pytest.param(RESPONSE_HEADERS, id="after its headers"),
        pytest.param(
            RESPONSE_HEADERS + b"\x00\x00\x05\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00", id="after a message"
        ),
        pytest.param(
            RESPONSE_HEADERS + b"\x00\x00\x06\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x09x", id="in a message"
        ),
        pytest.param(RESPONSE_HEADERS + b"\x00\x00\x09\x00", id="in a frame"),
    ],
)
async def test_a_server_that_dies_is_distinguished_from_one_that_is_off(
    serve_tcp: Peer, small_request: GenerationRequest, frames: bytes
) -> None:
    async with serve_tcp(answer_with(frames)) as address:
        error = await fail_once(address, small_request, ServerDiedError)
    assert "went away while it worked" in str(error)
    async with AsyncDrawThingsClient(address, tls="off") as client:
        error = await fail(client, small_request, ServerUnreachableError)
    assert "nothing listens there" in str(error)


async def test_a_message_over_the_limit_is_named_as_such(serve_tcp: Peer, small_request: GenerationRequest) -> None:
    too_long = b"\x00\x00\x05\x00\x00\x00\x00\x00\x01" + b"\x00\xff\xff\xff\xff"

    async def answer(stream: ByteStream) -> None:
        await read_request(stream)
        await stream.send(RESPONSE_HEADERS + too_long)
        async for _ in stream:
            pass

    async with serve_tcp(answer) as address:
        error = await fail_once(address, small_request, MessageTooLargeError)
    assert "1 GiB" in str(error)


async def test_a_client_finds_a_server_that_was_restarted(serve_grpc: Peer) -> None:
    with anyio.fail_after(30):
        async with AsyncExitStack() as stack:
            async with serve_grpc() as address:
                client = await stack.enter_async_context(AsyncDrawThingsClient(address))
                await client.echo()
            # The first call may still meet the end of the old connection.
            with pytest.raises(ServerError):
                await client.echo()
            with pytest.raises(ServerUnreachableError, match="nothing listens there"):
                await client.echo()
            async with serve_grpc(port=int(address.split(":")[1])):
                assert (await client.echo()).identifier == 7


async def test_a_peer_that_passes_the_probe_and_then_hangs_is_distinguished_from_one_that_is_off(
    serve_tcp: Peer,
) -> None:
    connections = 0

    async def greet_twice(stream: ByteStream) -> None:
        nonlocal connections
        connections += 1
        if connections <= 2:
            await stream.receive()
            await stream.send(SETTINGS)
        await anyio.sleep_forever()

    with anyio.fail_after(20):
        async with serve_tcp(greet_twice) as address, AsyncDrawThingsClient(address, connect_timeout=0.5) as client:
            with pytest.raises(ServerUnreachableError, match="did not answer in time"):
                await client.echo()


async def test_a_web_proxy_of_the_environment_is_not_used(serve_grpc: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_grpc_proxy", "")
    monkeypatch.setenv("no_proxy", "")
    with anyio.fail_after(20):
        async with serve_grpc() as address, AsyncDrawThingsClient(address) as client:
            assert (await client.echo()).identifier == 7


@pytest.mark.parametrize("clients", [1, 2])
async def test_runs_of_one_client_share_its_own_connection(
    serve_grpc: Peer, small_request: GenerationRequest, clients: int
) -> None:
    peers = []
    both = anyio.Event()

    async def wait_for_the_other(request: object, context: Any) -> Messages:
        peers.append(context.peer())
        if len(peers) == 2:
            both.set()
        await both.wait()
        yield pb.ImageGenerationResponse(generatedImages=[PAYLOAD])

    async with (
        serve_grpc(wait_for_the_other) as address,
        AsyncDrawThingsClient(address) as first,
        AsyncDrawThingsClient(address) as second,
    ):
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(first.generate, small_request)
                group.start_soon((first, second)[clients - 1].generate, small_request)
    assert len(peers) == 2
    assert len(set(peers)) == clients


async def test_pictures_beyond_the_usual_limit_of_a_message_travel_both_ways(serve_grpc: Peer) -> None:
    canvas = np.full((1024, 1024, 3), 90, np.uint8)

    async def send_back(request: pb.ImageGenerationRequest, context: object) -> Messages:
        yield pb.ImageGenerationResponse(generatedImages=[request.contents[0]])

    configuration = ImageGenerationConfig(
        model="z_image_turbo_1.0_q6p.ckpt", width=1024, height=1024, seed=1, strength=0.5
    )
    with anyio.fail_after(30):
        async with serve_grpc(send_back) as address, AsyncDrawThingsClient(address) as client:
            (image,) = await client.generate_image("the same", configuration, input_image=canvas)
    assert np.array_equal(image.pixels, canvas)


@pytest.mark.parametrize("entered", [False, True])
async def test_a_client_outside_its_context_says_how_it_is_used(serve_grpc: Peer, entered: bool) -> None:
    async with serve_grpc() as address:
        client = AsyncDrawThingsClient(address)
        if entered:
            async with client:
                await client.echo()
        with pytest.raises(InvalidInputError, match="async with AsyncDrawThingsClient"):
            await client.echo()
