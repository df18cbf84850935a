"""Whole runs against the simulator, which behaves as a Draw Things server does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import numpy as np
import pytest

from drawthings_mcp.api.async_client import AsyncDrawThingsClient
from drawthings_mcp.api.results import collect_images
from drawthings_mcp.errors import (
    InvalidInputError,
    ServerDiedError,
    SharedSecretError,
    UnsupportedRequestError,
)
from drawthings_mcp.events import Event, Finished, ImageReceived, Sampling, TransferAnnounced
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig, LoRAConfig, list_batch_seeds
from drawthings_mcp.simulator import Outcome, Simulator

pytestmark = pytest.mark.anyio

MODEL = "z_image_turbo_1.0_q6p.ckpt"

SLOW = 0.02
"""Seconds of a step: a run of 150 steps lasts longer than any test waits for the next one."""


def configure(**changes: Any) -> ImageGenerationConfig:
    return ImageGenerationConfig(**{"model": MODEL, "width": 128, "height": 128, "steps": 4, "seed": 42, **changes})


@pytest.fixture
def long_request(small_request: GenerationRequest) -> GenerationRequest:
    return replace(small_request, configuration=configure(steps=150))


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("compression", [False, True])
async def test_a_run_reports_its_progress_and_gives_its_picture(
    small_request: GenerationRequest, tmp_path: Path, tls: bool, compression: bool
) -> None:
    events: list[Event] = []
    with anyio.fail_after(60):
        async with (
            Simulator(tls=tls, response_compression=compression) as simulator,
            AsyncDrawThingsClient(simulator.address, state_dir=tmp_path) as client,
        ):
            (image,) = await client.generate(small_request, events.append)
            assert client.security is not None
            assert client.security.kind == ("TLS" if tls else "plaintext")
    assert (image.size, image.seed, image.prompt) == ((128, 128), 42, "a lighthouse")
    assert image.configuration == small_request.configuration
    assert [event.step for event in events if isinstance(event, Sampling)] == [0, 1, 2, 3, 4]
    assert [type(event) for event in events[-3:]] == [TransferAnnounced, ImageReceived, Finished]
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


async def test_a_picture_is_the_same_however_it_travels() -> None:
    configuration = configure(width=1024, height=1024, steps=1)
    pictures = []
    with anyio.fail_after(60):
        for compression in (False, True):
            async with (
                Simulator(tls=False, response_compression=compression) as simulator,
                AsyncDrawThingsClient(simulator.address) as client,
            ):
                pictures += await client.generate_image("a lighthouse", configuration)
    assert pictures[0].size == (1024, 1024)
    assert np.array_equal(pictures[0].pixels, pictures[1].pixels)


async def test_a_secret_opens_the_server_and_its_absence_is_named(small_request: GenerationRequest) -> None:
    with anyio.fail_after(60):
        async with Simulator(tls=False, shared_secret="right") as simulator:
            async with AsyncDrawThingsClient(simulator.address, shared_secret="right") as client:
                assert len(await client.generate(small_request)) == 1
                assert await client.files_exist([MODEL]) == {MODEL: True}
            async with AsyncDrawThingsClient(simulator.address, shared_secret="wrong") as client:
                for call in (client.echo, client.catalog):
                    with pytest.raises(SharedSecretError, match="another shared secret"):
                        await call()
                with pytest.raises(SharedSecretError):
                    await client.files_exist([MODEL])
                with pytest.raises(SharedSecretError):
                    await client.generate(small_request)


async def test_the_catalog_and_files_of_a_server_are_read() -> None:
    with anyio.fail_after(60):
        async with (
            Simulator(tls=False, missing_files=["gone.ckpt"]) as simulator,
            AsyncDrawThingsClient(simulator.address) as client,
        ):
            catalog = await client.catalog()
            info = await client.echo()
            names = [catalog.models[0].file, "gone.ckpt", catalog.models[0].file]
            assert await client.files_exist(names) == {names[0]: True, "gone.ckpt": False}
            assert await client.files_exist([]) == {}
    assert info.catalog == catalog
    assert info.message
    assert info.identifier


async def test_a_server_that_hides_its_models_is_no_server_without_models() -> None:
    with anyio.fail_after(60):
        async with (
            Simulator(tls=False, model_browser=False) as simulator,
            AsyncDrawThingsClient(simulator.address) as client,
        ):
            assert (await client.echo()).catalog is None
            with pytest.raises(UnsupportedRequestError, match="does not list its models"):
                await client.catalog()


async def test_each_image_of_a_batch_is_reproduced_by_its_own_configuration() -> None:
    with anyio.fail_after(60):
        async with (
            Simulator(tls=False) as simulator,
            AsyncDrawThingsClient(simulator.address) as client,
        ):
            batch = await client.generate_image("a lighthouse", configure(batch_size=3))
            again = [(await client.generate_image("a lighthouse", image.configuration))[0] for image in batch]
    assert [image.seed for image in batch] == list_batch_seeds(42, 3)
    assert [image.pixels.tobytes() for image in batch] == [image.pixels.tobytes() for image in again]
    assert len({image.pixels.tobytes() for image in batch}) == 3


async def test_passes_continue_the_seeds_and_minus_one_draws_one() -> None:
    with anyio.fail_after(60):
        async with (
            Simulator(tls=False) as simulator,
            AsyncDrawThingsClient(simulator.address) as client,
        ):
            passes = await client.generate_image("a lighthouse", configure(batch_count=2, batch_size=2))
            drawn = await client.generate_image("a lighthouse", configure(seed=-1))
    assert [image.seed for image in passes] == list_batch_seeds(42, 4)
    assert drawn[0].seed >= 0


async def test_assigning_while_a_run_is_on_its_way_changes_nothing_of_it() -> None:
    config = configure(batch_count=2)
    request = GenerationRequest("a fox", config.replace(batch_count=1))
    expected = request.configuration.model_copy(deep=True)

    def assign(_: Event) -> None:
        config.seed, config.steps = config.seed + 1, 9

    async with Simulator() as simulator, AsyncDrawThingsClient(simulator.address, insecure=True) as client:
        first, second = await client.generate_image("a fox", config, on_event=assign)
        async with client.stream(request) as events:
            images = await collect_images(events, request, assign)
        own = configure(loras=(LoRAConfig(file="l.ckpt", weight=0.5),))
        held = GenerationRequest("a fox", own)
        own.loras[0].weight = 0.9
    assert [image.seed for image in (first, second)] == list_batch_seeds(42, 2)
    assert [image.configuration.steps for image in (first, second, *images)] == [4, 4, 4]
    assert images[0].configuration == expected == request.configuration
    assert config.steps == 9
    assert held.configuration.loras[0].weight == 0.5


async def test_canvas_and_mask_reach_the_server_in_any_form(tmp_path: Path) -> None:
    canvas = np.full((128, 128, 3), (10, 200, 30), np.uint8)
    mask = np.zeros((128, 128), np.uint8)
    mask[:, 64:] = 255
    configuration = configure(strength=0.5, mask_blur=0)
    with anyio.fail_after(60):
        async with (
            Simulator(tls=False) as simulator,
            AsyncDrawThingsClient(simulator.address) as client,
        ):
            (painted,) = await client.generate_image("a lighthouse", configuration, input_image=canvas, mask_image=mask)
            (free,) = await client.generate_image("a lighthouse", configuration.replace(strength=1))
    left = np.abs(painted.pixels[:, :48].astype(int) - canvas[:, :48]).max()
    assert left <= 2
    assert not np.array_equal(painted.pixels[:, 80:], canvas[:, 80:])
    assert not np.array_equal(painted.pixels, free.pixels)


@pytest.mark.parametrize(
    ("pictures", "text"),
    [
        ({"mask_image": np.full((128, 128), 255, np.uint8)}, "mask_image"),
        (
            {
                "input_image": np.zeros((128, 128, 3), np.uint8),
                "mask_image": np.full((128, 64), 255, np.uint8),
            },
            "mask_image: is 64x128",
        ),
        ({"input_image": b"no picture"}, "not a picture"),
    ],
)
async def test_pictures_that_cannot_be_used_are_refused_before_anything_is_sent(
    pictures: dict[str, Any], text: str
) -> None:
    with anyio.fail_after(60):
        async with Simulator(tls=False) as simulator, AsyncDrawThingsClient(simulator.address) as client:
            with pytest.raises(InvalidInputError, match=text):
                await client.generate_image("a lighthouse", configure(), **pictures)
    assert not simulator.requests


async def test_a_run_that_is_left_stops_and_the_next_one_starts(
    small_request: GenerationRequest, long_request: GenerationRequest
) -> None:
    with anyio.fail_after(60):
        async with (
            Simulator(tls=False, step_seconds=SLOW) as simulator,
            AsyncDrawThingsClient(simulator.address) as client,
        ):
            async with client.stream(long_request) as events:
                async for event in events:
                    if isinstance(event, Sampling):
                        break
            assert len(await client.generate(small_request)) == 1
            left, done = simulator.runs
    assert (left.outcome, done.outcome) == (Outcome.CANCELLED, Outcome.DONE)
    assert left.signposts.count("sampling") < 150


async def test_a_run_that_is_cancelled_in_the_queue_lets_the_next_one_through(
    small_request: GenerationRequest, long_request: GenerationRequest
) -> None:
    with anyio.fail_after(60):
        async with (
            Simulator(tls=False, step_seconds=SLOW) as simulator,
            AsyncDrawThingsClient(simulator.address) as client,
        ):
            async with client.stream(long_request) as running:
                await anext(aiter(running))
                async with anyio.create_task_group() as group:
                    group.start_soon(client.generate, long_request)
                    while len(simulator.requests) < 2:
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()
            assert len(await client.generate(small_request)) == 1
            outcomes = [run.outcome for run in simulator.runs]
    assert outcomes == [Outcome.CANCELLED, Outcome.CANCELLED, Outcome.DONE]


async def test_a_server_process_that_is_killed_has_died_and_its_successor_is_found(
    small_request: GenerationRequest, long_request: GenerationRequest
) -> None:
    program = (
        "import sys, anyio; from drawthings_mcp.simulator import Simulator\n"
        "async def main():\n"
        "    async with Simulator(port=int(sys.argv[1]), tls=False, step_seconds=0.05) as simulator:\n"
        "        print(simulator.address, flush=True); await anyio.sleep_forever()\n"
        "anyio.run(main)"
    )

    def start(port: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen([sys.executable, "-c", program, port], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    def kill(process: subprocess.Popen[str]) -> None:
        with process:
            process.kill()

    with anyio.fail_after(60):
        process, address = await anyio.to_thread.run_sync(start, "0")

        def kill_while_sampling(event: Event) -> None:
            if isinstance(event, Sampling):
                kill(process)

        async with AsyncDrawThingsClient(address) as client:
            with pytest.raises(ServerDiedError, match="went away while it worked"):
                await client.generate(long_request, kill_while_sampling)
            process, _ = await anyio.to_thread.run_sync(start, address.split(":")[1])
            try:
                assert len(await client.generate(small_request)) == 1
            finally:
                kill(process)
