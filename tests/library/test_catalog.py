"""The catalog: ids that are never given twice, and a database that is never thrown away."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from drawthings_mcp.errors import StorageError, UnknownNameError
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.database import FILE_NAME
from drawthings_mcp.library.records import ImageRecord, MediaKind, Parent

CREATED = datetime(2026, 11, 20, 9, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.fixture
def catalog(tmp_path: Path) -> ImageCatalog:
    return ImageCatalog(tmp_path / "state")


def _add(catalog: ImageCatalog, kind: MediaKind = "v") -> str:
    return catalog.add(kind, Path("/pictures/fox.png"), created=CREATED, width=8, height=6).id


def test_a_record_is_kept_whole(catalog: ImageCatalog, tmp_path: Path) -> None:
    path, parents = (
        Path("/pictures/狐.png"),
        [Parent("canvas", "a1"), Parent("moodboard", "v9"), Parent("moodboard", "a1")],
    )
    fields: dict[str, Any] = {
        "prompt": "a 'red' fox; DROP TABLE images\n🦊",
        "negative_prompt": "blurry",
        "seed": 2**32 - 1,
        "model": "m.ckpt",
        "width": 1024,
        "height": 768,
        "server": "mac:7859",
        "simulated": True,
        "sha256": "ab" * 32,
        "size_bytes": 123456,
        "format": "PNG",
        "configuration": {"steps": 8, "loras": [{"file": "x.ckpt", "weight": 0.6}]},
        "job": "j1",
    }
    record = catalog.add("v", path, created=CREATED, parents=parents, **fields)
    moment = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    assert record == ImageRecord(id="v1", path=path, created=moment, parents=tuple(parents), **fields)
    assert record.kind == "v"
    assert ImageCatalog(tmp_path / "state").get("v1") == record


def test_each_kind_is_numbered_from_one(catalog: ImageCatalog) -> None:
    kinds: list[MediaKind] = ["v", "a", "v", "p", "i", "v"]
    assert [_add(catalog, kind) for kind in kinds] == ["v1", "a1", "v2", "p1", "i1", "v3"]


def test_an_id_is_found_in_any_case(catalog: ImageCatalog) -> None:
    _add(catalog)
    assert catalog.get(" V1 ").id == "v1"


def test_the_latest_is_the_one_added_last(catalog: ImageCatalog) -> None:
    assert catalog.find_latest() is None
    for _ in range(11):
        _add(catalog)
    _add(catalog, "a")
    latest = catalog.find_latest()
    assert latest is not None
    assert latest.id == "v11"
    assert catalog.find_latest("p") is None


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [("v8", ("v6", "v5", "v4")), ("V99", ("v6", "v5", "v4")), ("a7", ("a1",)), ("p1", ()), ("", ("a1", "v6", "v5"))],
)
def test_an_unknown_id_is_answered_with_the_nearest(
    catalog: ImageCatalog, wanted: str, nearest: tuple[str, ...]
) -> None:
    for _ in range(6):
        _add(catalog)
    _add(catalog, "a")
    with pytest.raises(UnknownNameError) as caught:
        catalog.get(wanted)
    assert caught.value.nearest == nearest
    assert caught.value.name == wanted
    assert all(name in str(caught.value) for name in nearest)


@pytest.mark.parametrize("wanted", ["v0", "v01", "v-1", "x1", "v1.5", "v" + "9" * 30, "v１", "1", "latest", "v1; --"])
def test_what_is_no_id_is_unknown(catalog: ImageCatalog, wanted: str) -> None:
    _add(catalog)
    with pytest.raises(UnknownNameError):
        catalog.get(wanted)


def test_an_id_is_not_given_again_after_its_picture_was_removed(catalog: ImageCatalog, tmp_path: Path) -> None:
    assert [_add(catalog), _add(catalog)] == ["v1", "v2"]
    with sqlite3.connect(tmp_path / "state" / FILE_NAME) as connection:
        connection.execute("DELETE FROM images")
    connection.close()
    assert _add(catalog) == "v3"


def test_half_a_surrogate_pair_can_be_recorded(catalog: ImageCatalog) -> None:
    record = catalog.add("v", Path("/x"), created=CREATED, width=1, height=1, prompt="a\ud83eb")
    assert catalog.get(record.id).prompt == "a?b"


ADD_MANY = """
from datetime import UTC, datetime
from pathlib import Path
from drawthings_mcp.library.catalog import ImageCatalog
print("ready", flush=True)
sys.stdin.readline()
for _ in range(100):
    print(ImageCatalog(Path(folder)).add("v", Path("/x"), created=datetime.now(UTC), width=1, height=1).id)
"""


def test_two_processes_number_without_gap_or_repetition(
    run_twice: Callable[[str, Path], list[str]], tmp_path: Path
) -> None:
    ids = run_twice(ADD_MANY, tmp_path / "state")
    assert sorted(ids, key=lambda name: int(name[1:])) == [f"v{number}" for number in range(1, 201)]


def test_threads_may_share_a_catalog_from_its_first_use(catalog: ImageCatalog) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: _add(catalog), range(40)))
    assert sorted(ids, key=lambda name: int(name[1:])) == [f"v{number}" for number in range(1, 41)]


def _damage(path: Path, offset: int) -> bytes:
    for companion in path.parent.glob(f"{FILE_NAME}-*"):
        companion.unlink()
    data = bytearray(path.read_bytes())
    data[offset : offset + 200] = b"\xa5" * 200
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("offset", [0, 4096 + 8])
def test_a_damaged_database_is_explained_and_kept(catalog: ImageCatalog, tmp_path: Path, offset: int) -> None:
    for _ in range(5):
        _add(catalog)
    path = tmp_path / "state" / FILE_NAME
    damaged = _damage(path, offset)
    with pytest.raises(StorageError, match="Restart drawthings-mcp") as caught:
        _add(catalog)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == damaged


def test_an_interrupted_add_leaves_no_trace(catalog: ImageCatalog) -> None:
    _add(catalog)
    with pytest.raises(sqlite3.ProgrammingError):
        catalog.add("v", Path("/x"), created=CREATED, width=object(), height=1)  # type: ignore[arg-type]
    assert _add(catalog) == "v2"


def test_the_database_of_a_newer_version_is_left_alone(catalog: ImageCatalog, tmp_path: Path) -> None:
    _add(catalog)
    path = tmp_path / "state" / FILE_NAME
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="Update drawthings-mcp"):
        catalog.get("v1")
    assert path.read_bytes() == before


def test_a_file_in_the_place_of_the_state_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="DRAWTHINGS_STATE_DIR"):
        _add(ImageCatalog(tmp_path / "file"))


def test_a_folder_in_the_place_of_the_database_is_explained(catalog: ImageCatalog, tmp_path: Path) -> None:
    (tmp_path / "state" / FILE_NAME).mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be used"):
        _add(catalog)
