"""Pictures in Draw Things' own projects are found like any others."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawthings_mcp.search.projects.project_file import ProjectFile, format_reference
from drawthings_mcp.search.query import SearchArguments
from tests.search.conftest import Desk, Picture
from tests.search.projects.builder import Builder

pytestmark = pytest.mark.anyio


@pytest.fixture
def project(desk: Desk) -> Iterator[Builder]:
    builder = Builder(desk.pictures / "Füchse #1.sqlite3")
    yield builder
    builder.close()


def _jpeg(colour: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), colour, np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


async def test_a_picture_of_a_project_is_found_by_all_that_is_known_of_it(desk: Desk, project: Builder) -> None:
    project.add_node(0, 1, slot_98=("str", "an okapi in fog"), slot_41=("i64", 77))
    project.add_thumbnail(77, _jpeg((20, 30, 220)), half=True)
    Picture("an okapi on film").write(desk.pictures / "okapi.png")
    engine = desk.engine()
    for query in ("okapi fog", "fuchse okapi", "okapi model:z-image", "lora:ink seed:4294967295", "source:projects"):
        (row,) = (await engine.search(SearchArguments(query))).hits
        assert row.place == format_reference(project.path, 1), query
    assert (row.kind, row.metadata.seed, *row.size) == (
        "projects",
        4294967295,
        1024,
        768,
    )
    assert row.source == _jpeg((20, 30, 220))
    assert row.id == "p1"
    assert desk.catalog.get("p1").origin == row.place
    (alike,) = (await engine.search(SearchArguments("blue", like=Image.new("RGB", (9, 9), "blue"), limit=1))).hits
    assert alike.id == "p1"
    await engine.change_tags(row.place, add=["rare"])
    assert [found.id for found in (await engine.search(SearchArguments(tag="rare"))).hits] == ["p1"]


async def test_what_the_app_adds_and_deletes_is_noticed(desk: Desk, project: Builder) -> None:
    first = project.add_node(0, 1, slot_98=("str", "first okapi"))
    (row,) = (await desk.search("okapi")).hits
    project.add_node(0, 2, slot_98=("str", "second okapi"))
    assert (await desk.search("okapi")).total == 2
    project.database.execute("DELETE FROM tensorhistorynode WHERE rowid = ?", (first,))
    (left,) = (await desk.search("okapi")).hits
    assert left.metadata.prompt == "second okapi"
    assert left.id != row.id


async def test_copies_of_a_project_are_one(desk: Desk, project: Builder) -> None:
    project.add_node(0, 1, slot_98=("str", "an okapi"))
    project.close()
    shutil.copy(project.path, desk.pictures / "copy of it.sqlite3")
    assert (await desk.search("okapi")).total == 1
    project.path.unlink()
    (row,) = (await desk.search("okapi")).hits
    assert "copy" in row.place


async def test_other_databases_are_passed_over_in_silence(desk: Desk) -> None:
    await desk.search()
    shutil.copy(desk.state / "search.sqlite3", desk.pictures / "other.sqlite3")
    (desk.pictures / "empty.sqlite3").touch()
    (desk.pictures / "text.sqlite3").write_text("not a database at all, but long enough to look like a file of text")
    result = await desk.search()
    assert (result.total, result.pending, result.notes) == (0, 0, ())


async def test_a_locked_project_is_reported_once_and_read_when_it_is_free(desk: Desk, project: Builder) -> None:
    project.add_node(0, 1, slot_98=("str", "an okapi"))
    project.close()
    Picture("a fox").write(desk.pictures / "fox.png")
    app = Builder(project.path, "delete")
    app.database.execute("PRAGMA locking_mode = EXCLUSIVE")
    app.database.execute("BEGIN EXCLUSIVE")
    first = await desk.search()
    assert [row.metadata.prompt for row in first.hits] == ["a fox"]
    assert len(first.notes) == 1
    assert "locked" in first.notes[0]
    assert (await desk.search()).notes == ()
    app.database.execute("COMMIT")
    app.close()
    assert (await desk.search("okapi")).total == 1


async def test_a_project_that_is_locked_later_keeps_its_pictures(desk: Desk, project: Builder) -> None:
    project.add_node(0, 1, slot_98=("str", "an okapi"))
    project.close()
    assert (await desk.search("okapi")).total == 1
    app = Builder(project.path, "delete")
    app.add_node(0, 2, slot_98=("str", "another okapi"))
    app.database.execute("PRAGMA locking_mode = EXCLUSIVE")
    app.database.execute("BEGIN EXCLUSIVE")
    assert (await desk.search("okapi")).total == 1
    app.database.execute("COMMIT")
    app.close()
    assert (await desk.search("okapi")).total == 2


async def test_reading_projects_leaves_them_as_they_were(desk: Desk, project: Builder) -> None:
    project.add_node(0, 1)
    project.close()
    before = {path.name: path.read_bytes() for path in desk.pictures.iterdir()}
    await desk.engine().index()
    assert {path.name: path.read_bytes() for path in Path(desk.pictures).iterdir()} == before
    with ProjectFile(project.path) as file:
        assert len(list(file.list_entries())) == 1


@pytest.mark.parametrize("damage", ["schema", "pages", "cut off"])
async def test_a_damaged_project_is_said_without_a_traceback(
    desk: Desk, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    project = desk.pictures / "trip.sqlite3"
    builder = Builder(project, "delete")
    for time in range(40):
        builder.add_node(0, time)
    builder.close()
    data = project.read_bytes()
    if damage == "schema":
        data = data.replace(b"CREATE TABLE tensordata", b"CREATE TABL\xff tensordata")
    elif damage == "pages":
        data = data[:4096] + b"\x55" * (len(data) - 4096)
    else:
        data = data[:5000]
    project.write_bytes(data)
    page = await desk.search("picture")
    assert [note for note in page.notes if "trip.sqlite3 cannot be read" in note]
    assert [record for record in caplog.records if record.exc_info] == []
