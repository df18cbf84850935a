"""Renders that outlast the patience of a client."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import ImageContent

from drawthings_mcp.jobs.board import JobBoard
from drawthings_mcp.server.session import Session
from drawthings_mcp.server.viewer import ChatClient
from drawthings_mcp.settings import load_settings
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.studio.studio import open_studio
from tests.calls import call, text_of
from tests.http_process import serve_http
from tests.stalling_server import ENTRY, HeldServer

pytestmark = pytest.mark.anyio

SMALL = {"prompt": "a fox", "width": 128, "height": 128}


@pytest.fixture
def impatient(server_environment: dict[str, str]) -> None:
    """Every render is handed back as a job at once, however fast it is."""
    server_environment["DRAWTHINGS_MAX_WAIT"] = "0"


@pytest.mark.usefixtures("impatient")
async def test_a_long_render_is_handed_back_and_asked_for_again(
    over_stdio: Any, server_environment: dict[str, str]
) -> None:
    async with Simulator(step_seconds=0.05) as simulator, over_stdio("--server", simulator.address) as client:
        handed = await call(client, "generate_image", **SMALL, steps=30)
        running = await call(client, "get_job", job="J1", wait=0)
        done = await call(client, "get_job", job="j1")
        again = await call(client, "get_job", job="J 1")
    assert not handed.is_error
    assert re.match(r"j1 goes on: .+, \d+% after \d+ s\.", text_of(handed))
    assert 'get_job(job="j1")' in text_of(handed)
    assert text_of(running).startswith("j1 goes on: ")
    (file,) = Path(server_environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*.png")
    for result in (done, again):
        assert text_of(result).startswith(f"v1: {file} 128×128")
        assert isinstance(result.content[1], ImageContent)
    assert len(simulator.requests) == 1


@pytest.mark.usefixtures("impatient")
async def test_a_cancelled_job_stops_the_server_so_that_the_next_one_is_served(over_stdio: Any) -> None:
    async with Simulator(step_seconds=0.2) as simulator, over_stdio("--server", simulator.address) as client:
        await call(client, "generate_image", **SMALL, steps=150)  # 30 s
        ended = await call(client, "cancel_job", job="j1")
        answer = await call(client, "get_job", job="j1")
        twice = await call(client, "cancel_job", job="j1")
        await call(client, "generate_image", **SMALL, steps=1)
        with anyio.fail_after(20):
            after = await client.call_tool("get_job", {"job": "j2"})
    assert text_of(ended) == "j1 was cancelled. No picture was finished before that."
    assert answer.is_error
    assert "j1 was cancelled" in text_of(answer)
    assert "has ended already" in text_of(twice)
    assert text_of(after).startswith("v1: ")


@pytest.mark.usefixtures("impatient")
async def test_a_job_that_fails_says_why_when_it_is_asked_for(over_stdio: Any) -> None:
    async with over_stdio("--server", "demo") as client:
        await call(client, "generate_image", **SMALL, model="nothing like it")
        refused = await call(client, "get_job", job="j1")
        unknown = await call(client, "get_job", job="j9")
    assert refused.is_error
    assert "There is no model" in text_of(refused)
    assert unknown.is_error
    assert text_of(unknown).startswith("There is no job “j9” in this session. None is running.")


@pytest.mark.usefixtures("impatient")
async def test_jobs_end_with_the_server_and_keep_what_was_finished(
    over_stdio: Any, server_environment: dict[str, str]
) -> None:
    async with Simulator(step_seconds=0.1) as simulator:
        async with over_stdio("--server", simulator.address) as client:
            await call(client, "generate_image", **SMALL, variants=2, steps=5, seed=1)
            while not list(Path(server_environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*.png")):
                await call(client, "get_job", job="j1", wait=0)
        with anyio.fail_after(20):
            async with over_stdio("--server", simulator.address) as client:
                text = text_of(await call(client, "review_image", images=["v1"]))
    assert text.startswith("v1: ")


@pytest.mark.usefixtures("impatient")
async def test_a_call_that_is_repeated_before_its_pictures_came_is_not_rendered_twice(over_stdio: Any) -> None:
    async with Simulator(step_seconds=0.05) as simulator, over_stdio("--server", simulator.address) as client:
        handed = [text_of(await call(client, "generate_image", **SMALL, steps=30)) for _ in range(2)]
        other = text_of(await call(client, "generate_image", **SMALL, steps=29))
        delivered = text_of(await call(client, "get_job", job="j1"))
        await call(client, "get_job", job="j2")
        anew = text_of(await call(client, "generate_image", **SMALL, steps=30))
        await call(client, "get_job", job="j3")
    assert [text[:2] for text in (*handed, other, delivered, anew)] == ["j1", "j1", "j2", "v1", "j3"]
    assert len(simulator.requests) == 3


async def call_twice_at_once(client: Client, server: HeldServer) -> list[str]:
    """What two equal calls are answered, whose render ends only when both have heard of it."""
    answers, waiting = [], {0, 1}

    async def ask(place: int) -> None:
        async def note(progress: float, total: float | None, message: str | None) -> None:
            waiting.discard(place)
            if not waiting:
                server.finish.set()

        result = await client.call_tool("generate_image", dict(SMALL), progress_callback=note)
        answers.append(text_of(result))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for place in range(2):
                tasks.start_soon(ask, place)
    return answers


@pytest.mark.parametrize("transport", ["pipe", "http"])
async def test_equal_calls_at_the_same_time_are_one_render(
    transport: str, in_process: Any, server_environment: dict[str, str]
) -> None:
    async with HeldServer([ENTRY]) as server:
        if transport == "pipe":
            async with in_process(server=server.address, tls="off") as client:
                one, two = await call_twice_at_once(client, server)
        else:
            with serve_http(server_environment, server=server.address) as house:
                async with house.client() as client:
                    one, two = await call_twice_at_once(client, server)
    assert server.runs == 1
    assert one.startswith("v1: ")
    assert two.startswith("v1: ")
    assert len([*Path(server_environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*.png")]) == 1


_TOLD_IN_A_SECOND = 45
"""Notifications of a server that is held; the first fifty are sent as they come."""


async def test_what_is_written_late_of_a_render_is_not_what_stays(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    state, pictures = (Path(server_environment[f"DRAWTHINGS_{name}_DIR"]) for name in ("STATE", "OUTPUT"))
    async with HeldServer([ENTRY]) as server, in_process(server=server.address, tls="off") as client:
        for number in range(2):
            server.finish.clear()
            told, is_long = [0.0], anyio.Event()

            async def note(
                progress: float, total: float | None, message: str | None, *, told: Any = told, is_long: Any = is_long
            ) -> None:
                told.append(progress)
                if len(told) > _TOLD_IN_A_SECOND:
                    is_long.set()

            async with anyio.create_task_group() as tasks:
                arguments = {**SMALL, "seed": number}
                tasks.start_soon(partial(client.call_tool, "generate_image", arguments, progress_callback=note))
                with anyio.fail_after(60):
                    while not JobBoard(state).list_jobs() or len(told) == 1:
                        await anyio.lowlevel.checkpoint()
                    with contextlib.closing(sqlite3.connect(state / "jobs.sqlite3", isolation_level=None)) as other:
                        other.execute("BEGIN IMMEDIATE")
                        await is_long.wait()
                        server.finish.set()
                        while len([*pictures.glob("*.png")]) <= number:
                            await anyio.lowlevel.checkpoint()
                        other.execute("ROLLBACK")
        rows = JobBoard(state).list_jobs()
    assert [row.state for row in rows] == ["done"] * 2


@pytest.mark.usefixtures("impatient")
async def test_a_repeated_call_gets_the_pictures_of_a_render_that_ended_meanwhile(over_stdio: Any) -> None:
    async with Simulator(step_seconds=0.05) as simulator, over_stdio("--server", simulator.address) as client:
        await call(client, "generate_image", **SMALL, steps=20)
        # The next in the queue is done after it.
        await call(client, "generate_image", **SMALL, steps=1, seed=7)
        await call(client, "get_job", job="j2")
        repeated = text_of(await call(client, "generate_image", **SMALL, steps=20))
    assert repeated.startswith("v1: ")
    assert len(simulator.requests) == 2


@pytest.mark.usefixtures("impatient")
async def test_a_render_that_failed_is_tried_again_when_its_call_is_repeated(
    over_stdio: Any, server_environment: dict[str, str]
) -> None:
    async with over_stdio("--server", "demo") as client:
        await call(client, "generate_image", **SMALL, model="nothing like it")
        await call(client, "generate_image", **SMALL, steps=1)
        await call(client, "get_job", job="j2")  # the first has ended, which nobody was told
        await call(client, "generate_image", **SMALL, model="nothing like it")
        ends = [text_of(await call(client, "get_job", job=job)) for job in ("j1", "j3")]
    assert all("There is no model" in end for end in ends)
    state = Path(server_environment["DRAWTHINGS_STATE_DIR"])
    assert [(job.id, job.state) for job in JobBoard(state).list_jobs()] == [
        ("j3", "failed"),
        ("j2", "done"),
        ("j1", "failed"),
    ]


@pytest.mark.usefixtures("impatient")
async def test_a_job_of_another_program_is_found_and_can_be_stopped(over_stdio: Any) -> None:
    async with Simulator(step_seconds=0.1) as simulator, over_stdio("--server", simulator.address) as first:
        await call(first, "generate_image", **SMALL, steps=2)
        await call(first, "get_job", job="j1")
        await call(first, "generate_image", **SMALL, steps=150)
        async with over_stdio("--server", simulator.address) as second:
            done = await call(second, "get_job", job="j1")
            running = text_of(await call(second, "get_job", job="j2"))
            stopped = text_of(await call(second, "cancel_job", job="j2"))
            ended = await call(first, "get_job", job="j2")
            after = ""
            with anyio.fail_after(60):
                while after != "j2 was cancelled.":  # the others learn of it a moment later
                    after = text_of(await call(second, "get_job", job="j2"))
    assert text_of(done).startswith("j1 is done.\nv1: ")
    assert isinstance(done.content[1], ImageContent)
    assert running.startswith("j2 goes on in another program: ")
    assert stopped == "j2 of another program will be stopped."
    assert ended.is_error
    assert "j2 was cancelled" in text_of(ended)


@pytest.mark.parametrize(
    ("name", "limits", "seconds"),
    [
        ("codex-mcp-client", "", 240),
        ("opencode", "", 48),
        ("somebody's script", "", 50),
        ("codex-mcp-client", "timeout=100", 80),
    ],
)
async def test_a_render_is_handed_back_before_the_client_gives_up_unless_the_user_set_when(
    server_environment: dict[str, str], name: str, limits: str, seconds: float
) -> None:
    client = ChatClient(name, "1.0")
    server_environment["DRAWTHINGS_ATTACHMENTS"] = limits
    settings = load_settings(environment=server_environment)
    async with open_studio(settings) as studio, anyio.create_task_group() as tasks:
        assert Session(studio, tasks).find_patience(client) == seconds
    settings = load_settings(environment={**server_environment, "DRAWTHINGS_MAX_WAIT": "7"})
    async with open_studio(settings) as studio, anyio.create_task_group() as tasks:
        assert Session(studio, tasks).find_patience(client) == 7
