"""One run at a time, in the order of arrival, and none for clients that have gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator import Outcome, Simulator

if TYPE_CHECKING:
    from tests.simulator.conftest import Wire

pytestmark = pytest.mark.anyio

ENDLESS: dict[str, Any] = {"prompt": "endless", "steps": 1000}
INSTANT: dict[str, Any] = {"prompt": "instant", "image": np.zeros((128, 128, 3), np.uint8), "strength": 0.0}
"""Nothing is sampled, so that it ends at once on a slow server."""


@pytest.fixture
async def slow() -> AsyncIterator[Simulator]:
    """A step takes longer than any test waits, so that a run ends only when it is cancelled."""
    async with Simulator(step_seconds=3600) as running:
        yield running


async def start(wire: Wire, stub: Any) -> Any:
    """An endless run that has begun to sample."""
    call = stub.GenerateImage(wire.request(**ENDLESS))
    async for message in call:
        if message.currentSignpost.HasField("sampling"):
            return call
    raise AssertionError("the run ended")


def outcomes(simulator: Simulator) -> list[tuple[str, Outcome]]:
    return [(run.message.prompt, run.outcome) for run in simulator.runs]


async def test_headers_come_at_once_and_messages_when_the_run_has_its_turn(wire: Wire, slow: Simulator) -> None:
    with anyio.fail_after(20):
        async with wire.open(slow) as stub, wire.open(slow) as other:
            first = await start(wire, stub)
            queued = other.GenerateImage(wire.request(**INSTANT))
            await queued.initial_metadata()
            assert [seen.message.prompt for seen in slow.requests] == ["endless", "instant"]
            assert not slow.runs
            first.cancel()
            assert (await queued.read()).currentSignpost.HasField("textEncoded")


async def test_all_clients_share_one_queue_in_order_of_arrival(wire: Wire, slow: Simulator) -> None:
    names = [f"client {number}" for number in range(4)]
    with anyio.fail_after(20):
        async with wire.open(slow) as stub, wire.open(slow) as other:
            first = await start(wire, stub)
            calls = []
            for number, name in enumerate(names):
                calls.append((stub, other)[number % 2].GenerateImage(wire.request(**{**INSTANT, "prompt": name})))
                await calls[-1].initial_metadata()
            first.cancel()
            for call in reversed(calls):
                assert [message async for message in call][-1].generatedImages
    assert outcomes(slow) == [("endless", Outcome.CANCELLED), *((name, Outcome.DONE) for name in names)]


async def test_a_cancelled_run_stops_and_the_queue_moves_on(wire: Wire, slow: Simulator) -> None:
    with anyio.fail_after(20):
        async with wire.open(slow) as stub:
            (await start(wire, stub)).cancel()
        await wire.run(slow, **INSTANT)
    assert outcomes(slow) == [("endless", Outcome.CANCELLED), ("instant", Outcome.DONE)]
    assert slow.runs[0].signposts[:3] == ("textEncoded", "imageEncoded", "sampling")
    assert len(slow.runs[0].signposts) <= 4


async def test_a_client_that_vanishes_is_as_good_as_a_cancel(wire: Wire, slow: Simulator) -> None:
    with anyio.fail_after(20):
        async with wire.open(slow) as stub:
            await start(wire, stub)
        await wire.run(slow, **INSTANT)
    assert outcomes(slow) == [("endless", Outcome.CANCELLED), ("instant", Outcome.DONE)]


async def test_a_request_cancelled_in_the_queue_is_started_up_to_its_first_callback(
    wire: Wire, slow: Simulator
) -> None:
    with anyio.fail_after(20):
        async with wire.open(slow) as stub:
            first = await start(wire, stub)
            queued = stub.GenerateImage(wire.request("never wanted"))
            await queued.initial_metadata()
            queued.cancel()
            # Another call on the same connection: when it is answered the cancel has arrived.
            last = stub.GenerateImage(wire.request(**INSTANT))
            await last.initial_metadata()
            first.cancel()
            assert [message async for message in last]
    assert outcomes(slow)[1:] == [("never wanted", Outcome.CANCELLED), ("instant", Outcome.DONE)]
    assert slow.runs[1].signposts == ("textEncoded",)


async def test_a_client_that_does_not_read_holds_up_nobody(wire: Wire, simulator: Simulator) -> None:
    with anyio.fail_after(20):
        async with wire.open(simulator) as stub:
            unread = stub.GenerateImage(wire.request("unread", startWidth=8, startHeight=8, batchSize=4))
            await unread.initial_metadata()
            await wire.run(simulator, "read")
    assert outcomes(simulator) == [("unread", Outcome.DONE), ("read", Outcome.DONE)]


async def test_other_calls_are_answered_during_a_run(wire: Wire, slow: Simulator) -> None:
    with anyio.fail_after(20):
        async with wire.open(slow) as stub:
            call = await start(wire, stub)
            assert (await stub.Echo(pb.EchoRequest(name="still there"))).message == "HELLO still there"
            call.cancel()


async def test_a_server_closes_in_the_middle_of_runs(wire: Wire) -> None:
    with anyio.fail_after(20):
        async with Simulator(step_seconds=3600) as simulator:
            stub_context = wire.open(simulator)
            stub = await stub_context.__aenter__()
            await start(wire, stub)
            stub.GenerateImage(wire.request("queued"))
        await stub_context.__aexit__(None, None, None)
    assert all(outcome is Outcome.CANCELLED for _, outcome in outcomes(simulator))


async def test_requests_are_kept_with_their_configuration(wire: Wire, simulator: Simulator) -> None:
    await wire.run(simulator, "look at me", negativePrompt="not that", steps=3, seed=7)
    (seen,) = simulator.requests
    assert seen.message.negativePrompt == "not that"
    assert seen.configuration is not None
    assert (seen.configuration.steps, seen.configuration.seed) == (3, 7)
