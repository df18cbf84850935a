"""What commands say where the libraries of an extra are not installed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp.types import TextContent

from tests.http_process import serve_http

pytestmark = pytest.mark.anyio

_ABSENT = """\
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"dbos", "zeroconf"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def without(folders: Mapping[str, str], tmp_path: Path) -> dict[str, str]:
    """Variables with which Python finds no library of the extra ``server``."""
    folder = tmp_path / "absent"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_ABSENT)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    # Both are read when an interpreter starts, which has them start one.
    return {**folders, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}


async def test_a_server_over_http_serves_and_says_that_its_jobs_end_with_it(without: dict[str, str]) -> None:
    with serve_http(without, within=["env"]) as server:
        async with server.client() as client:
            made = await client.call_tool("generate_image", {"prompt": "a fox", "width": 128, "height": 128})
        jobs_end = "Jobs end with this server. `pip install 'drawthings-mcp[server]'` has them go on after a restart."
        assert jobs_end in server.lines
    assert isinstance(made.content[0], TextContent)
    assert made.content[0].text.startswith("v1")
    assert not Path(without["DRAWTHINGS_STATE_DIR"], "durable.sqlite3").exists()


async def test_who_wants_jobs_kept_in_a_database_is_not_left_without_it(run: Any, without: dict[str, str]) -> None:
    database = {"DRAWTHINGS_DATABASE_URL": "postgresql://me:hidden@localhost/jobs"}
    ended = await run("serve", "--http", "127.0.0.1:0", **without, **database)
    assert ended.code == 1
    assert ended.stderr == (
        "Error: DRAWTHINGS_DATABASE_URL needs libraries that are not installed: pip install 'drawthings-mcp[server]'.\n"
    )


async def test_discovery_names_what_it_needs(run: Any, without: dict[str, str]) -> None:
    needs = "Discovery needs zeroconf: pip install 'drawthings-mcp[server]'."
    serving = await run("serve", "--http", "127.0.0.1:0", "--discover", **without)
    examined = await run("doctor", "--discover", "--json", "--server", "demo", **without)
    (found,) = [one for one in examined.document["findings"] if one["name"] == "discovery"]
    assert (serving.code, serving.stderr) == (1, f"Error: {needs}\n")
    assert (found["status"], found["detail"], found["remedy"]) == ("problem", needs.rstrip("."), "")
    assert {one["status"] for one in examined.document["findings"] if one["name"] == "protocol"} == {"ok"}
