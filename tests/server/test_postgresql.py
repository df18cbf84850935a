"""Jobs that are kept in PostgreSQL, which is stopped and started while they are rendered."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from drawthings_mcp.simulator import Simulator
from tests.calls import text_of
from tests.http_process import serve_http
from tests.server.test_durable_jobs import collect, list_sent, order

pytestmark = pytest.mark.anyio

_PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)


class Database:
    """A server of its own in a folder, run by a user who is not root, as it wants."""

    def __init__(self, folder: Path) -> None:
        assert _PROGRAMS is not None
        self._programs = _PROGRAMS.parent
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"postgresql://house@127.0.0.1:{self._port}/jobs"
        self._run("initdb", "--auth=trust", "--username=house", "--no-sync", f"--pgdata={folder / 'data'}")

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._control("start", "-o", options, "-l", str(self._folder / "log"))

    def stop(self) -> None:
        self._control("stop", "-m", "fast")

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        command = [*user, str(self._programs / program), *arguments]
        subprocess.run(command, check=True, timeout=60, stdout=subprocess.DEVNULL, cwd="/")


@pytest.fixture
def database() -> Iterator[Database]:
    if _PROGRAMS is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    database = Database(folder)
    database.start()
    try:
        yield database
    finally:
        database.stop()
        shutil.rmtree(folder)


@pytest.mark.slow
async def test_jobs_survive_a_crash_and_a_database_that_is_away_for_a_while(
    server_environment: dict[str, str], database: Database
) -> None:
    environment = {
        **server_environment,
        "DRAWTHINGS_MAX_WAIT": "0.1",
        "DRAWTHINGS_DATABASE_URL": database.url,
    }
    async with Simulator(step_seconds=0.05) as simulator:
        with serve_http(environment, server=simulator.address) as server:
            jobs = [await order(server, steps=20, seed=1), await order(server, steps=1, seed=2)]
            with anyio.fail_after(60):
                while not simulator.requests:
                    await anyio.lowlevel.checkpoint()
            await anyio.to_thread.run_sync(database.stop)
            await anyio.to_thread.run_sync(database.start)
            first = await collect(server, *jobs)
            last = await order(server, steps=3, seed=3)
            server.kill()
        with serve_http(environment, server=simulator.address) as server:
            (recovered,) = await collect(server, last)
    texts = list(map(text_of, [*first, recovered]))
    assert [text[:3] for text in texts] == ["v1:", "v2:", "v3:"], texts
    assert {seed for seed, _ in list_sent(simulator)} == {1, 2, 3}
    assert not (Path(environment["DRAWTHINGS_STATE_DIR"]) / "durable.sqlite3").exists()


async def test_a_database_that_does_not_answer_is_said_at_the_start(
    server_environment: dict[str, str],
) -> None:
    environment = {**server_environment, "DRAWTHINGS_DATABASE_URL": "postgresql://house:secret@127.0.0.1:9/jobs"}
    said = "Jobs cannot be kept in DRAWTHINGS_DATABASE_URL"
    with pytest.raises(AssertionError, match=said) as caught, serve_http(environment):
        pass
    assert "secret" not in str(caught.value)
