"""What a first call needs is loaded while nobody waits."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp import Client
from mcp.server import MCPServer

from drawthings_mcp.server.lazy_server import LazyServer
from drawthings_mcp.server.session import Session
from drawthings_mcp.server.tools.tag_image import TOOL
from drawthings_mcp.settings import load_settings
from drawthings_mcp.studio.studio import open_studio
from drawthings_mcp.tasks import background_tasks

pytestmark = pytest.mark.anyio


def build(environment: dict[str, str], loads: Sequence[Callable[[], object]]) -> LazyServer:
    @asynccontextmanager
    async def lifespan(_: MCPServer[Session]) -> AsyncIterator[Session]:
        async with open_studio(load_settings({}, environment=environment)) as studio, background_tasks() as tasks:
            yield Session(studio, tasks)

    return LazyServer(build_tools=lambda: [TOOL], build_view_tools=tuple, loads=loads, name="test", lifespan=lifespan)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_modules_are_loaded_one_by_one_in_a_thread_after_the_handshake(
    server_environment: dict[str, str], mode: Any
) -> None:
    loaded: list[tuple[str, bool]] = []
    done = threading.Event()

    def note(name: str) -> None:
        loaded.append((name, threading.current_thread() is threading.main_thread()))

    loads = [lambda: note("first"), lambda: note("second"), done.set]
    async with Client(build(server_environment, loads), mode=mode) as client:
        await client.list_tools()
        assert await anyio.to_thread.run_sync(done.wait, 30)
    assert loaded == [("first", False), ("second", False)]


async def test_a_call_waits_for_the_load_under_way_and_ends_the_others(server_environment: dict[str, str]) -> None:
    begun, release, too_late = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        release.wait(30)

    answered = anyio.Event()

    async def call(client: Client) -> None:
        await client.call_tool("tag_image", {})
        answered.set()

    async with Client(build(server_environment, [hold, too_late.set])) as client, anyio.create_task_group() as tasks:
        await client.list_tools()
        assert await anyio.to_thread.run_sync(begun.wait, 30)
        tasks.start_soon(call, client)
        await anyio.wait_all_tasks_blocked()
        assert not answered.is_set()
        release.set()
        with anyio.fail_after(30):
            await answered.wait()
    assert not too_late.is_set()


async def test_before_the_first_call_nothing_is_written(in_process: Any, tmp_path: Path) -> None:
    async with in_process(server="demo") as client:
        await client.list_tools()
    assert list(tmp_path.iterdir()) == []
