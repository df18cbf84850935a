"""The server over HTTP: many clients, each with its own view of what they share."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.types import ImageContent
from PIL import Image

from tests.calls import call, text_of
from tests.http_process import HttpProcess, build_call, serve_http
from tests.sign_reader import read_signs

pytestmark = pytest.mark.anyio

SMALL = {"prompt": "a fox", "width": 128, "height": 128, "steps": 1}
LAN = ("0.0.0.0:0", "--insecure-lan", "--allow-host", "studio.test")
"""Reached as studio.test, a client counts as one on another machine."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("http")


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    return {
        "HOME": os.environ["HOME"],
        "DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(folder / "state"),
    }


@pytest.fixture(scope="module")
def server(environment: dict[str, str]) -> Iterator[HttpProcess]:
    with serve_http(environment) as process:
        yield process


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpProcess]:
    folder = tmp_path_factory.mktemp("lan")
    environment = {
        "HOME": os.environ["HOME"],
        "DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(folder / "state"),
    }
    with serve_http(environment, *LAN) as process:
        yield process


async def draw(client: Client, **arguments: Any) -> str:
    """The id of a new picture."""
    result = await call(client, "generate_image", **SMALL, **arguments)
    found = re.match(r"(v\d+): ", text_of(result))
    assert found is not None, text_of(result)
    return found[1]


def data_uri(colour: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (128, 128), colour).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
async def test_both_eras_of_the_protocol_get_the_same_tools_pictures_and_progress(
    server: HttpProcess, mode: str, version: str
) -> None:
    steps: list[str | None] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        steps.append(message)

    async with server.client(mode=mode) as client:
        assert client.protocol_version == version
        tools = [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("generate_image", SMALL, progress_callback=note)
    assert tools == [
        *("generate_image", "list_models", "search_images", "review_image", "transform_image"),
        *("tag_image", "get_job", "cancel_job"),
    ]
    assert "128×128 seed " in text_of(result)
    assert isinstance(result.content[1], ImageContent)
    assert "Step 1/1" in steps


async def test_latest_is_a_clients_own_newest_and_latest_a_nobody_elses(server: HttpProcess) -> None:
    async with server.client("one") as one, server.client("two") as two:
        mine = await draw(one)
        theirs = await draw(two)
        (brought,) = re.findall(r"^(a\d+): ", text_of(await call(one, "review_image", images=[data_uri("red")])))
        own = text_of(await call(one, "review_image", images=["latest", "latest:a"]))
        other = text_of(await call(two, "review_image", images=["latest"]))
        refused = await call(two, "review_image", images=["latest:a"])
        by_id = text_of(await call(two, "review_image", images=[brought]))
    async with server.client("three") as three:
        newest = text_of(await call(three, "review_image", images=["latest"]))
    assert f"{mine}: " in own
    assert f"{brought}: " in own
    assert other.startswith(f"{theirs}: ")
    assert newest.startswith(f"{theirs}: ")
    assert refused.is_error
    assert "There is no latest:a" in text_of(refused)
    assert by_id.startswith(f"{brought}: ")


async def test_what_one_client_was_shown_is_still_new_to_another(server: HttpProcess) -> None:
    async with server.client("claude-code") as first, server.client("gemini-cli-mcp-client") as second:
        picture = await draw(first)
        change = {"canvas": picture, "mode": "image2image"}
        again = text_of(await call(first, "generate_image", **SMALL, **change))
        new = text_of(await call(second, "generate_image", **SMALL, **change))
    assert "shown: outputs" in again
    assert f"shown: inputs {picture}" in new


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_sessions_of_one_token_do_not_share_a_ledger_where_the_protocol_has_sessions(
    server: HttpProcess, mode: str
) -> None:
    async with server.client("same", mode=mode) as one:
        await call(one, "review_image", images=[data_uri("blue" if mode == "auto" else "green")])
    async with server.client("same", mode=mode) as two:
        found = await call(two, "review_image", images=["latest:a"])
    assert found.is_error is (mode == "legacy")


async def test_one_token_with_many_clients_does_not_make_the_server_forget_another(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    own = {**environment, "DRAWTHINGS_OUTPUT_DIR": str(tmp_path), "DRAWTHINGS_STATE_DIR": str(tmp_path / "state")}
    with serve_http(own, limits="_MOST=3") as server:
        async with server.client("calm", token=server.token) as calm:
            await call(calm, "review_image", images=[data_uri("red")])
            for number in range(4):
                async with server.client(f"loud {number}") as loud:
                    await call(loud, "review_image", images=[data_uri("red")])
            own_newest = await call(calm, "review_image", images=["latest:a"])
        async with server.client("loud 0") as loud:
            forgotten = await call(loud, "review_image", images=["latest:a"])
    assert not own_newest.is_error
    assert forgotten.is_error


async def test_a_stream_that_is_closed_does_not_end_its_render(tmp_path: Path, environment: dict[str, str]) -> None:
    own = {**environment, "DRAWTHINGS_OUTPUT_DIR": str(tmp_path), "DRAWTHINGS_STATE_DIR": str(tmp_path / "state")}
    with serve_http(own) as server:
        body, headers = build_call(7, **{**SMALL, "steps": 40})
        async with (
            httpx2.AsyncClient(timeout=60) as http,
            http.stream("POST", server.url, content=body, headers=headers) as response,
        ):
            async for line in response.aiter_lines():
                if "Step 2/40" in line:
                    break
        async with server.client("another") as client:
            result = await call(client, "get_job", job="j1")
    assert text_of(result).startswith("v1: ")
    assert isinstance(result.content[1], ImageContent)


async def test_a_call_that_is_cancelled_ends_its_render(tmp_path: Path, environment: dict[str, str]) -> None:
    own = {**environment, "DRAWTHINGS_OUTPUT_DIR": str(tmp_path), "DRAWTHINGS_STATE_DIR": str(tmp_path / "state")}
    with serve_http(own) as server:
        async with server.client("hasty", mode="legacy") as client:
            with anyio.CancelScope() as scope:

                async def note(progress: float, total: float | None, message: str | None) -> None:
                    if message == "Step 2/150":
                        scope.cancel()

                await client.call_tool("generate_image", {**SMALL, "steps": 150}, progress_callback=note)
            result = await call(client, "get_job", job="j1")
    assert result.is_error
    assert "j1 was cancelled" in text_of(result)


async def test_get_job_without_an_id_means_a_clients_own(server: HttpProcess) -> None:
    async with server.client("busy") as busy, server.client("idle") as idle:
        await draw(busy)
        own = await call(busy, "get_job")
        none = await call(idle, "get_job")
    assert text_of(own).startswith("v")
    assert none.is_error


async def test_a_session_belongs_to_the_token_that_began_it(server: HttpProcess) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "x", "version": "1"},
        },
    }
    headers = {"Content_Type": "application/json", "Accept": "application/json, text/event-stream"}
    answer, _ = server.ask("POST", "/mcp", json.dumps(hello).encode(), token=server.token, **headers)
    session = answer.headers["mcp-session-id"]
    ping = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "ping"}).encode()
    assert server.status("POST", "/mcp", ping, Mcp_Session_Id=session, **headers) == 404
    own, _ = server.ask("POST", "/mcp", ping, token=server.token, Mcp_Session_Id=session, **headers)
    assert own.status == 200


async def test_other_machines_read_pictures_by_id_and_data_but_no_paths(lan: HttpProcess, tmp_path: Path) -> None:
    file = Path(os.environ["HOME"]) / "private.png"
    Image.new("RGB", (128, 128), "white").save(file)
    async with lan.client("far", token=lan.token, host=f"studio.test:{lan.port}") as far:
        picture = await draw(far)
        by_id = await call(far, "review_image", images=[picture])
        by_data = await call(far, "review_image", images=[data_uri("black")])
        by_path = await call(far, "review_image", images=[str(file)])
        missing = await call(far, "review_image", images=[f"{file}.none"])
    async with lan.client("near", token=lan.token) as near:
        here = await call(near, "review_image", images=[str(file)])
    assert f"open: http://studio.test:{lan.port}/images/{picture}" in text_of(by_id)
    assert not by_data.is_error
    assert by_path.is_error
    assert "is a path on the server's machine" in text_of(by_path)
    assert text_of(missing).replace(".none", "") == text_of(by_path)
    assert not here.is_error


async def test_other_machines_read_paths_in_folders_that_were_named(
    environment: dict[str, str], tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    Image.new("RGB", (128, 128), "white").save(shared / "a.png")
    Image.new("RGB", (128, 128), "white").save(tmp_path / "b.png")
    own = {**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path / "state"), "DRAWTHINGS_INPUT_DIRS": str(shared)}
    with serve_http(own, *LAN) as server:
        async with server.client("far", token=server.token, host="studio.test") as far:
            inside = await call(far, "review_image", images=[str(shared / "a.png")])
            outside = await call(far, "review_image", images=[str(tmp_path / "b.png")])
    assert not inside.is_error
    assert outside.is_error


async def test_results_say_where_pictures_are_to_who_has_a_token(server: HttpProcess) -> None:
    async with server.client("browser", token=server.token) as client:
        with_token = text_of(await call(client, "generate_image", **SMALL))
    async with server.client("browser") as client:
        without = text_of(await call(client, "generate_image", **SMALL))
    address = re.search(r"^open: http://127\.0\.0\.1:\d+(/images/v\d+)$", with_token, re.MULTILINE)
    assert address is not None
    assert "open:" not in without
    response, data = server.ask("GET", address[1], token=server.token)
    assert response.status == 200
    assert Image.open(io.BytesIO(data)).size == (128, 128)


async def test_the_sight_of_a_client_is_that_of_its_token(server: HttpProcess) -> None:
    async with server.client("seer") as client:
        check = await call(client, "review_image", images=["sight"])
        async with server.client("seer", token=server.token) as other:
            refused = await call(other, "review_image", sight="none of its own")
        shown = check.content[1]
        assert isinstance(shown, ImageContent)
        signs = read_signs(Image.open(io.BytesIO(base64.b64decode(shown.data))))
        assert text_of(await call(client, "review_image", sight=signs)).startswith("sight proven")
        proven = text_of(await call(client, "generate_image", **SMALL))
    async with server.client("seer", token=server.token) as other:
        unproven = text_of(await call(other, "generate_image", **SMALL))
    assert "no test picture was shown yet" in text_of(refused)
    assert "sight proven" in proven
    assert "sight unproven" in unproven


async def test_a_message_that_is_nested_too_deeply_is_refused(server: HttpProcess) -> None:
    deep = "[" * 5_000 + "]" * 5_000
    body = '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":' + deep + "}}"
    headers = {"Content_Type": "application/json", "Accept": "application/json, text/event-stream"}
    assert server.status("POST", "/mcp", body.encode(), **headers) == 400
    assert server.status("POST", "/mcp", body.encode(), MCP_Protocol_Version="2026-07-28", **headers) == 400
    assert server.status("GET", "/health") == 200


async def test_an_unknown_token_is_no_client(server: HttpProcess) -> None:
    with pytest.raises((httpx2.HTTPError, MCPError, BaseExceptionGroup)):
        async with server.client("thief", token="x" * 43) as client:
            await client.list_tools()
