"""A server over stdio that passes everything on to one over HTTP, on both eras of the protocol."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import Implementation
from PIL import Image

from drawthings_mcp.jobs.board import JobBoard
from drawthings_mcp.server.views import VIEW_KEY
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.simulator.certificate import make_certificate
from tests.calls import text_of
from tests.http_process import HttpProcess, serve_http
from tests.server.test_views import APP_ONLY, TAKES_VIEWS, paint
from tests.warm_start import list_command

pytestmark = pytest.mark.anyio

SMALL = {"prompt": "a fox", "width": 128, "height": 128, "model": "z-image"}
Connect: TypeAlias = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(step_seconds=0.05) as running:
        yield running


@pytest.fixture
def house(server_environment: dict[str, str], simulator: Simulator, tmp_path: Path) -> Iterator[HttpProcess]:
    """The server over HTTP, which wants a token."""
    tokens = str(tmp_path / "tokens.txt")
    with serve_http(server_environment, "127.0.0.1:0", "--token-file", tokens, server=simulator.address) as server:
        yield server


@pytest.fixture
def own(tmp_path: Path) -> dict[str, str]:
    """Variables of the server over stdio, whose folders are others."""
    return {
        "HOME": str(tmp_path / "home"),
        "DRAWTHINGS_STATE_DIR": str(tmp_path / "own state"),
        "DRAWTHINGS_OUTPUT_DIR": str(tmp_path / "own pictures"),
        "DRAWTHINGS_INPUT_DIRS": str(tmp_path / "photos"),
    }


@pytest.fixture
def connect(own: dict[str, str]) -> Connect:
    @asynccontextmanager
    async def open_client(
        url: str, token_file: Path | None = None, mode: str = "auto", extensions: Any = ()
    ) -> AsyncIterator[Client]:
        given = {"DRAWTHINGS_MCP_URL": url, **({"DRAWTHINGS_MCP_TOKEN_FILE": str(token_file)} if token_file else {})}
        python, *arguments = list_command("-m", "drawthings_mcp", "--server", "demo")
        command = StdioServerParameters(command=python, args=arguments, env={**own, **given})
        info = Implementation(name="mcp-inspector", version="1.2")
        async with Client(
            command, read_timeout_seconds=60, mode=mode, client_info=info, extensions=extensions
        ) as client:
            yield client

    return open_client


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_calls_pictures_progress_and_who_asks_are_passed_on(
    house: HttpProcess,
    connect: Connect,
    own: dict[str, str],
    server_environment: dict[str, str],
    mode: str,
) -> None:
    photo = Path(own["DRAWTHINGS_INPUT_DIRS"], "photo.png")
    photo.parent.mkdir()
    Image.new("RGB", (128, 128), "teal").save(photo)
    steps: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        steps.append(progress)

    async with connect(house.url, house.token_file, mode) as client:
        tools = await client.list_tools()
        arguments = {**SMALL, "canvas": str(photo), "mode": "image2image", "steps": 10}
        made = await client.call_tool("generate_image", arguments, progress_callback=note)
        refused = await client.call_tool("generate_image", {**SMALL, "canvas": "/etc/hostname"})
        unknown = await client.call_tool("generate_image", {**SMALL, "canvas": "v99"})
    *_, job = JobBoard(Path(server_environment["DRAWTHINGS_STATE_DIR"])).list_jobs()
    assert len(tools.tools) == 8
    assert text_of(made).startswith("from canvas a1\nv1: ")
    assert server_environment["DRAWTHINGS_OUTPUT_DIR"] in text_of(made)
    assert len(steps) > 3
    assert job.client.startswith("mcp-inspector 1.2 of ")
    assert refused.is_error
    assert "lies outside the folders that may be read" in text_of(refused)
    assert "There is no picture" in text_of(unknown)
    assert not Path(own["DRAWTHINGS_STATE_DIR"]).exists()
    assert not Path(own["DRAWTHINGS_OUTPUT_DIR"]).exists()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_call_that_is_cancelled_ends_the_render_there(
    house: HttpProcess, connect: Connect, simulator: Simulator, server_environment: dict[str, str], mode: str
) -> None:
    board = JobBoard(Path(server_environment["DRAWTHINGS_STATE_DIR"]))
    async with connect(house.url, house.token_file, mode) as client:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:

                async def cancel() -> None:
                    while not simulator.requests:
                        await anyio.lowlevel.checkpoint()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(cancel)
                await client.call_tool("generate_image", {**SMALL, "steps": 150})
            while [job.state for job in board.list_jobs()] != ["cancelled"]:
                await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_views_and_what_they_call_are_passed_on(house: HttpProcess, connect: Connect, mode: str) -> None:
    by_view: Any = {VIEW_KEY: True}
    async with connect(house.url, house.token_file, mode, TAKES_VIEWS) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        page = (await client.read_resource("ui://drawthings/mask")).contents[0]
        made = await client.call_tool("generate_image", SMALL, meta=by_view)
        mask = await client.call_tool("paint_mask", {"image": "v1", "mask": paint((64, 64), (0, 0, 31, 31))})
    assert len(names) == 8 + len(APP_ONLY)
    assert 'data-view="mask"' in getattr(page, "text", "")
    assert "shown in the view, not to you" in text_of(made)
    assert (mask.meta or {})[VIEW_KEY]["pictures"][0]["id"] == "i1"


async def test_a_server_that_does_not_answer_is_an_error_and_no_render_here(
    house: HttpProcess, connect: Connect, own: dict[str, str]
) -> None:
    async with connect(house.url, house.token_file) as client:
        await client.list_tools()
        house.kill()
        result = await client.call_tool("generate_image", SMALL)
    assert result.is_error
    assert "(DRAWTHINGS_MCP_URL) does not answer" in text_of(result)
    assert not Path(own["DRAWTHINGS_OUTPUT_DIR"]).exists()


async def test_a_server_that_was_started_again_goes_on_with_its_clients(
    house: HttpProcess, connect: Connect, server_environment: dict[str, str], simulator: Simulator, tmp_path: Path
) -> None:
    async with connect(house.url, house.token_file, "legacy") as client:
        await client.list_tools()
        house.kill()
        address, tokens = f"127.0.0.1:{house.port}", str(house.token_file)
        with serve_http(server_environment, address, "--token-file", tokens, server=simulator.address):
            made = await client.call_tool("generate_image", {**SMALL, "steps": 1})
    assert text_of(made).startswith("v1: ")


async def test_a_token_that_is_missing_is_said(house: HttpProcess, connect: Connect) -> None:
    with pytest.RaisesGroup(pytest.RaisesGroup(pytest.RaisesExc(MCPError, match="name a file with yours in"))):
        async with connect(house.url, mode="legacy"):
            pass


async def test_a_server_is_trusted_by_its_certificate_alone(
    connect: Connect, own: dict[str, str], server_environment: dict[str, str], tmp_path: Path
) -> None:
    files = (tmp_path / "certificate.pem", tmp_path / "key.pem")
    for file, data in zip(files, make_certificate(), strict=True):
        file.write_bytes(data)
    given = ("--tls-cert", str(files[0]), "--tls-key", str(files[1]), "--token-file", str(tmp_path / "tokens.txt"))
    with serve_http(server_environment, "127.0.0.1:0", *given) as house:
        assert house.url.startswith("https://")
        untrusted = "is not trusted on this machine .* SSL_CERT_FILE"
        with pytest.RaisesGroup(pytest.RaisesGroup(pytest.RaisesExc(MCPError, match=untrusted))):
            async with connect(house.url, house.token_file, mode="legacy"):
                pass
        own["SSL_CERT_FILE"] = str(files[0])
        async with connect(house.url, house.token_file) as client:
            made = await client.call_tool("generate_image", {**SMALL, "steps": 1})
    assert text_of(made).startswith("v1: ")


@pytest.mark.parametrize(
    ("url", "said"),
    [("http://studio.local:7868/mcp", "Use https://"), ("ftp://studio.local", "must begin with http:// or https://")],
)
def test_a_token_never_leaves_the_machine_without_tls(own: dict[str, str], tmp_path: Path, url: str, said: str) -> None:
    tokens = tmp_path / "token.txt"
    tokens.write_text("anna 0123456789abcdef")
    given = {"DRAWTHINGS_MCP_URL": url, "DRAWTHINGS_MCP_TOKEN_FILE": str(tokens), "PATH": os.environ["PATH"]}
    command = list_command("-m", "drawthings_mcp")
    ended = subprocess.run(
        command, env={**own, **given}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode != 0
    assert said in ended.stderr
    assert "0123456789abcdef" not in ended.stderr
