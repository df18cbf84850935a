"""A run ends on the server as soon as nobody waits for it here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.api.async_client import AsyncDrawThingsClient
from drawthings_mcp.events import Event, TransferAnnounced
from drawthings_mcp.generation import GenerationRequest

pytestmark = pytest.mark.anyio

Peer = Callable[..., Any]


class Run:
    """A run that never ends by itself, and what becomes of it."""

    def __init__(self, messages: int) -> None:
        self.messages = messages
        self.started = anyio.Event()
        self.stopped = anyio.Event()

    async def __call__(self, request: object, context: Any) -> AsyncIterator[pb.ImageGenerationResponse]:
        context.add_done_callback(lambda _: self.stopped.set())
        self.started.set()
        for _ in range(self.messages):
            yield pb.ImageGenerationResponse(downloadSize=1)
        await anyio.sleep_forever()


async def test_leaving_the_stream_early_stops_the_run(serve_grpc: Peer, small_request: GenerationRequest) -> None:
    run = Run(messages=5)
    with anyio.fail_after(30):
        async with serve_grpc(run) as address, AsyncDrawThingsClient(address) as client:
            async with client.stream(small_request) as events:
                assert await anext(aiter(events)) == TransferAnnounced(1, 0.0)
            await run.stopped.wait()
            assert (await client.echo()).identifier == 7


async def test_leaving_the_stream_before_the_first_event_stops_the_run(
    serve_grpc: Peer, small_request: GenerationRequest
) -> None:
    run = Run(messages=0)
    with anyio.fail_after(30):
        async with serve_grpc(run) as address, AsyncDrawThingsClient(address) as client:
            async with client.stream(small_request):
                await run.started.wait()
            await run.stopped.wait()


async def test_an_error_inside_the_stream_stops_the_run(serve_grpc: Peer, small_request: GenerationRequest) -> None:
    run = Run(messages=1)
    with anyio.fail_after(30):
        async with serve_grpc(run) as address, AsyncDrawThingsClient(address) as client:

            async def fail_at_the_first() -> None:
                async with client.stream(small_request) as events:
                    async for _ in events:
                        raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await fail_at_the_first()
            await run.stopped.wait()


@pytest.mark.parametrize("messages", [0, 1])
async def test_a_cancelled_task_stays_cancelled_and_stops_the_run(
    serve_grpc: Peer, small_request: GenerationRequest, messages: int
) -> None:
    run = Run(messages)
    with anyio.fail_after(30):
        async with (
            serve_grpc(run) as address,
            AsyncDrawThingsClient(address) as client,
            anyio.create_task_group() as group,
        ):
            scope = anyio.CancelScope()

            async def wait() -> None:
                with scope:
                    await client.generate(small_request)

            group.start_soon(wait)
            await run.started.wait()
            scope.cancel()
            await run.stopped.wait()
    assert scope.cancelled_caught


async def test_a_callback_can_be_a_coroutine_function_and_can_cancel(
    serve_grpc: Peer, small_request: GenerationRequest
) -> None:
    run = Run(messages=3)
    seen: list[Event] = []
    with anyio.fail_after(30):
        async with serve_grpc(run) as address, AsyncDrawThingsClient(address) as client:
            with anyio.CancelScope() as scope:

                async def stop_at_the_second(event: Event) -> None:
                    await anyio.lowlevel.checkpoint()
                    seen.append(event)
                    if len(seen) == 2:
                        scope.cancel()

                await client.generate(small_request, stop_at_the_second)
            await run.stopped.wait()
    assert scope.cancelled_caught
    assert len(seen) == 2


async def test_closing_the_client_ends_what_still_runs(serve_grpc: Peer, small_request: GenerationRequest) -> None:
    run = Run(messages=1)
    with anyio.fail_after(30):
        async with serve_grpc(run) as address:
            async with AsyncDrawThingsClient(address) as client, client.stream(small_request) as events:
                await anext(aiter(events))
            await run.stopped.wait()


async def test_a_cancelled_echo_ends_the_scope_that_cancelled_it_and_nothing_else(serve_grpc: Peer) -> None:
    asked = anyio.Event()

    async def never() -> None:
        asked.set()
        await anyio.sleep_forever()

    went_on = False
    with anyio.fail_after(30):
        async with serve_grpc(before_echo=never) as address, AsyncDrawThingsClient(address) as client:

            async def ask() -> None:
                nonlocal went_on
                with scope:
                    await client.echo()
                went_on = True

            scope = anyio.CancelScope()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await asked.wait()
                scope.cancel()
    assert scope.cancelled_caught
    assert went_on
