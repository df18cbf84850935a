"""What stands in the state folder is for its owner alone, and nothing half written stays."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from drawthings_mcp import private
from drawthings_mcp.client.certificate import PinStore
from drawthings_mcp.databases import hold_lock
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import keep_input, save_made
from drawthings_mcp.library.recovery import MADE_FOLDER, open_catalog
from drawthings_mcp.search.database import open_index, open_tags
from drawthings_mcp.search.tags import remember_folders

PIXELS = np.zeros((8, 8, 3), np.uint8)
DAY = 86_400


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where it will be."""
    return tmp_path / "data" / "state"


def read_modes(folder: Path) -> dict[str, int]:
    """The modes of a folder and of all in it, by their paths below it."""
    paths = [folder, *folder.rglob("*")]
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in paths}


def use_everything(state: Path) -> None:
    """Have every kind of file written."""
    opened = open_catalog(state)
    image_id = opened.catalog.reserve("i", state / MADE_FOLDER)
    made = save_made(PIXELS, state / MADE_FOLDER, f"{image_id}_crop", extra={"id": image_id})
    opened.catalog.add(
        "i", made.path, reserved=image_id, sha256=made.sha256, created=datetime.now(UTC), width=8, height=8
    )
    keep_input(state, b"picture", "PNG")
    PinStore(state).check("localhost:7859", "0" * 64)
    remember_folders(open_tags(state), [Path("/pictures")])
    with hold_lock(state / "catalog.lock", exclusive=False), open_index(state).open() as connection:
        connection.execute("CREATE TABLE something (a)")
        assert (state / "search.sqlite3-wal").exists()
        assert not {mode for name, mode in read_modes(state).items() if mode & 0o077}, read_modes(state)


def test_all_that_is_written_is_for_the_owner(state: Path) -> None:
    use_everything(state)
    modes = read_modes(state)
    assert {"catalog.sqlite3", "catalog.jsonl", "pins.json", "tags.sqlite3", "made/i1_crop.png"} <= modes.keys()
    for name, mode in modes.items():
        assert mode == (0o700 if (state / name).is_dir() else 0o600), name
    # Folders above it are nobody's business.
    assert stat.S_IMODE(state.parent.stat().st_mode) == 0o755


def open_up(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an older version left it, for a process that has just begun."""
    for path in [state, *state.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    monkeypatch.setattr(private, "_prepared", set())


def test_what_an_older_version_left_open_is_closed_at_the_first_use(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_everything(state)
    (state / "presets").mkdir()
    open_up(state, monkeypatch)
    ImageCatalog(state).list_images()
    open_ones = {name for name, mode in read_modes(state).items() if mode & 0o077}
    assert open_ones == {"presets"}  # the user's own, in a folder that is closed


def test_pins_alone_close_it_as_well(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_everything(state)
    open_up(state, monkeypatch)
    PinStore(state).check("localhost:7859", "0" * 64)
    assert not {name for name, mode in read_modes(state).items() if mode & 0o077}


def test_in_a_folder_that_others_share_only_what_is_ours_is_closed(
    state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_everything(state)
    (state / "letter.txt").write_text("mine")
    (state / "inputs" / "holiday.jpg").write_text("mine")
    (state / "made" / "shared.png").symlink_to(tmp_path)
    (state / "unsaved").mkdir()
    (state / "unsaved" / "novel.txt").write_text("mine")
    open_up(state, monkeypatch)
    before = stat.S_IMODE(tmp_path.stat().st_mode)
    ImageCatalog(state).list_images()
    modes = read_modes(state)
    left_alone = {".", "letter.txt", "inputs", "inputs/holiday.jpg", "made", "unsaved", "unsaved/novel.txt"}
    assert {name for name, mode in modes.items() if mode & 0o077} == {*left_alone, "made/shared.png"}
    assert modes["."] == 0o755
    assert stat.S_IMODE(tmp_path.stat().st_mode) == before


def make_part(folder: Path, name: str, age: float) -> Path:
    """A file of some age."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"half")
    when = time.time() - age
    os.utime(path, (when, when))
    return path


def test_files_of_ours_that_were_never_finished_are_removed_at_the_start(state: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    ours = ".0123456789abcdef.part"
    places = [output, state, state / "made", state / "unsaved", state / "inputs" / "ab"]
    old = [make_part(place, ours, 2 * DAY) for place in places]
    kept = [
        make_part(output, ".fedcba9876543210.part", DAY / 2),
        make_part(output, "film.mkv.part", 9 * DAY),
        make_part(output, ".0123456789abcdeg.part", 9 * DAY),
        make_part(output, "0123456789abcdef.part", 9 * DAY),
        make_part(output / "sub" / ours, "other.txt", 9 * DAY),
    ]
    (output / ".aaaaaaaaaaaaaaaa.part").symlink_to(kept[1])
    open_catalog(state, [output])
    assert [path for path in old if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []
    assert (output / ".aaaaaaaaaaaaaaaa.part").is_symlink()


def test_a_database_that_is_open_keeps_its_locks_when_it_is_opened_once_more(state: Path) -> None:
    index = open_index(state)
    log = state / "search.sqlite3-wal"
    with index.open() as connection:
        connection.execute("CREATE TABLE something (a)")
        with index.open():
            pass
        # The last process that closes a database removes its log; this one still uses it.
        other = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM something').close()"
        subprocess.run([sys.executable, "-c", other, str(index.path)], check=True, timeout=60)
        assert log.exists()
        assert connection.execute("SELECT count(*) FROM something").fetchone()[0] == 0
