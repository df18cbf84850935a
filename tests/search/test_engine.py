"""The engine as its callers have it: first searches, what goes on after them, and refusals."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import numpy as np
import pytest

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.metadata.reading import read_image_metadata_from
from drawthings_mcp.search import visual_index
from drawthings_mcp.search.folders import FolderSource
from drawthings_mcp.search.indexing import Progress
from drawthings_mcp.search.query import SearchArguments
from drawthings_mcp.search.source import Entry
from drawthings_mcp.search.visual_features import VisualFeatures, measure_picture
from drawthings_mcp.tensors.pixels import ImageLike
from tests.search.conftest import PATIENT, Desk, Picture

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Gated(FolderSource):
    """A folder that gives no more than a batch of its pictures before it is told to."""

    gate: threading.Event = field(default_factory=threading.Event)
    left: list[None] = field(default_factory=lambda: [None] * 256)

    def read(self, path: Path) -> Iterator[Entry]:
        if self.left:
            self.left.pop()
        else:
            assert self.gate.wait(PATIENT)
        return FolderSource.read(self, path)


def _write_many(desk: Desk, count: int) -> None:
    for number in range(count):
        Picture(f"herd number {number}").write(desk.pictures / f"{number}.png")


async def test_the_first_search_answers_in_time_and_the_index_grows_after_it(desk: Desk) -> None:
    _write_many(desk, 700)
    async with anyio.create_task_group() as background:
        engine = desk.engine(background=background, budget=0.0, fresh_for=3600.0)
        first = await engine.search(SearchArguments("herd"))
        assert any("still being indexed" in note for note in first.notes)
    last = await engine.search(SearchArguments("herd"))
    assert (last.total, last.pending, last.notes) == (700, 0, ())


async def test_a_first_search_with_time_enough_has_everything(desk: Desk) -> None:
    _write_many(desk, 50)
    async with anyio.create_task_group() as background:
        result = await desk.engine(background=background).search(SearchArguments("herd"))
    assert (result.total, result.pending) == (50, 0)


async def test_without_a_background_each_search_goes_on_where_the_last_one_stopped(desk: Desk) -> None:
    _write_many(desk, 700)
    assert (await desk.engine(budget=0.0).search(SearchArguments("herd"))).total == 0
    assert (await desk.engine().search(SearchArguments("herd"))).total == 700


async def test_the_end_of_the_background_ends_indexing(desk: Desk) -> None:
    _write_many(desk, 300)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as background:
            await desk.engine(background=background, budget=0.0).search(SearchArguments())
            background.cancel_scope.cancel()
    assert (await desk.search("herd")).total == 300


async def test_of_an_index_that_is_fresh_only_what_changed_in_folders_is_compared_again(desk: Desk) -> None:
    path = Picture("a gnu").write(desk.pictures / "1.png")
    past = path.stat().st_mtime
    os.utime(desk.pictures, (past, past))  # its time is that of no recent change
    engine = desk.engine(fresh_for=3600.0)
    assert (await engine.search(SearchArguments("gnu"))).total == 1
    with path.open("r+b") as file:  # in place: the folder does not change
        file.truncate(10)
    assert (await engine.search(SearchArguments("gnu"))).total == 1
    assert (await desk.search("gnu")).total == 0


async def test_a_search_waits_for_a_few_files_and_not_for_many(desk: Desk) -> None:
    _write_many(desk, 300)
    source = Gated("folders", desk.pictures, lambda file, path: read_image_metadata_from(file, name=str(path)))
    async with anyio.create_task_group() as background:
        engine = desk.engine(background=background, fresh_for=3600.0, sources=[source])
        first = await engine.search(SearchArguments("herd"))
        source.gate.set()
        assert (first.total, first.pending) == (256, 44)
        assert "Pictures are still being indexed, which goes on; search again for more." in first.notes
    last = await engine.search(SearchArguments("herd"))
    assert (last.total, last.pending, last.notes) == (300, 0, ())


async def test_a_search_tells_how_far_indexing_is(desk: Desk) -> None:
    _write_many(desk, 3)
    seen: list[Progress] = []
    await desk.engine().search(SearchArguments(like=np.zeros((8, 8, 3), np.uint8)), seen.append)
    assert [(progress.doing, progress.done, progress.total) for progress in seen] == [
        ("reading", 3, 3),
        ("measuring", 3, 3),
    ]


async def test_a_query_without_words_is_reported(desk: Desk) -> None:
    Picture("a gnu").write(desk.pictures / "1.png")
    assert (await desk.search("?!")).notes == ("The query has no word; these are the newest.",)
    assert (await desk.search("")).notes == (await desk.search("-gnu")).notes == ()


async def test_new_pictures_are_found_while_others_are_still_measured(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def measure_later(picture: ImageLike) -> VisualFeatures:
        assert gate.wait(PATIENT)
        return measure_picture(picture)

    monkeypatch.setattr(visual_index, "measure_picture", measure_later)
    Picture("a gnu").write(desk.pictures / "1.png")
    async with anyio.create_task_group() as background:
        engine = desk.engine(background=background)
        assert (await engine.search(SearchArguments("gnu"))).total == 1
        Picture("a gnu too").write(desk.pictures / "2.png")
        assert (await engine.search(SearchArguments("gnu"))).total == 2
        gate.set()
    assert (await desk.search(like=np.zeros((8, 8, 3), np.uint8))).notes == ()


async def test_a_mistake_in_the_background_ends_no_search(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(picture: ImageLike) -> VisualFeatures:
        raise ZeroDivisionError  # a reason that nobody thought of

    monkeypatch.setattr(visual_index, "measure_picture", fail)
    Picture("a gnu").write(desk.pictures / "1.png")
    async with anyio.create_task_group() as background:
        await desk.engine(background=background).search(SearchArguments("gnu"))
    assert (await desk.search("gnu")).total == 1
    assert "Indexing ended early" in caplog.text


async def test_indexing_tells_how_far_it_is(desk: Desk) -> None:
    _write_many(desk, 600)
    seen: list[Progress] = []
    report = await desk.engine().index(report=seen.append)
    assert (report.read, report.pending, report.is_listed) == (600, 0, True)
    reading = [progress for progress in seen if progress.doing == "reading"]
    assert [progress.total for progress in reading] == [600] * len(reading)
    assert [progress.done for progress in reading] == sorted(progress.done for progress in reading)
    assert reading[-1].done == 600
    measuring = [progress for progress in seen if progress.doing == "measuring"]
    assert (measuring[-1].done, measuring[-1].total) == (600, 600)


async def test_arguments_and_words_of_the_query_narrow_alike(desk: Desk) -> None:
    for number, model in enumerate(("flux1-dev.safetensors", "qwen_image.ckpt")):
        picture = Picture("a gnu", model, seed=number, size=(512 + 256 * number, 512), lora=("ink", "grain")[number])
        picture.write(desk.pictures / f"{number}.png")
    for arguments in (
        {"model": "FLUX.1 dev"},
        {"lora": "ink"},
        {"size": "512x512"},
        {"size": "square"},
        {"query": "gnu -size:landscape"},
        {"query": "gnu seed:0"},
        {"model": "flux", "query": "model:flux,qwen"},
    ):
        assert await desk.names(**arguments) == ["0.png"], arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": "huge"}, "1024x768, >=1024 or square, landscape, portrait"),
        ({"since": "soonish"}, "2026-11-20"),
        ({"until": "x"}, "until: must be a date"),
        ({"tag": "!"}, "no letter"),
        ({"source": "everywhere"}, "all, generated, folders, projects, web"),
        ({"limit": 0}, "from 1 to 25"),
        ({"limit": 26}, "from 1 to 25"),
        ({"offset": -1}, "from 0 to 10000"),
    ],
)
async def test_an_argument_that_cannot_be_used_is_refused_with_what_can(
    desk: Desk, arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        await desk.search(**arguments)  # type: ignore[arg-type]


async def test_a_range_of_time_that_ends_before_it_begins_is_reported(desk: Desk) -> None:
    Picture("a gnu").write(desk.pictures / "1.png")
    for arguments in ({"since": "2026", "until": "2025"}, {"query": "gnu since:2026 until:2025"}):
        result = await desk.search(**arguments)
        assert (result.hits, result.notes) == ((), ("since is later than until, so that there can be no picture.",))


async def test_a_row_tells_all_that_the_table_needs(desk: Desk) -> None:
    path = Picture("a gnu", "flux.ckpt", seed=42, size=(640, 480), day="2025-03-04", lora="ink").write(
        desk.pictures / "gnu.png"
    )
    (row,) = (await desk.search("gnu")).hits
    assert row.metadata.created is not None
    assert (row.id, row.match, row.kind, row.place) == ("p1", "exact", "folders", str(path))
    assert (row.metadata.model, row.metadata.loras, row.metadata.seed, *row.size) == (
        "flux.ckpt",
        (("ink", 0.8),),
        42,
        640,
        480,
    )
    assert row.metadata.created.astimezone().date().isoformat() == "2025-03-04"
    assert desk.catalog.get("p1").path == path
    assert row.place == str(path)
