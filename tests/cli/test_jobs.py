"""``drawthings-mcp jobs`` beside programs that render."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import Implementation

from drawthings_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(folders: Mapping[str, str]) -> AsyncIterator[Client]:
    """Of a server over stdio that hands renders back at once."""
    environment = {"HOME": os.environ["HOME"], **folders, "DRAWTHINGS_MAX_WAIT": "0.2"}
    async with Simulator(step_seconds=0.1) as simulator:
        command = StdioServerParameters(
            command=sys.executable, args=["-m", "drawthings_mcp", "--server", simulator.address], env=environment
        )
        info = Implementation(name="a chat", version="2.0")
        async with Client(command, read_timeout_seconds=60, client_info=info) as connected:
            yield connected


async def render(client: Client, steps: int) -> None:
    await client.call_tool("generate_image", {"prompt": "a fox", "width": 128, "height": 128, "steps": steps})


async def test_jobs_of_all_programs_are_listed_newest_first(run: Any, client: Client) -> None:
    await render(client, 1)
    await client.call_tool("get_job", {"job": "j1"})
    await render(client, 150)
    await render(client, 149)
    listed = json.loads((await run("jobs", "--json")).stdout)
    shown = (await run("jobs")).stdout.splitlines()
    assert [(job["id"], job["state"]) for job in listed] == [("j3", "queued"), ("j2", "running"), ("j1", "done")]
    assert {(job["client"], job["prompt"]) for job in listed} == {("a chat 2.0", "a fox")}
    assert listed[2]["pictures"] == ["v1"]
    assert 0 <= listed[1]["fraction"] < 1
    assert [line.split()[0] for line in shown] == ["j3", "j2", "j1"]
    assert "queued" in shown[0]
    assert "%" in shown[1]
    assert "done v1" in shown[2]


async def test_a_job_is_ended_from_the_shell(run: Any, client: Client) -> None:
    await render(client, 150)
    ended = await run("jobs", "--cancel", "j1", "--json")
    result = await client.call_tool("get_job", {"job": "j1"})
    twice = await run("jobs", "--cancel", "1")
    assert ended.code == 0
    assert ended.document["state"] == "cancelled"
    assert result.is_error
    assert twice.code == 1
    assert "j1 has ended already: cancelled." in twice.stderr


async def test_watching_ends_with_the_last_job(run: Any, client: Client) -> None:
    await render(client, 10)
    watched = await run("jobs", "--watch")
    assert watched.code == 0
    assert "done v1" in watched.stdout


async def test_jobs_of_a_program_that_was_killed_do_not_look_alive(
    run: Any, client: Client, folders: Mapping[str, str]
) -> None:
    await render(client, 150)
    (alive,) = json.loads((await run("jobs", "--json")).stdout)
    with contextlib.closing(sqlite3.connect(Path(folders["DRAWTHINGS_STATE_DIR"], "jobs.sqlite3"))) as board:
        ((process,),) = board.execute("SELECT pid FROM owners").fetchall()
    os.kill(process, signal.SIGKILL)
    states = {alive["state"]}
    with anyio.fail_after(60):
        while "lost" not in states:  # it is there until its parent takes note of its end
            states |= {job["state"] for job in json.loads((await run("jobs", "--json")).stdout)}
    assert states - {"queued", "running"} == {"lost"}


async def test_what_is_not_there_is_said(run: Any) -> None:
    nothing = await run("jobs")
    unknown = await run("jobs", "--cancel", "j7")
    wrong = await run("jobs", "--watch", "--json")
    assert (nothing.code, nothing.stderr) == (0, "No jobs yet.\n")
    assert (unknown.code, wrong.code) == (1, 2)
    assert "There is no job j7; run `drawthings-mcp jobs`." in unknown.stderr
