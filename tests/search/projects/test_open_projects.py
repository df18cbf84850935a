"""Projects that the app has open, left behind or locked: the newest state is read, and nothing next to them changes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from drawthings_mcp.errors import StorageError
from drawthings_mcp.search.projects.project_file import ProjectFile
from tests.search.projects.builder import Builder
from tests.search.projects.conftest import StartWriter

Snapshot = dict[str, tuple[bytes, int]]


def _look(folder: Path) -> Snapshot:
    """Every file of a folder, with its content and the time of its last change."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir())}


def _list(path: Path) -> list[str]:
    """The prompts of a project, after which nothing next to it has changed."""
    before = _look(path.parent)
    with ProjectFile(path, timeout=0.1) as file:
        prompts = [entry.metadata.prompt for entry in file.list_entries()]
    assert _look(path.parent) == before
    return prompts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    return tmp_path / "app" / "project.sqlite3"


def test_what_the_app_has_just_written_is_seen(path: Path, start_writer: StartWriter) -> None:
    order = start_writer(path)
    assert _list(path) == []
    for time in range(3):
        order(f"add {time}")
        assert _list(path) == [f"picture {number}" for number in range(time + 1)]


def test_an_open_project_goes_on_showing_what_the_app_writes(path: Path, start_writer: StartWriter) -> None:
    order = start_writer(path)
    with ProjectFile(path) as file:
        for time in range(6):
            order(f"add {time}")
            order("checkpoint")
            assert [entry.metadata.prompt for entry in file.list_entries(since=time)] == [f"picture {time}"]


def test_the_app_can_write_and_tidy_up_while_a_listing_is_half_read(path: Path, start_writer: StartWriter) -> None:
    order = start_writer(path)
    for time in range(4):
        order(f"add {time}")
    with ProjectFile(path) as file:
        entries = file.list_entries()
        assert next(entries).metadata.prompt == "picture 0"
        order("checkpoint")
        order("add 4")
        order("checkpoint")
        assert [entry.metadata.prompt for entry in entries][:3] == ["picture 1", "picture 2", "picture 3"]


def test_a_project_that_was_closed_is_one_file_and_stays_so(path: Path) -> None:
    builder = Builder(path)
    builder.add_node()
    builder.close()
    assert list(_look(path.parent)) == [path.name]
    assert _list(path) == ["picture 0"]


def test_a_closed_project_that_the_app_opens_again_shows_what_is_new(path: Path, start_writer: StartWriter) -> None:
    builder = Builder(path)
    builder.add_node()
    builder.close()
    with ProjectFile(path) as file:
        assert len(list(file.list_entries())) == 1
        order = start_writer(path)
        order("add 1")
        assert len(list(file.list_entries())) == 2


def test_what_a_dead_app_left_behind_is_seen(path: Path, start_writer: StartWriter) -> None:
    order = start_writer(path)
    order("add 0")
    order("die")
    assert len(_look(path.parent)) == 3
    assert _list(path) == ["picture 0"]


def test_a_log_without_its_shared_memory_is_seen(
    path: Path, start_writer: StartWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = start_writer(path)
    order("add 0")
    (tmp_path / "copy").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", tmp_path / "copy")
    assert _list(tmp_path / "copy" / path.name) == ["picture 0"]
    assert list((tmp_path / "temporary").iterdir()) == []
    assert (tmp_path / "copy" / path.name).stat().st_nlink == 1


def test_an_empty_log_does_not_matter(path: Path) -> None:
    builder = Builder(path)
    builder.add_node()
    builder.close()
    Path(f"{path}-wal").touch()
    assert _list(path) == ["picture 0"]


def test_a_project_in_a_folder_that_cannot_be_written_is_read(path: Path, start_writer: StartWriter) -> None:
    start_writer(path)("add 0")
    path.parent.chmod(0o500)
    try:
        assert _list(path) == ["picture 0"]
    finally:
        path.parent.chmod(0o700)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_locked_project_is_one_sentence(path: Path, start_writer: StartWriter, journal: str) -> None:
    order = start_writer(path, journal)
    order("add 0")
    order("lock")
    with pytest.raises(StorageError, match="locked by another program; try again"):
        _list(path)


def test_a_project_of_another_journal_is_read(path: Path) -> None:
    builder = Builder(path, "delete")
    builder.add_node()
    assert _list(path) == ["picture 0"]
    builder.close()
