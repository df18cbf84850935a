"""Renders of ``serve --http`` that outlive it: each ends once, none is lost, no picture is made twice."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from mcp.types import CallToolResult, ImageContent

from drawthings_mcp.jobs.board import JobBoard
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.simulator import Simulator
from tests.calls import text_of
from tests.http_process import HttpProcess, serve_http

pytestmark = pytest.mark.anyio

SMALL = {"prompt": "a fox", "width": 128, "height": 128, "model": "z-image"}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4"
    "2mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)


@pytest.fixture
def environment(server_environment: dict[str, str]) -> dict[str, str]:
    return {**server_environment, "DRAWTHINGS_MAX_WAIT": "0.1"}


async def order(server: HttpProcess, **arguments: Any) -> str:
    """Asks for a render, and leaves; the id of its job."""
    async with server.client() as client:
        return text_of(await client.call_tool("generate_image", {**SMALL, **arguments})).split()[0]


async def collect(server: HttpProcess, *jobs: str, name: str = "test") -> list[CallToolResult]:
    """What became of jobs, once they ended."""
    ended = []
    async with server.client(name) as client:
        for job in jobs:
            with anyio.fail_after(60):
                while " goes on: " in text_of(result := await client.call_tool("get_job", {"job": job})):
                    pass
            ended.append(result)
    return ended


def list_pictures(environment: dict[str, str]) -> list[Path]:
    return sorted(Path(environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*.png"))


async def test_a_client_that_leaves_does_not_lose_its_render(environment: dict[str, str]) -> None:
    async with Simulator(step_seconds=0.05) as simulator:
        with serve_http(environment, server=simulator.address) as server:
            job = await order(server, steps=10)
            (result,) = await collect(server, job, name="another")
            async with server.client("a third") as client:
                latest = await client.call_tool("review_image", {"images": ["latest"]})
    assert text_of(result).startswith("v1: ")
    assert text_of(latest).startswith("v1: ")


async def kill(server: HttpProcess, is_time: Callable[[], bool]) -> None:
    """Kills a server at a moment."""
    with anyio.fail_after(60):
        while not is_time():
            await anyio.lowlevel.checkpoint()
    server.kill()


PHASES: dict[str, Callable[[Simulator, dict[str, str]], bool]] = {
    "before the first is sent": lambda simulator, environment: True,
    "while the first is rendered": lambda simulator, environment: len(simulator.requests) > 0,
    "when its first picture is there": lambda simulator, environment: len(list_pictures(environment)) > 0,
}


@pytest.mark.parametrize("phase", PHASES)
async def test_after_a_crash_every_job_ends_once_and_no_picture_is_made_twice(
    environment: dict[str, str], phase: str
) -> None:
    state = Path(environment["DRAWTHINGS_STATE_DIR"])
    async with Simulator(step_seconds=0.05) as simulator:
        with serve_http(environment, server=simulator.address) as server:
            jobs = [
                await order(server, steps=20, variants=2),
                await order(server, steps=2, canvas=PIXEL, mode="image2image", strength=0.5),
                await order(server, sweep={"steps": [1, 2]}),
            ]
            await kill(server, lambda: PHASES[phase](simulator, environment))
        with serve_http(environment, server=simulator.address) as server:
            results = await collect(server, *jobs)
    texts = list(map(text_of, results))
    pictures = ImageCatalog(state).list_images(["v"])
    assert [result.is_error for result in results] == [False] * 3, texts
    assert len(pictures) == len(list_pictures(environment)) == 5
    assert len({(picture.prompt, picture.seed, picture.configuration["steps"]) for picture in pictures}) == 5
    assert all(picture.id in "".join(texts) for picture in pictures)
    assert all(isinstance(result.content[1], ImageContent) for result in results)
    assert [job.state for job in JobBoard(state).list_jobs()] == ["done"] * 3
    # What was rendered when the process was killed is rendered again with the same seed, and says so.
    sent = list_sent(simulator)
    assert len(sent) in {5, 6}
    assert len(set(sent)) == 5
    assert len(sent) == 5 or "rendered again with the same seed" in "".join(texts)


def list_sent(simulator: Simulator) -> list[tuple[int, int]]:
    """Seed and steps of each request."""
    configurations = [request.configuration for request in simulator.requests]
    return [(found.seed, found.steps) for found in configurations if found is not None]


@pytest.mark.slow
async def test_a_job_that_was_rendered_in_two_crashes_is_given_up(environment: dict[str, str]) -> None:
    async with Simulator(step_seconds=0.2) as simulator:
        with serve_http(environment, server=simulator.address) as server:
            job = await order(server, steps=20)
            await kill(server, lambda: len(simulator.requests) == 1)
        with serve_http(environment, server=simulator.address) as server:
            await kill(server, lambda: len(simulator.requests) == 2)
        with serve_http(environment, server=simulator.address) as server:
            (given_up,) = await collect(server, job)
            await anyio.to_thread.run_sync(server.end)
        with serve_http(environment, server=simulator.address) as server:
            (later,) = await collect(server, job)
        sent = list_sent(simulator)
    assert sent[0] == sent[1]
    assert len(sent) == 2
    assert given_up.is_error
    assert "The server ended 2 times while j1 was rendered" in text_of(given_up)
    assert text_of(later).startswith("j1 failed: “The server ended 2 times")


@pytest.mark.slow
async def test_a_server_that_is_stopped_leaves_its_jobs_to_the_next_as_often_as_it_is(
    environment: dict[str, str],
) -> None:
    async with Simulator(step_seconds=0.05) as simulator:
        for count in (1, 2, 3):
            with serve_http(environment, server=simulator.address) as server:
                if count == 1:
                    job = await order(server, steps=20)
                with anyio.fail_after(60):
                    while len(simulator.requests) < count:
                        await anyio.lowlevel.checkpoint()
                assert await anyio.to_thread.run_sync(server.end) == 0
        waiting = JobBoard(Path(environment["DRAWTHINGS_STATE_DIR"])).list_jobs()
        with serve_http(environment, server=simulator.address) as server:
            (result,) = await collect(server, job)
            again = await order(server, steps=20)
            await collect(server, again)
    assert [row.state for row in waiting] == ["interrupted"]
    assert text_of(result).startswith("v1: ")
    assert "the server ended while" not in text_of(result)
    assert again == "j2"


@pytest.mark.slow
async def test_a_repeated_call_finds_the_render_of_before_the_crash(environment: dict[str, str]) -> None:
    async with Simulator(step_seconds=0.05) as simulator:
        with serve_http(environment, server=simulator.address) as server:
            await order(server, steps=10)
            await kill(server, lambda: True)
        with serve_http(environment, server=simulator.address) as server:
            assert await order(server, steps=10) == "j1"
            await collect(server, "j1")
    assert len(list_pictures(environment)) == 1


@pytest.mark.slow
async def test_a_job_is_ended_from_the_shell_while_its_server_is_down(environment: dict[str, str]) -> None:
    board = JobBoard(Path(environment["DRAWTHINGS_STATE_DIR"]))
    async with Simulator(step_seconds=0.2) as simulator:
        with serve_http(environment, server=simulator.address) as server:
            job = await order(server, steps=100)
            await kill(server, lambda: True)
        assert board.request_stop(job) is not None
        with serve_http(environment, server=simulator.address) as server:
            (result,) = await collect(server, job)
    assert "j1 was cancelled" in text_of(result)


async def test_nothing_is_expected_of_a_job_whose_store_is_gone(environment: dict[str, str]) -> None:
    state = Path(environment["DRAWTHINGS_STATE_DIR"])
    async with Simulator(step_seconds=0.2) as simulator:
        with serve_http(environment, server=simulator.address) as server:
            job = await order(server, steps=100)
            await kill(server, lambda: len(simulator.requests) == 1)
        (interrupted,) = JobBoard(state).list_jobs()
        for file in state.glob("durable.sqlite3*"):
            file.unlink()
        with serve_http(environment, server=simulator.address) as server:
            (result,) = await collect(server, job)
    assert interrupted.state == "interrupted"
    assert f"{job} ended with the program that rendered it" in text_of(result)
    assert len(simulator.requests) == 1


@pytest.mark.slow
async def test_a_second_server_of_a_state_folder_renders_none_of_the_firsts_jobs(environment: dict[str, str]) -> None:
    async with Simulator(step_seconds=0.05) as simulator:
        with serve_http(environment, server=simulator.address) as first:
            job = await order(first, steps=30)
            with serve_http(environment, server=simulator.address) as second:
                own = await order(second, steps=1)
                results = await collect(second, own)
                await collect(first, job)
        assert len(simulator.requests) == 2
    assert any("Another server keeps the jobs" in line for line in second.lines)
    assert text_of(results[0]).startswith("v")


async def test_the_store_of_jobs_is_for_its_owner_alone_and_is_no_pickle(environment: dict[str, str]) -> None:
    with serve_http(environment) as server:
        await collect(server, await order(server, steps=1))
        state = Path(environment["DRAWTHINGS_STATE_DIR"])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir() if path.is_file()}
    with closing(sqlite3.connect(state / "durable.sqlite3")) as store:
        dumped = "\n".join(store.iterdump())
    assert {"durable.sqlite3", "durable.lock", "jobs.sqlite3"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    assert '"prompt": "a fox"' in dumped
    assert "gASV" not in dumped  # how a pickle begins in base64
