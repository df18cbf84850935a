"""Two server processes on one state folder, at the same time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.recovery import open_catalog
from drawthings_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio

CALLS = 15
VARIANTS = 4


async def test_pictures_of_both_at_once_leave_no_id_twice_and_no_file_lost(
    over_stdio: Any, server_environment: dict[str, str]
) -> None:
    async def draw(name: str, address: str) -> None:
        async with over_stdio("--server", address, "--tls", "off") as client:
            for number in range(CALLS):
                arguments = {"prompt": f"{name} {number}", "width": 128, "height": 128, "variants": VARIANTS}
                with anyio.fail_after(60):
                    result = await client.call_tool("generate_image", {**arguments, "steps": 1, "preview": "never"})
                assert not result.is_error

    async with Simulator() as one, Simulator() as two, anyio.create_task_group() as tasks:
        tasks.start_soon(draw, "one", one.address)
        tasks.start_soon(draw, "two", two.address)
    state = Path(server_environment["DRAWTHINGS_STATE_DIR"])
    files = set(Path(server_environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*.png"))
    records = ImageCatalog(state).list_images()
    assert len(files) == len(records) == 2 * CALLS * VARIANTS
    assert {record.path for record in records} == files
    assert sorted(int(record.id[1:]) for record in records) == list(range(1, len(files) + 1))
    assert len({record.job for record in records}) == 2 * CALLS
    for file in files:
        with Image.open(file) as picture:
            picture.verify()
    # A catalog that is lost afterwards comes back from the files with the same ids.
    for lost in state.glob("catalog*"):
        lost.unlink()
    rebuilt = open_catalog(state, [Path(server_environment["DRAWTHINGS_OUTPUT_DIR"])]).catalog.list_images()
    assert {record.id: record.path for record in rebuilt} == {record.id: record.path for record in records}
