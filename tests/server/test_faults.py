"""What a model reads when the server is not there, dies or sends rubbish."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import grpc.aio
import numpy as np
import pytest
from anyio.abc import TaskStatus
from mcp import Client
from mcp.types import TextContent

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp._generated import image_service_pb2_grpc as stubs
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.tensors import encode_image
from drawthings_mcp.tensors.header import Codec

pytestmark = pytest.mark.anyio

Answer = Callable[[grpc.aio.ServicerContext[Any, Any]], AsyncIterator[pb.ImageGenerationResponse]]

PIXELS = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)


class FaultyServer(stubs.ImageGenerationServiceServicer):
    """Has every file, and answers a request as it is told."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def Echo(self, request: pb.EchoRequest, context: object) -> pb.EchoReply:  # noqa: N802
        return pb.EchoReply(message=f"HELLO {request.name}")

    async def FilesExist(  # noqa: N802
        self, request: pb.FileListRequest, context: object
    ) -> pb.FileExistenceResponse:
        return pb.FileExistenceResponse(files=request.files, existences=[True] * len(request.files))

    async def GenerateImage(  # noqa: N802
        self, request: pb.ImageGenerationRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.ImageGenerationResponse]:
        async for message in self.answer(context):
            yield message


@asynccontextmanager
async def faulty_server(answer: Answer) -> AsyncIterator[str]:
    server = grpc.aio.server()
    stubs.add_ImageGenerationServiceServicer_to_server(FaultyServer(answer), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def dies(context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[pb.ImageGenerationResponse]:
    yield pb.ImageGenerationResponse(downloadSize=100)
    await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


async def sends_whole(context: object) -> AsyncIterator[pb.ImageGenerationResponse]:
    yield pb.ImageGenerationResponse(generatedImages=[encode_image(PIXELS)])


async def sends_half(context: object) -> AsyncIterator[pb.ImageGenerationResponse]:
    payload = encode_image(PIXELS)
    yield pb.ImageGenerationResponse(downloadSize=len(payload))
    yield pb.ImageGenerationResponse(generatedImages=[payload[: len(payload) // 2]])


async def sends_a_cut_payload(context: object) -> AsyncIterator[pb.ImageGenerationResponse]:
    yield pb.ImageGenerationResponse(generatedImages=[encode_image(PIXELS)[:1000]])


async def sends_garbage(context: object) -> AsyncIterator[pb.ImageGenerationResponse]:
    yield pb.ImageGenerationResponse(generatedImages=[b"\x07" * 5000])


async def sends_broken_fpzip(context: object) -> AsyncIterator[pb.ImageGenerationResponse]:
    payload = bytearray(encode_image(PIXELS, codec=Codec.FPZIP))
    payload[200:] = bytes(reversed(payload[200:]))
    yield pb.ImageGenerationResponse(generatedImages=[bytes(payload)])


async def sends_nothing(context: object) -> AsyncIterator[pb.ImageGenerationResponse]:
    yield pb.ImageGenerationResponse(scaleFactor=1)


async def call(client: Client) -> tuple[bool, str]:
    with anyio.fail_after(60):
        result = await client.call_tool("generate_image", {"prompt": "a fox", "width": 128, "height": 128})
    first = result.content[0]
    assert isinstance(first, TextContent)
    return bool(result.is_error), first.text


async def wait_until_closed(address: str) -> None:
    """Returns when nothing listens at an address any more."""
    host, port = address.split(":")
    with anyio.fail_after(30):
        while True:
            try:
                stream = await anyio.connect_tcp(host, int(port))
            except OSError:
                return
            await stream.aclose()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (dies, "went away"),
        (sends_half, "broke off"),
        (sends_a_cut_payload, "cannot be read: The tensor [1, 128, 128, 3] needs 98,304 bytes"),
        (sends_garbage, "cannot be read"),
        (sends_nothing, "without a picture"),
    ],
)
async def test_a_failing_server_ends_in_one_sentence_and_the_process_goes_on(
    in_process: Any, answer: Answer, words: str, server_environment: dict[str, str]
) -> None:
    async with faulty_server(answer) as address, in_process(server=address, tls="off") as client:
        for _ in range(2):
            failed, text = await call(client)
            assert failed
            assert words in text
            assert len(text) < 500
    assert not list(Path(server_environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*.png"))


async def dies_after_one_of_two(
    context: grpc.aio.ServicerContext[Any, Any],
) -> AsyncIterator[pb.ImageGenerationResponse]:
    payload = encode_image(PIXELS)
    yield pb.ImageGenerationResponse(downloadSize=2 * len(payload))
    yield pb.ImageGenerationResponse(generatedImages=[payload])
    await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


async def test_a_picture_that_arrived_whole_is_kept_when_the_server_dies_after_it(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    async with faulty_server(dies_after_one_of_two) as address, in_process(server=address, tls="off") as client:
        failed, text = await call(client)
    assert failed
    (path,) = Path(server_environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*.png")
    assert f"Saved before that: {path}" in text


async def test_a_sweep_that_a_dying_server_ends_says_what_was_saved(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    answers = iter([sends_whole] * 6 + [dies])

    async def answer(context: Any) -> AsyncIterator[pb.ImageGenerationResponse]:
        async for message in next(answers)(context):
            yield message

    async with faulty_server(answer) as address, in_process(server=address, tls="off") as client:
        arguments = {"prompt": "a fox", "width": 128, "height": 128, "sweep": {"seed": list(range(9))}}
        with anyio.fail_after(60):
            result = await client.call_tool("generate_image", arguments)
    assert result.is_error
    assert isinstance(result.content[0], TextContent)
    folder = Path(server_environment["DRAWTHINGS_OUTPUT_DIR"])
    lines = result.content[0].text.splitlines()
    assert "went away" in lines[0]
    assert lines[1:] == ["The seed was 6.", f"Saved before that: v1–v6 in {folder}."]
    assert len(list(folder.glob("*.png"))) == 6


async def test_a_sweep_ends_when_pictures_cannot_be_written_and_says_what_was_saved(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    folder, state = (Path(server_environment[f"DRAWTHINGS_{name}_DIR"]) for name in ("OUTPUT", "STATE"))
    count = 0

    async def answer(context: Any) -> AsyncIterator[pb.ImageGenerationResponse]:
        nonlocal count
        count += 1
        if count == 7:
            with anyio.fail_after(30):
                while len(list(folder.glob("*.png"))) < 6:
                    await anyio.lowlevel.checkpoint()
            folder.rename(folder.with_name("full"))
            for place in (folder, state / "unsaved"):
                place.write_text("no folder any more")
        async for message in sends_whole(context):
            yield message

    async with faulty_server(answer) as address, in_process(server=address, tls="off") as client:
        arguments = {"prompt": "a fox", "width": 128, "height": 128, "sweep": {"seed": list(range(25))}}
        with anyio.fail_after(60):
            result = await client.call_tool("generate_image", arguments)
    assert result.is_error
    assert isinstance(result.content[0], TextContent)
    assert result.content[0].text.splitlines()[-1] == f"Saved before that: v1–v6 in {folder}."
    assert count <= 10  # three are rendered while the first that cannot be written is written


async def test_a_payload_that_crashes_the_decoder_costs_one_call_only(over_stdio: Any) -> None:
    payloads = [sends_broken_fpzip]

    async def answer(context: object) -> AsyncIterator[pb.ImageGenerationResponse]:
        if payloads:
            async for message in payloads.pop()(context):
                yield message
        else:
            yield pb.ImageGenerationResponse(generatedImages=[encode_image(PIXELS, codec=Codec.FPZIP)])

    async with faulty_server(answer) as address, over_stdio("--server", address, "--tls", "off") as client:
        # Whether a broken stream crashes the library or decodes to noise is up to it; the server must live.
        await call(client)
        failed, text = await call(client)
    assert not failed, text


async def test_no_server_at_all_says_how_to_start_one(over_stdio: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with over_stdio("--server", f"127.0.0.1:{unused.getsockname()[1]}") as client:
            failed, text = await call(client)
            assert failed
            assert "Draw Things" in text
            assert "API" in text
            # The process is alive and says the same again.
            assert (await call(client)) == (True, text)


async def test_the_first_server_that_answers_is_used(in_process: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with Simulator() as simulator:
            servers = f"127.0.0.1:{unused.getsockname()[1]}, {simulator.address}"
            async with in_process(server=servers, tls="off") as client:
                failed, text = await call(client)
    assert not failed, text
    assert simulator.address in text


async def test_a_wrong_secret_is_named(in_process: Any) -> None:
    async with (
        Simulator(shared_secret="open sesame") as simulator,
        in_process(server=simulator.address, tls="off", shared_secret="wrong") as client,
    ):
        failed, text = await call(client)
    assert failed
    assert "secret" in text
    assert "DRAWTHINGS_SHARED_SECRET" in text


async def test_an_unwritable_output_folder_is_named(in_process: Any, server_environment: dict[str, str]) -> None:
    Path(server_environment["DRAWTHINGS_OUTPUT_DIR"]).write_text("a file, not a folder")
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        failed, text = await call(client)
    assert failed
    assert server_environment["DRAWTHINGS_OUTPUT_DIR"] in text
    assert not simulator.requests


async def test_a_picture_is_kept_when_its_folder_vanishes_during_the_run(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    folder = Path(server_environment["DRAWTHINGS_OUTPUT_DIR"])

    async def answer(context: object) -> AsyncIterator[pb.ImageGenerationResponse]:
        folder.rmdir()
        folder.write_text("a file, not a folder")
        yield pb.ImageGenerationResponse(generatedImages=[encode_image(PIXELS)])

    async with faulty_server(answer) as address, in_process(server=address, tls="off") as client:
        failed, text = await call(client)
    assert not failed, text
    (rescued,) = (Path(server_environment["DRAWTHINGS_STATE_DIR"]) / "unsaved").glob("*.png")
    assert str(rescued) in text
    assert "move it from there" in text


async def test_when_a_server_goes_away_the_next_one_is_used(in_process: Any) -> None:
    stop = anyio.Event()

    async def run_first(*, task_status: TaskStatus[str]) -> None:
        async with Simulator() as first:
            task_status.started(first.address)
            await stop.wait()

    async with Simulator() as second, anyio.create_task_group() as tasks:
        first = await tasks.start(run_first)
        async with in_process(server=f"{first},{second.address}", tls="off") as client:
            assert first in (await call(client))[1]
            stop.set()
            await wait_until_closed(first)
            failed, text = await call(client)
    assert not failed, text
    assert second.address in text


async def test_when_no_server_can_be_used_each_one_is_named_with_its_reason(in_process: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        off = f"127.0.0.1:{unused.getsockname()[1]}"
        async with (
            Simulator(shared_secret="open sesame") as locked,
            in_process(server=f"{off},{locked.address}", tls="off") as client,
        ):
            failed, text = await call(client)
    assert failed
    assert f"{off}: " in text
    assert f"{locked.address}: " in text
    assert "secret" in text


async def test_the_seed_is_reported_when_a_run_fails(in_process: Any) -> None:
    async with faulty_server(sends_half) as address, in_process(server=address, tls="off") as client:
        _, text = await call(client)
    assert re.search(r"The seed was \d+\.", text)


def _silent(reached: anyio.Event) -> Answer:
    async def answer(context: object) -> AsyncIterator[pb.ImageGenerationResponse]:
        reached.set()
        await anyio.sleep_forever()
        yield pb.ImageGenerationResponse()

    return answer


async def test_while_the_server_is_silent_the_client_hears_that_the_work_goes_on(in_process: Any) -> None:
    started, beaten = anyio.Event(), anyio.Event()
    heard: list[float] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)
        if started.is_set() and message and message.startswith("Waiting for the server ("):
            beaten.set()

    async with (
        faulty_server(_silent(started)) as address,
        in_process(server=address, tls="off", heartbeat_seconds=0.01) as client,
    ):

        async def render() -> None:
            arguments = {"prompt": "a fox", "width": 128, "height": 128}
            await client.call_tool("generate_image", arguments, progress_callback=listen)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(render)
            with anyio.fail_after(30):
                await beaten.wait()
            tasks.cancel_scope.cancel()
    assert heard == sorted(set(heard))
