"""Servers that announce themselves on the network."""

from __future__ import annotations

import socket
import tomllib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.types import TextContent
from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from drawthings_mcp.simulator import Simulator
from tests.http_process import serve_http
from tests.install.conftest import make_home

pytestmark = pytest.mark.anyio

_SERVICE = "_dt-grpc._tcp.local."
NAME = 'Studio of [x] "quoted"'


@pytest.fixture
async def announced() -> AsyncIterator[Simulator]:
    """A simulator that is announced as the app announces itself."""
    async with Simulator() as simulator:
        network = AsyncZeroconf(interfaces=["127.0.0.1"])
        info = ServiceInfo(
            _SERVICE,
            f"{NAME}_notls.{_SERVICE}",
            addresses=[socket.inet_aton("127.0.0.1")],
            port=int(simulator.address.rpartition(":")[2]),
            server="studio-of-the-test.local.",
        )
        await network.async_register_service(info)
        try:
            yield simulator
        finally:
            await network.async_unregister_service(info)
            await network.async_close()


@pytest.mark.slow
async def test_the_doctor_says_how_an_announced_server_is_accepted(announced: Simulator, run: Any) -> None:
    outcome = await run("doctor", "--discover", "--server", "127.0.0.1:1", "--json")
    (found,) = [one for one in outcome.document["findings"] if one["group"] == "Announced on the network"]
    assert found["name"] == announced.address
    assert found["status"] == "skipped"
    table = tomllib.loads(found["remedy"].partition("\n")[2])
    assert table == {"servers": {"Studio-of-x-quoted": {"address": announced.address, "tls": "off"}}}
    assert not announced.requests


@pytest.mark.slow
async def test_install_lists_what_is_announced_and_takes_what_the_person_types(
    announced: Simulator, tmp_path: Path
) -> None:
    home = make_home(tmp_path / "home", {"cursor": "{}"})
    install = partial(home.run, "install", "cursor", "--dry-run")
    # Without asking, nothing is looked for.
    assert announced.address not in (install().stderr + install().stdout)

    def ask(typed: str) -> str:
        said = home.run("install", "cursor", answers=f"{typed}\n\nn\n", DRAWTHINGS_SERVER="")
        return said.stdout + said.stderr

    other = await anyio.to_thread.run_sync(ask, "")
    taken = await anyio.to_thread.run_sync(ask, announced.address)
    listed = f"anybody can announce anything: {announced.address} (“Studio of [x]"
    assert listed in other
    assert listed in taken
    assert f'"{announced.address}"' not in other
    assert f'"{announced.address}"' in taken
    assert '"--tls"' in taken


async def test_a_server_over_http_lists_what_is_announced_and_does_not_use_it(
    announced: Simulator, tmp_path: Path
) -> None:
    environment = {
        "HOME": str(tmp_path),
        "DRAWTHINGS_OUTPUT_DIR": str(tmp_path / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(tmp_path / "state"),
    }
    with serve_http(environment, "127.0.0.1:0", "--discover") as server:
        async with server.client("test") as client:
            with anyio.fail_after(60):
                text = ""
                while announced.address not in text:
                    listed = await client.call_tool("list_models", {"limit": 1})
                    assert isinstance(listed.content[0], TextContent)
                    text = listed.content[0].text
                await client.call_tool("generate_image", {"prompt": "a fox", "width": 128, "height": 128, "steps": 1})
    assert "not used, but announced on the network" in text
    assert '“Studio of [x] "quoted"”' in text
    assert not announced.requests


async def test_discovery_is_for_the_server_over_http(run: Any) -> None:
    outcome = await run("serve", "--discover")
    assert outcome.code == 2
    assert "--http" in outcome.stderr
