"""``drawthings-mcp jobs`` beside programs that render."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from mcp import Client, StdioServerParameters
from mcp.types import Implementation
from PIL import Image

from drawthings_mcp.simulator import Simulator
from tests.stalling_server import start_server
from tests.warm_start import list_command

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(folders: Mapping[str, str]) -> AsyncIterator[Client]:
    """Of a server over stdio that hands renders back at once."""
    environment = {"HOME": os.environ["HOME"], **folders, "DRAWTHINGS_MAX_WAIT": "0"}
    async with Simulator(step_seconds=0.1) as simulator:
        python, *arguments = list_command("-m", "drawthings_mcp", "--server", simulator.address)
        command = StdioServerParameters(command=python, args=arguments, env=environment)
        info = Implementation(name="a chat", version="2.0")
        async with Client(command, read_timeout_seconds=60, client_info=info) as connected:
            yield connected


async def render(client: Client, steps: int) -> None:
    await client.call_tool("generate_image", {"prompt": "a fox", "width": 128, "height": 128, "steps": steps})


async def test_jobs_of_all_programs_are_listed_newest_first(run: Any, client: Client) -> None:
    await render(client, 1)
    await client.call_tool("get_job", {"job": "j1"})
    await render(client, 150)
    await find_running(run)
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


async def test_watching_ends_with_the_last_job_and_says_what_became_of_each(run: Any, client: Client) -> None:
    await render(client, 1)
    await client.call_tool("get_job", {"job": "j1"})
    for steps in (40, 20):
        await render(client, steps)
    watched = await run("jobs", "--watch")
    assert watched.code == 0
    assert watched.stdout.splitlines() == [f"j{n}  a chat 2.0  “a fox”  done v{n}" for n in (3, 2)]


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


@asynccontextmanager
async def begin(folders: Mapping[str, str], *arguments: str) -> AsyncIterator[Process]:
    """A command that is at work while the block runs."""
    environment = {"HOME": os.environ["HOME"], **folders}
    async with await anyio.open_process(list_command("-m", "drawthings_mcp", *arguments), env=environment) as one:
        try:
            yield one
        finally:
            with contextlib.suppress(ProcessLookupError):
                one.kill()


async def find_running(run: Any) -> dict[str, Any]:
    """The newest job, once it is rendered."""
    with anyio.fail_after(60):
        while True:
            listed = json.loads((await run("jobs", "--json")).stdout)
            if listed and listed[0]["state"] == "running":
                job: dict[str, Any] = listed[0]
                return job


async def end(command: Process) -> tuple[int, str]:
    assert command.stderr is not None
    with anyio.fail_after(60):
        said = b"".join([chunk async for chunk in command.stderr])
        return await command.wait(), said.decode()


@pytest.mark.parametrize(
    "arguments", [("generate", "a fox", "--steps", "150"), ("edit", "{picture}", "a fox", "--steps", "150")]
)
async def test_a_render_at_the_shell_is_listed_and_ended_as_any_other(
    arguments: tuple[str, ...], run: Any, folders: Mapping[str, str], tmp_path: Path
) -> None:
    picture = tmp_path / "fox.png"
    Image.new("RGB", (128, 128)).save(picture)
    words = [word.format(picture=picture) for word in arguments]
    async with (
        Simulator(step_seconds=0.1) as simulator,
        begin(folders, *words, "--size", "128", "--server", simulator.address, "--tls", "off") as command,
    ):
        shown = await find_running(run)
        ended = await run("jobs", "--cancel", "j1")
        code, said = await end(command)
    assert (shown["client"], shown["prompt"]) == ("shell", "a fox")
    assert (ended.code, ended.stderr) == (0, "j1: cancelled\n")
    assert (code, said) == (1, "Error: j1 was cancelled. No picture was finished before that.\n")


async def test_an_enlargement_at_the_shell_is_a_job(run: Any, tmp_path: Path) -> None:
    picture = tmp_path / "fox.png"
    Image.new("RGB", (128, 128)).save(picture)
    made = await run("upscale", str(picture), "-o", str(tmp_path / "large.png"), "--server", "demo")
    (listed,) = json.loads((await run("jobs", "--json")).stdout)
    assert made.stdout.strip() == str(tmp_path / "large.png")
    assert (listed["state"], listed["pictures"], listed["client"]) == ("done", ["v1"], "shell")


async def test_the_end_of_one_prompt_of_a_file_ends_the_command_which_then_goes_on_where_it_was(
    run: Any, folders: Mapping[str, str], tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a fox\na hare\na crow\n")
    asked = ("generate", "--prompt-file", str(prompts), "--output-dir", str(tmp_path / "made"), "--size", "128")
    async with (
        Simulator(step_seconds=0.1) as slow,
        begin(folders, *asked, "--steps", "150", "--server", slow.address, "--tls", "off") as command,
    ):
        await find_running(run)
        await run("jobs", "--cancel", "j1")
        code, said = await end(command)
        many = len(slow.requests)
    again = await run(*asked, "--server", "demo")
    listed = json.loads((await run("jobs", "--json")).stdout)
    assert (code, many) == (1, 1)
    assert "j1 was cancelled." in said
    assert "2 more of the file were not begun; the same command makes what is not there." in said
    assert again.code == 0
    assert [(job["id"], job["state"], job["prompt"]) for job in listed] == [
        ("j4", "done", "a crow"),
        ("j3", "done", "a hare"),
        ("j2", "done", "a fox"),
        ("j1", "cancelled", "a fox"),
    ]


async def test_the_shell_names_the_seed_of_a_picture_whose_server_died(run: Any, folders: Mapping[str, str]) -> None:
    with start_server("tests.stalling_server", "sampling") as dying:
        asked = ("generate", "a fox", "--seed", "5", "--size", "128", "--server", dying.address, "--tls", "off")
        async with begin(folders, *asked) as command:
            await find_running(run)
            dying.kill()
            code, said = await end(command)
    (listed,) = json.loads((await run("jobs", "--json")).stdout)
    assert (code, listed["state"]) == (1, "failed")
    assert "went away while it worked" in said
    assert "The seed was 5." in said


async def test_what_is_not_there_is_said(run: Any) -> None:
    nothing = await run("jobs")
    unknown = await run("jobs", "--cancel", "j7")
    wrong = await run("jobs", "--watch", "--json")
    assert (nothing.code, nothing.stderr) == (0, "No jobs yet.\n")
    assert (unknown.code, wrong.code) == (1, 2)
    assert "There is no job j7; run `drawthings-mcp jobs`." in unknown.stderr
