"""Several Draw Things servers: who renders what, and what becomes of a render whose server goes away."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from mcp import Client
from mcp.shared.dispatcher import ProgressFnT
from PIL import Image

from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.simulator import Simulator
from tests.calls import text_of
from tests.http_process import serve_http
from tests.stalling_server import MODEL, start_server

pytestmark = pytest.mark.anyio

SMALL = {"prompt": "a fox", "width": 128, "height": 128, "model": MODEL, "preview": "never"}
OTHER = "qwen_image_2512_q6p.ckpt"


async def draw(client: Client, report: ProgressFnT | None = None, **arguments: Any) -> str:
    with anyio.fail_after(60):
        result = await client.call_tool("generate_image", {**SMALL, **arguments}, progress_callback=report)
    assert not result.is_error, text_of(result)
    return text_of(result)


def list_pictures(environment: dict[str, str]) -> list[tuple[str, int | None, str]]:
    """Id, seed and server of every picture that was made; each has a file that can be read, and no file is alone."""
    state = Path(environment["DRAWTHINGS_STATE_DIR"])
    records = [record for record in ImageCatalog(state).list_images() if record.kind == "v"]
    files = set(Path(environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*.png"))
    assert {record.path for record in records} == files
    for file in files:
        with Image.open(file) as picture:
            picture.verify()
    return sorted((record.id, record.seed, record.server) for record in records)


async def test_variants_are_spread_over_the_servers_and_keep_their_order(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    async with (
        Simulator(step_seconds=0.05) as one,
        Simulator(step_seconds=0.01) as two,
        in_process(server=f"{one.address},{two.address}", tls="off") as client,
    ):
        text = await draw(client, variants=4, seed=7, steps=4)
    assert len(one.runs) + len(two.runs) == 4
    assert one.runs
    assert two.runs
    made = list_pictures(server_environment)
    assert re.findall(r"(v\d): .* seed (\d+)", text) == [(name, str(seed)) for name, seed, _ in made]
    async with Simulator() as alone, in_process(server=alone.address, tls="off") as client:
        text_alone = await draw(client, variants=4, seed=7, steps=4)
    assert re.findall(r"seed (\d+)", text) == re.findall(r"seed (\d+)", text_alone)
    assert f"on {one.address}, {two.address}" in text or f"on {two.address}, {one.address}" in text


async def test_a_picture_is_made_where_its_model_is(in_process: Any, server_environment: dict[str, str]) -> None:
    async with (
        Simulator(missing_files=[MODEL]) as one,
        Simulator(missing_files=[OTHER]) as two,
        in_process(server=f"{one.address},{two.address}", tls="off") as client,
    ):
        await draw(client, steps=1)
        await draw(client, model=OTHER, steps=1)
    assert [server for *_, server in list_pictures(server_environment)] == [two.address, one.address]


async def test_a_listing_says_what_is_where(in_process: Any) -> None:
    async with (
        Simulator(missing_files=[MODEL]) as one,
        Simulator() as two,
        in_process(server=f"{one.address},{two.address}", tls="off") as client,
    ):
        listed = text_of(await client.call_tool("list_models", {"query": "z_image_turbo"}))
    lines = {line.split(" | ")[2]: line for line in listed.splitlines() if line.startswith("model |")}
    assert f"on {two.address}" in lines[MODEL]
    assert "on 127." not in lines["z_image_turbo_1.0_q6p.ckpt"]


async def test_a_server_that_cannot_be_browsed_is_asked_for_its_files(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    async with (
        Simulator(missing_files=[MODEL]) as one,
        Simulator(model_browser=False) as two,
        in_process(server=f"{one.address},{two.address}", tls="off") as client,
    ):
        await draw(client, steps=1, variants=2)
    assert len(two.runs) == 2
    assert [server for *_, server in list_pictures(server_environment)] == [two.address] * 2


async def test_the_faster_server_gets_what_it_will_do_first(in_process: Any) -> None:
    async with (
        Simulator(step_seconds=0.2) as slow,
        Simulator() as fast,
        in_process(server=f"{slow.address},{fast.address}", tls="off") as client,
    ):
        await draw(client, variants=2, steps=4)
        measured = len(slow.runs)
        for _ in range(3):
            await draw(client, steps=4)
    assert len(slow.runs) == measured
    assert len(fast.runs) == 5 - measured


async def test_a_program_that_was_started_again_knows_the_faster_server(in_process: Any) -> None:
    async with Simulator(step_seconds=0.2) as slow, Simulator() as fast:
        servers = {"server": f"{slow.address},{fast.address}", "tls": "off"}
        async with in_process(**servers) as client:
            await draw(client, variants=2, steps=4)
        measured = len(slow.runs)
        async with in_process(**servers) as client:
            await draw(client, steps=4)
    assert len(slow.runs) == measured
    assert len(fast.runs) == 3 - measured


@pytest.mark.parametrize("phase", ["encoded", "sampling", "transfer", "sent"])
async def test_a_picture_whose_server_dies_is_made_once(
    phase: str, in_process: Any, server_environment: dict[str, str]
) -> None:
    reached = {"encoded": "Text encoded", "sampling": "Step 2/4", "transfer": "Receiving", "sent": "Received"}[phase]
    with start_server("tests.stalling_server", phase) as dying:
        async with Simulator() as other, in_process(server=f"{dying.address},{other.address}", tls="off") as client:

            async def kill(progress: float, total: float | None, message: str | None) -> None:
                if message and reached in message and dying.process.poll() is None:
                    dying.kill()

            text = await draw(client, kill, seed=5, steps=4)
            again = await draw(client, seed=6, steps=4)
    from_other = phase != "sent"
    servers = [other.address if from_other else dying.address, other.address]
    assert list_pictures(server_environment) == [("v1", 5, servers[0]), ("v2", 6, servers[1])]
    assert (f"{dying.address} went away; begun again on {other.address}, with the same seed" in text) is from_other
    assert "went away" not in again
    assert len(other.runs) == 1 + from_other


async def test_who_wants_no_restart_gets_an_error_after_the_first_step(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    server_environment["DRAWTHINGS_FAILOVER"] = "stop"
    with start_server("tests.stalling_server", "sampling") as dying:
        async with Simulator() as other, in_process(server=f"{dying.address},{other.address}", tls="off") as client:

            async def kill(progress: float, total: float | None, message: str | None) -> None:
                if message and "Step 2/4" in message and dying.process.poll() is None:
                    dying.kill()

            with anyio.fail_after(60):
                result = await client.call_tool("generate_image", {**SMALL, "seed": 5}, progress_callback=kill)
    assert result.is_error
    assert "went away while it worked" in text_of(result)
    assert "The seed was 5." in text_of(result)
    assert not other.runs


async def test_what_two_servers_died_of_is_not_sent_to_a_third(in_process: Any) -> None:
    with (
        start_server("tests.stalling_server", "encoded") as one,
        start_server("tests.stalling_server", "encoded") as two,
    ):
        async with Simulator() as third:

            async def kill(progress: float, total: float | None, message: str | None) -> None:
                if message and "Text encoded" in message:
                    (one if one.process.poll() is None else two).kill()

            servers = f"{one.address},{two.address},{third.address}"
            async with in_process(server=servers, tls="off") as client:
                with anyio.fail_after(60):
                    result = await client.call_tool("generate_image", SMALL, progress_callback=kill)
    assert result.is_error
    assert not third.runs


async def test_a_server_that_comes_back_gets_pictures_again(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    command = ("drawthings_mcp", "simulator", "--no-tls", "--port")
    with start_server(*command, "0") as one:
        async with (
            Simulator(missing_files=[MODEL]) as two,
            in_process(server=f"{one.address},{two.address}", tls="off") as client,
        ):
            await draw(client, steps=1)
            one.kill()
            refused = await client.call_tool("generate_image", SMALL)
            assert refused.is_error
            assert f"There is no model “{MODEL}” on the server" in text_of(refused)
            with start_server(*command, one.address.rpartition(":")[2]), anyio.fail_after(60):
                while (await client.call_tool("generate_image", {**SMALL, "steps": 1})).is_error:
                    await anyio.lowlevel.checkpoint()
    assert [server for *_, server in list_pictures(server_environment)] == [one.address] * 2


async def test_without_any_server_each_is_named_with_its_reason(in_process: Any) -> None:
    async with in_process(server="127.0.0.1:1,127.0.0.1:2", tls="off") as client:
        result = await client.call_tool("generate_image", SMALL)
    assert result.is_error
    assert "None of 2 servers can be used." in text_of(result)
    assert "127.0.0.1:1: 127.0.0.1:1 refuses connections" in text_of(result)


async def test_a_server_under_two_names_renders_one_picture_at_a_time(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    waiting = []
    async with Simulator(step_seconds=0.02) as one, Simulator(missing_files=[MODEL]) as other:
        names = f"{one.address},{one.address.replace('127.0.0.1', 'localhost')}"

        async def count(progress: float, total: float | None, message: str | None) -> None:
            if message and message.startswith("Step"):
                waiting.append(len(one.requests) - len(one.runs))

        async with in_process(server=f"{names},{other.address}", tls="off") as client:
            text = await draw(client, count, variants=3, steps=4)
            listed = text_of(await client.call_tool("list_models", {"query": "z image turbo"}))
    (used,) = {server for *_, server in list_pictures(server_environment)}
    assert max(waiting) == 1
    assert f"on {used}" in text
    assert names.replace(used, "").strip(",") not in text + listed


async def test_a_server_under_two_names_that_was_started_again_is_still_one(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    waiting, started = [], []
    with start_server("drawthings_mcp", "simulator", "--no-tls", "--step-seconds", "0.1", "--port", "0") as dying:
        port, is_dead = int(dying.address.rpartition(":")[2]), anyio.Event()

        async def start_again() -> None:
            await is_dead.wait()
            async with Simulator(port=port, step_seconds=0.02) as again:
                started.append(again)
                await anyio.sleep_forever()

        async def watch(progress: float, total: float | None, message: str | None) -> None:
            if message and message.startswith("Step 2") and not is_dead.is_set():
                dying.kill()
                is_dead.set()
            elif message and message.startswith("Step") and started:
                waiting.append(len(started[0].requests) - len(started[0].runs))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start_again)
            async with in_process(server=f"{dying.address},localhost:{port}", tls="off") as client:
                await draw(client, watch, variants=3, steps=4)
            tasks.cancel_scope.cancel()
    assert max(waiting) == 1
    assert len(list_pictures(server_environment)) == 3


@asynccontextmanager
async def forward(address: str) -> AsyncIterator[tuple[str, anyio.CancelScope]]:
    """Another way to a server: its address, and what cuts it."""
    host, _, port = address.rpartition(":")

    async def pass_on(source: ByteStream, sink: ByteStream) -> None:
        async for data in source:
            await sink.send(data)

    async def handle(client: ByteStream) -> None:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with client, await anyio.connect_tcp(host, int(port)) as server, anyio.create_task_group() as tasks:
                tasks.start_soon(pass_on, client, server)
                await pass_on(server, client)
                tasks.cancel_scope.cancel()

    async def serve() -> None:
        with scope:
            async with listener:
                await listener.serve(handle)

    listener, scope = await anyio.create_tcp_listener(local_host="127.0.0.1"), anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        yield f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}", scope
        scope.cancel()


async def test_a_server_to_which_one_way_is_cut_is_reached_by_the_other(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    async with (
        Simulator(step_seconds=0.05) as server,
        forward(server.address) as (one, cut_one),
        forward(server.address) as (two, cut_two),
        in_process(server=f"{one},{two}", tls="off") as client,
    ):
        await draw(client, steps=1)
        ((_, _, used),) = list_pictures(server_environment)

        async def cut(progress: float, total: float | None, message: str | None) -> None:
            if message and message.startswith("Step 2"):
                (cut_one if used == one else cut_two).cancel()

        text = await draw(client, cut, steps=6)
    assert f"{used} went away; begun again on {two if used == one else one}, with the same seed" in text


@pytest.mark.slow
async def test_who_wants_one_picture_need_not_wait_for_twenty(server_environment: dict[str, str]) -> None:
    ended = []
    with serve_http(server_environment) as server:
        async with server.client("many") as many, server.client("one") as one, anyio.create_task_group() as tasks:
            has_begun = anyio.Event()

            async def report(progress: float, total: float | None, message: str | None) -> None:
                if message and "image 2 of 20" in message:
                    has_begun.set()

            async def draw_many() -> None:
                await draw(many, report, sweep={"seed": [*range(1, 21)]}, steps=2)
                ended.append("many")

            tasks.start_soon(draw_many)
            with anyio.fail_after(60):
                await has_begun.wait()
            await draw(one, steps=2)
            ended.append("one")
    assert ended == ["one", "many"]
    assert len(list_pictures(server_environment)) == 21


LORA = "my_style_lora_f16.ckpt"


@pytest.fixture
def lora_folder(tmp_path: Path, server_environment: dict[str, str]) -> Path:
    folder = tmp_path / "loras"
    folder.mkdir()
    (folder / LORA).write_bytes(bytes(range(256)) * 10_000)
    entry = {"name": "My Style", "file": LORA, "prefix": "", "version": "z_image"}
    (folder / "custom_lora.json").write_text(json.dumps([entry]))
    server_environment["DRAWTHINGS_LORA_DIR"] = str(folder)
    return folder


@pytest.mark.parametrize("browsing", [True, False])
async def test_a_lora_that_a_server_lacks_is_uploaded_once(browsing: bool, lora_folder: Path, in_process: Any) -> None:
    async with (
        Simulator(model_browser=browsing) as simulator,
        in_process(server=simulator.address, tls="off") as client,
    ):
        first = await draw(client, loras=[LORA], steps=1)
        second = await draw(client, loras=["my_style_lora_f16@0.5"], steps=1)
    assert simulator.uploads == {LORA: hashlib.sha256((lora_folder / LORA).read_bytes()).digest()}
    assert f"uploaded {LORA} to {simulator.address}" in first
    assert "uploaded" not in second
    assert simulator.degradations == []


@pytest.mark.usefixtures("lora_folder")
async def test_a_lora_is_uploaded_only_where_it_is_used(in_process: Any) -> None:
    async with (
        Simulator() as one,
        Simulator(missing_files=[MODEL]) as two,
        in_process(server=f"{one.address},{two.address}", tls="off") as client,
    ):
        await draw(client, loras=[LORA], steps=1)
    assert list(one.uploads) == [LORA]
    assert not two.uploads


async def test_a_link_in_the_folder_of_loras_leads_nowhere(lora_folder: Path, tmp_path: Path, in_process: Any) -> None:
    (lora_folder / LORA).rename(tmp_path / "private.ckpt")
    (lora_folder / LORA).symlink_to(tmp_path / "private.ckpt")
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        result = await client.call_tool("generate_image", {**SMALL, "loras": [LORA]})
    assert result.is_error
    assert not simulator.uploads


@pytest.mark.slow
async def test_of_a_batch_on_servers_that_die_and_return_no_picture_is_lost_or_made_twice(
    in_process: Any, server_environment: dict[str, str]
) -> None:
    command = ("drawthings_mcp", "simulator", "--no-tls", "--step-seconds", "0.05", "--port")
    with start_server(*command, "0") as one, start_server(*command, "0") as two, ExitStack() as returned:
        async with in_process(server=f"{one.address},{two.address}", tls="off") as client:

            async def disturb(progress: float, total: float | None, message: str | None) -> None:
                if message and "Step 2/6, image 4 of 12" in message and one.process.poll() is None:
                    one.kill()
                    returned.enter_context(start_server(*command, one.address.rpartition(":")[2]))
                if message and "Step 2/6, image 9 of 12" in message and two.process.poll() is None:
                    two.kill()

            await draw(client, disturb, sweep={"seed": [*range(1, 13)]}, steps=6)
    assert one.process.poll() is not None
    assert two.process.poll() is not None
    made = sorted((int(name[1:]), seed) for name, seed, _ in list_pictures(server_environment))
    assert made == [(number, number) for number in range(1, 13)]
