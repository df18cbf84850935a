"""Whatever happens to the index, the disk or the files: nothing is lost, and answers stay right."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import anyio
import pytest

from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.errors import StorageError
from drawthings_mcp.search.database import INDEX_NAME, TAGS_NAME
from drawthings_mcp.search.query import SearchArguments
from tests.search.conftest import Desk, Picture, paint
from tests.search.test_visual import RED, draw_scene

pytestmark = pytest.mark.anyio

Start = Callable[[str, Sequence[object]], "subprocess.Popen[str]"]

INDEX = """
import sys, anyio
from pathlib import Path
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.search.engine import SearchEngine
from drawthings_mcp.settings import Settings
output, pictures, state, mode = sys.argv[1:]
engine = SearchEngine(
    Settings(output_dir=output, search_dirs=(Path(pictures),), state_dir=state), ImageCatalog(Path(state))
)
def report(progress):
    if mode == "die" and progress.done >= 500:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
if mode == "small disk":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
print("ready", flush=True)
sys.stdin.readline()
result = anyio.run(engine.index, (), report)
print(result.read, result.pending, len(result.problems))
"""


SEARCH = """
import sys, anyio, resource, signal
from pathlib import Path
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.search.query import SearchArguments
from drawthings_mcp.search.engine import SearchEngine
from drawthings_mcp.settings import Settings
output, pictures, state, _ = sys.argv[1:]
engine = SearchEngine(
    Settings(output_dir=output, search_dirs=(Path(pictures),), state_dir=state), ImageCatalog(Path(state))
)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (33_000, 33_000))  # room for what SQLite needs to read
print("ready", flush=True)
sys.stdin.readline()
result = anyio.run(engine.search, SearchArguments("herd"))
print(result.total, *[" ".join(row.id for row in result.hits), *result.notes], sep="|")
"""


def _write_many(desk: Desk, count: int) -> None:
    for number in range(count):
        Picture(f"herd gnu{number} number {number}").write(desk.pictures / f"{number % 7}" / f"{number:04}.png")


def _arguments(desk: Desk, mode: str) -> list[object]:
    return [desk.output, desk.pictures, desk.state, mode]


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()


async def _check_all(desk: Desk, count: int) -> None:
    """Every picture is found exactly once, and the index agrees with itself."""
    result = await desk.search("herd", limit=1)
    assert (result.total, result.pending) == (min(count, 1000), 0)
    for number in (0, count // 2, count - 1):
        (row,) = (await desk.search(f'"gnu{number} number {number}"')).hits
        assert row.place == str(desk.pictures / f"{number % 7}" / f"{number:04}.png")
    with sqlite3.connect(desk.state / INDEX_NAME) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("INSERT INTO postings (postings) VALUES ('integrity-check')")
        assert connection.execute("SELECT count(*), count(DISTINCT content) FROM pictures").fetchone() == (count, count)
        assert connection.execute("SELECT pictures FROM vocabulary WHERE word = 'herd'").fetchone() == (count,)
    connection.close()


async def test_an_index_that_was_killed_goes_on_where_it_was(desk: Desk, start_script: Start) -> None:
    _write_many(desk, 1200)
    process = start_script(INDEX, _arguments(desk, "die"))
    _go(process)
    assert process.wait(60) == -9
    half = await desk.engine(budget=0.0).search(SearchArguments("herd", limit=1))
    assert 500 <= half.total < 1200
    assert half.pending == 1200 - half.total or half.total == 1000
    await _check_all(desk, 1200)


async def test_two_processes_share_the_work(desk: Desk, start_script: Start) -> None:
    _write_many(desk, 1500)
    processes = [start_script(INDEX, _arguments(desk, "")) for _ in range(2)]
    for process in processes:
        _go(process)
    lines = []
    for process in processes:
        output, errors = await anyio.to_thread.run_sync(partial(process.communicate, timeout=60))
        assert process.returncode == 0, errors
        lines.append([int(part) for part in output.split()])
    assert all(pending == problems == 0 for _, pending, problems in lines)
    assert sum(read for read, _, _ in lines) == 1500
    await _check_all(desk, 1500)


async def test_a_full_disk_is_one_sentence_and_costs_nothing(desk: Desk, start_script: Start) -> None:
    _write_many(desk, 900)
    process = start_script(INDEX, _arguments(desk, "small disk"))
    _go(process)
    _, errors = await anyio.to_thread.run_sync(partial(process.communicate, timeout=60))
    assert process.returncode == 1
    assert "StorageError" in errors
    assert "free disk space" in errors
    before = await desk.engine(budget=0.0).search(SearchArguments("herd", limit=1))
    assert before.total < 900
    await _check_all(desk, 900)


async def test_a_disk_that_is_nearly_full_can_still_be_searched(desk: Desk, start_script: Start) -> None:
    _write_many(desk, 10)
    known = await desk.search("herd")
    for number in range(300):
        Picture(f"newcomer {number}").write(desk.pictures / f"new {number}.png")
    process = start_script(SEARCH, _arguments(desk, ""))
    _go(process)
    output, errors = await anyio.to_thread.run_sync(partial(process.communicate, timeout=60))
    assert process.returncode == 0, errors
    total, ids, note = output.strip().split("|")
    assert (int(total), ids.split()) == (10, [row.id for row in known.hits])
    assert "free disk space" in note
    assert (await desk.search("newcomer")).total == 300


@pytest.mark.parametrize("damage", ["beginning", "middle", "not a database"])
async def test_a_damaged_index_is_made_again(desk: Desk, damage: str) -> None:
    _write_many(desk, 60)
    await desk.search()
    data = bytearray(_take_index(desk).read_bytes())
    place = 4096 if damage == "middle" else 0
    data[place : place + 4096] = random.Random(1).randbytes(4096)
    (desk.state / INDEX_NAME).write_bytes(b"not a database" * 400 if damage == "not a database" else data)
    await desk.search()
    await _check_all(desk, 60)


@pytest.mark.parametrize("damage", ["beginning", "end", "not a database"])
async def test_a_damaged_tag_file_is_set_aside_and_search_goes_on(desk: Desk, damage: str) -> None:
    _write_many(desk, 60)
    engine = desk.engine()
    for number in range(60):
        place = desk.pictures / f"{number % 7}" / f"{number:04}.png"
        await engine.change_tags(str(place), add=[f"{word} {number}" for word in ("herd", "evening light", "keep")])
    path = desk.state / TAGS_NAME
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    assert len(data) > 4 * 4096
    if damage == "not a database":
        data = bytearray(b"not a database" * 400)
    else:
        start = 0 if damage == "beginning" else len(data) - 4096
        data[start : start + 4096] = random.Random(3).randbytes(4096)
    path.write_bytes(data)
    engine = desk.engine()
    kept = len(await engine.list_tags())
    page = await engine.search(SearchArguments("herd"))
    assert page.total == 60
    (note,) = page.notes
    assert re.search(r"tag file .* was damaged; \d+ tags could be read and are kept, others are lost", note)
    (aside,) = desk.state.glob(f"{TAGS_NAME}.damaged-*[0-9]")
    assert aside.read_bytes() == data
    assert str(aside) in note
    assert (0 < kept < 180) if damage == "end" else kept == 0
    assert (await desk.search("herd")).notes == ()  # said once
    first = str(desk.pictures / "0" / "0000.png")
    assert "again" in await desk.engine().change_tags(first, add=["again"])


async def test_tags_survive_a_damaged_index(desk: Desk) -> None:
    _write_many(desk, 60)
    await desk.engine().change_tags(str(desk.pictures / "0" / "0000.png"), add=["keep"])
    await desk.search()
    index = _take_index(desk)
    data = index.read_bytes()
    index.write_bytes(data[:8192] + random.Random(2).randbytes(len(data) - 8192))
    assert (await desk.search("herd")).total == 60
    assert await desk.names(tag="keep") == ["0000.png"]


async def test_the_index_of_a_newer_version_is_left_alone(desk: Desk) -> None:
    await desk.search()
    with sqlite3.connect(desk.state / INDEX_NAME) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(StorageError, match="Update"):
        await desk.search()


def _take_index(desk: Desk) -> Path:
    """The one file that holds everything while nobody uses it."""
    index = desk.state / INDEX_NAME
    with sqlite3.connect(index) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    for companion in ("-wal", "-shm"):
        index.with_name(INDEX_NAME + companion).unlink(missing_ok=True)
    return index


async def test_pictures_of_a_folder_that_vanished_are_back_when_it_is(desk: Desk, tmp_path: Path) -> None:
    Picture("a dodo").write(desk.output / "dodo.png")
    Picture("a dodo").write(desk.pictures / "dodo too.png")
    Picture("a moa").write(desk.pictures / "moa.png")
    ids = {row.metadata.prompt: row.id for row in (await desk.search()).hits}
    assert len(ids) == 2
    desk.pictures.rename(tmp_path / "unplugged")
    result = await desk.search()
    assert [row.metadata.prompt for row in result.hits] == ["a dodo"]
    assert any(str(desk.pictures) in note for note in result.notes)
    (tmp_path / "unplugged").rename(desk.pictures)
    assert {row.metadata.prompt: row.id for row in (await desk.search()).hits} == ids


async def test_nothing_to_search_is_an_empty_answer(desk: Desk) -> None:
    shutil.rmtree(desk.pictures)
    shutil.rmtree(desk.output)
    result = await desk.search("fox")
    assert (result.hits, result.total, result.pending) == ((), 0, 0)
    assert result.notes == (f"{desk.pictures} is not there; its pictures are left out until it is.",)


async def test_a_thousand_corrupt_files_are_reported_in_one_sentence_and_once(desk: Desk) -> None:
    dice = random.Random(5)
    whole = paint(desk.pictures / "whole.png", draw_scene(1, RED, 64), prompt="a whole gnu").read_bytes()
    for number in range(1000):
        data = bytearray(whole)
        kind = number % 5
        if kind == 0:
            data = data[: dice.randrange(8, 60)]
        elif kind == 1:
            data = bytearray(dice.randbytes(200))
        elif kind == 2:
            data = bytearray()
        elif kind == 3:
            data[8:16] = b"\\xff" * 8
        else:
            data[: dice.randrange(1, 8)] = b"\\0"
        (desk.pictures / f"corrupt {number}.{('png', 'jpg', 'webp', 'tif')[number % 4]}").write_bytes(data)
    first = await desk.search("gnu whole")
    assert [row.metadata.prompt for row in first.hits] == ["a whole gnu"]
    assert first.pending == 0
    assert len(first.notes) == 1
    assert "files cannot be read, the first:" in first.notes[0]
    assert (await desk.search("gnu")).notes == ()
    (desk.pictures / "corrupt 1.jpg").write_bytes(whole + b"fixed")
    assert (await desk.search("gnu", limit=25)).total == 2


async def test_a_file_of_four_gigabytes_is_passed_over(desk: Desk) -> None:
    for name in ("huge.png", "huge.jpg", "huge.tif"):
        whole = paint(desk.pictures / name, draw_scene(1, RED, 64))
        os.truncate(whole, 4 << 30)
    Picture("a gnu").write(desk.pictures / "gnu.png")
    engine = desk.engine()
    report = await engine.index()
    assert report.pending == 0
    assert await desk.names("gnu") == ["gnu.png"]
    assert await desk.names(like=draw_scene(1, RED, 64)) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
async def test_a_folder_that_may_not_be_listed_keeps_its_pictures(desk: Desk) -> None:
    Picture("a gnu").write(desk.pictures / "closed" / "gnu.png")
    await desk.search()
    (desk.pictures / "closed").chmod(0)
    try:
        result = await desk.search()
        assert "cannot be listed" in result.notes[0]
    finally:
        (desk.pictures / "closed").chmod(0o700)
    assert await desk.names("gnu") == ["gnu.png"]


async def test_a_state_folder_that_cannot_be_used_is_explained(desk: Desk) -> None:
    desk.state.write_text("a file")
    with pytest.raises(StorageError, match="DRAWTHINGS_STATE_DIR") as refused:
        await desk.search()
    assert "DRAWTHINGS_STATE_DIR" in refused.value.word(SHELL)
