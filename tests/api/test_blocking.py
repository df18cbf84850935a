"""The blocking front, against a server in another thread."""

from __future__ import annotations

import inspect
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import pytest
from anyio.from_thread import BlockingPortal

from drawthings_mcp import AsyncDrawThingsClient, DrawThingsClient
from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.errors import InvalidInputError, ServerUnreachableError, UnsupportedRequestError
from drawthings_mcp.events import Event, Finished, ImageReceived
from drawthings_mcp.generation import GenerationRequest
from drawthings_mcp.tensors import encode_image

Peer = Callable[..., Any]
Messages = AsyncIterator[pb.ImageGenerationResponse]

PAYLOAD = encode_image(np.full((128, 128, 3), 200, np.uint8))


async def send_picture(request: object, context: object) -> Messages:
    yield pb.ImageGenerationResponse(generatedImages=[PAYLOAD])


@pytest.fixture
def serve(serve_grpc: Peer, portal: BlockingPortal) -> Callable[..., Any]:
    """``serve(generate)``: a server that runs in another thread; yields its address."""

    @contextmanager
    def serving(generate: Any = send_picture) -> Iterator[str]:
        with portal.wrap_async_context_manager(serve_grpc(generate)) as address:
            yield address

    return serving


def test_a_script_gets_its_pictures_and_events_without_any_loop(
    serve: Callable[..., Any], small_request: GenerationRequest
) -> None:
    events: list[Event] = []
    with serve() as address, DrawThingsClient(address) as client:
        (image,) = client.generate(small_request, events.append)
        assert client.echo().identifier == 7
        assert str(client.security) == "plaintext: not encrypted, on this machine"
        assert str(client.address) == address
    assert (image.pixels == 200).all()
    assert [type(event) for event in events] == [ImageReceived, Finished]


@pytest.mark.parametrize(
    "name",
    ["catalog", "compose", "echo", "files_exist", "generate", "generate_image", "generate_video", "save_images"],
)
def test_a_method_has_the_signature_and_the_documentation_of_the_asynchronous_one(name: str) -> None:
    blocking, asynchronous = getattr(DrawThingsClient, name), getattr(AsyncDrawThingsClient, name)
    assert inspect.signature(blocking) == inspect.signature(asynchronous)
    assert blocking.__doc__ == asynchronous.__doc__


def test_errors_arrive_as_they_were_raised(serve: Callable[..., Any]) -> None:
    with serve() as address, DrawThingsClient(address) as client, pytest.raises(UnsupportedRequestError):
        client.catalog()


def test_threads_share_a_client(serve: Callable[..., Any], small_request: GenerationRequest) -> None:
    results: list[int] = []
    with serve() as address, DrawThingsClient(address) as client:
        threads = [
            threading.Thread(target=lambda: results.append(len(client.generate(small_request)))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
    assert results == [1, 1, 1, 1]


@pytest.mark.anyio
async def test_a_client_works_in_the_threads_of_a_running_loop(
    serve_grpc: Peer, small_request: GenerationRequest
) -> None:
    def work(address: str) -> int:
        with DrawThingsClient(address) as client:
            return len(client.generate(small_request))

    with anyio.fail_after(30):
        async with serve_grpc(send_picture) as address:
            assert await anyio.to_thread.run_sync(work, address) == 1


def test_an_interrupted_call_stops_the_run_on_the_server(
    serve: Callable[..., Any], small_request: GenerationRequest
) -> None:
    stopped = threading.Event()
    waiting = threading.main_thread().ident
    assert waiting is not None

    async def never_finish(request: object, context: Any) -> Messages:
        context.add_done_callback(lambda _: stopped.set())
        yield pb.ImageGenerationResponse(downloadSize=1)
        await anyio.sleep_forever()

    def press_ctrl_c(event: Event) -> None:
        signal.pthread_kill(waiting, signal.SIGINT)

    with serve(never_finish) as address, DrawThingsClient(address) as client:
        with pytest.raises(KeyboardInterrupt):
            client.generate(small_request, press_ctrl_c)
        assert stopped.wait(timeout=30)
        assert client.echo().identifier == 7


def test_saved_pictures_never_replace_files(
    serve: Callable[..., Any], small_request: GenerationRequest, tmp_path: Path
) -> None:
    with serve() as address, DrawThingsClient(address) as client:
        images = client.generate(small_request) * 2
        first = client.save_images(images, output_dir=tmp_path / "output", prefix="puppy")
        before = [path.read_bytes() for path in first]
        second = client.save_images(images, output_dir=tmp_path / "output", prefix="puppy")
        with pytest.raises(InvalidInputError, match="prefix"):
            client.save_images(images, output_dir=tmp_path, prefix="../puppy")
    assert len({*first, *second}) == 4
    assert [path.read_bytes() for path in first] == before
    assert {path.name for path in (tmp_path / "output").iterdir()} == {
        "puppy.png",
        "puppy-2.png",
        "puppy-3.png",
        "puppy-4.png",
    }


def test_a_client_is_used_inside_with_and_may_be_opened_again(serve: Callable[..., Any]) -> None:
    with serve() as address:
        client = DrawThingsClient(address)
        for _ in range(2):
            with pytest.raises(InvalidInputError, match="with DrawThingsClient"):
                client.echo()
            with client:
                assert client.echo().identifier == 7
                with pytest.raises(InvalidInputError, match="open already"):
                    client.__enter__()


def test_nothing_is_connected_before_the_first_call() -> None:
    with DrawThingsClient("127.0.0.1:1") as client:
        assert client.security is None
        with pytest.raises(ServerUnreachableError):
            client.echo()
