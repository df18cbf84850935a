"""Finding pictures again: by content, place, origin, lineage, preview; and what came from outside."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drawthings_mcp.errors import InvalidImageError, MissingFileError
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.database import FILE_NAME
from drawthings_mcp.library.originals import keep_input, open_original
from drawthings_mcp.library.records import MediaKind, Parent

FACTS: dict[str, Any] = {"created": datetime(2026, 11, 20, tzinfo=UTC), "width": 8, "height": 6}


@pytest.fixture
def catalog(tmp_path: Path) -> ImageCatalog:
    return ImageCatalog(tmp_path / "state")


def _write(path: Path, data: bytes = b"picture") -> Path:
    path.write_bytes(data)
    return path


def test_the_same_bytes_are_the_same_picture_wherever_they_lie(catalog: ImageCatalog, tmp_path: Path) -> None:
    first, copy = _write(tmp_path / "1.png"), _write(tmp_path / "2.png")
    record = catalog.register_file("a", first, sha256="aa", size_bytes=7, origin=str(first), **FACTS)
    assert catalog.register_file("a", copy, sha256="aa", size_bytes=7, **FACTS) == record
    assert catalog.register_file("p", copy, sha256="aa", size_bytes=7, **FACTS).id == "p1"
    assert catalog.register_file("a", copy, sha256="bb", size_bytes=7, **FACTS).id == "a2"


@pytest.mark.parametrize("what", ["deleted", "replaced"])
def test_the_record_of_a_moved_picture_follows_it(catalog: ImageCatalog, tmp_path: Path, what: str) -> None:
    old, new = _write(tmp_path / "old.png"), _write(tmp_path / "new.png")
    catalog.register_file("a", old, sha256="aa", size_bytes=7, **FACTS)
    old.unlink() if what == "deleted" else old.write_bytes(b"another picture")
    assert catalog.register_file("a", new, sha256="aa", size_bytes=7, **FACTS).path == new
    assert catalog.get("a1").path == new


def test_paths_are_listed_without_those_in_some_folders(catalog: ImageCatalog, tmp_path: Path) -> None:
    names = ("home/1.png", "home/deep/2.png", "homeless/3.png", "desk/4.png", "home.png")
    paths = [tmp_path / name for name in names]
    for path in paths:
        catalog.add("v", path, **FACTS)
    assert catalog.list_paths() == set(paths)
    assert catalog.list_paths(("v",), outside=[tmp_path / "home"]) == set(paths[2:])
    assert catalog.list_paths(outside=[tmp_path / "home", tmp_path / "desk"]) == {paths[2], paths[4]}
    assert catalog.list_paths(("a",), outside=[tmp_path / "desk"]) == set()


def test_what_was_found_keeps_its_id_and_gets_its_file_later(catalog: ImageCatalog, tmp_path: Path) -> None:
    origin = "project:///projects/fox.sqlite3#12"
    found = catalog.register_found(origin, prompt="fox", seed=7, model="m.ckpt", **FACTS)
    assert (found.id, found.path, found.origin, found.prompt) == ("p1", None, origin, "fox")
    assert catalog.register_found(origin, prompt="changed", **FACTS) == found
    assert catalog.register_found("https://example.com/x.png", **FACTS).id == "p2"
    with pytest.raises(InvalidImageError, match="p1 has no picture file of its own yet, only its origin project://"):
        open_original(found)
    path = _write(tmp_path / "node.png")
    completed = catalog.register_found(origin, path=path, sha256="cc", size_bytes=7, format="PNG", **FACTS)
    assert (completed.id, completed.path, completed.sha256, completed.prompt) == ("p1", path, "cc", "fox")
    assert catalog.find_by_origin(origin) == completed
    assert catalog.find_by_origin("project:///other") is None


def test_a_picture_is_found_by_its_place_its_name_and_its_bytes(catalog: ImageCatalog, tmp_path: Path) -> None:
    older = catalog.add("v", tmp_path / "a" / "fox.png", sha256="11", **FACTS)
    newer = catalog.add("v", tmp_path / "b" / "fox.png", sha256="22", **FACTS)
    brought = catalog.add("a", tmp_path / "copy.png", sha256="22", **FACTS)
    assert catalog.find_by_path(tmp_path / "a" / "fox.png") == older
    assert catalog.find_by_name("fox.png") == newer
    assert catalog.find_by_name("ox.png") is None
    assert catalog.find_by_name("%") is None
    assert catalog.find_by_hash("22") == newer != brought
    assert catalog.find_by_hash("") is None
    assert catalog.find_by_path(tmp_path / "fox.png") is None


def test_pictures_are_listed_newest_first(catalog: ImageCatalog) -> None:
    kinds: list[MediaKind] = ["v", "a", "v", "p", "i"]
    for kind in kinds:
        catalog.add(kind, Path("/x"), **FACTS)
    assert [record.id for record in catalog.list_images()] == ["i1", "p1", "v2", "a1", "v1"]
    assert [record.id for record in catalog.list_images(("v", "a"), limit=2)] == ["v2", "a1"]
    assert catalog.list_images(()) == []


def test_the_parents_of_a_picture_are_known_in_order(catalog: ImageCatalog) -> None:
    catalog.add("a", Path("/x"), **FACTS)
    catalog.add("v", Path("/x"), parents=[Parent("canvas", "a1"), Parent("mask", "a1")], **FACTS)
    catalog.add("i", Path("/x"), parents=[Parent("source", "v1")], **FACTS)
    catalog.add("v", Path("/x"), parents=[Parent("moodboard", "a1"), Parent("canvas", "v1")], **FACTS)
    parents = {record.id: record.parents for record in catalog.list_images()}
    assert parents == {
        "a1": (),
        "v1": (Parent("canvas", "a1"), Parent("mask", "a1")),
        "i1": (Parent("source", "v1"),),
        "v2": (Parent("moodboard", "a1"), Parent("canvas", "v1")),
    }


def test_a_preview_leads_to_its_original(catalog: ImageCatalog) -> None:
    record = catalog.add("v", Path("/x"), **FACTS)
    catalog.record_preview("dd", "v1")
    catalog.record_preview("dd", "v1")
    assert catalog.find_by_preview("dd") == record
    assert catalog.find_by_preview("ee") is None


def test_a_vision_check_is_remembered_by_client(catalog: ImageCatalog) -> None:
    assert catalog.find_vision("LM Studio 0.4.9") is None
    catalog.record_vision("LM Studio 0.4.9", False)
    assert catalog.find_vision("LM Studio 0.4.9") is False
    catalog.record_vision("LM Studio 0.4.9", True)
    assert catalog.find_vision("LM Studio 0.4.9") is True
    assert catalog.find_vision("LM Studio 0.5.0") is None


def test_a_reserved_id_is_used_once_and_an_unused_one_never_again(catalog: ImageCatalog, tmp_path: Path) -> None:
    assert [catalog.reserve("v", tmp_path), catalog.reserve("v", tmp_path)] == ["v1", "v2"]
    assert catalog.add("v", tmp_path / "2.png", reserved="v2", **FACTS).id == "v2"
    assert catalog.list_reservations() == {"v1": tmp_path}
    catalog.drop_reservations(datetime(9999, 1, 1, tzinfo=UTC))
    assert catalog.list_reservations() == {}
    assert catalog.add("v", tmp_path / "3.png", **FACTS).id == "v3"


def test_a_deleted_original_says_how_to_make_it_again(catalog: ImageCatalog, tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    catalog.add("v", path, prompt="a red fox", seed=42, model="m.ckpt", **FACTS)
    catalog.add("a", path, **FACTS)
    with pytest.raises(MissingFileError) as generated:
        open_original(catalog.get("v1"))
    assert str(generated.value) == (
        f"The file of v1 is gone: {path} was moved or deleted; put it back, or generate it again with model m.ckpt, "
        "seed 42, size 8x6 and the prompt 'a red fox'."
    )
    with pytest.raises(MissingFileError, match="put it back, or give the path where it is now"):
        open_original(catalog.get("a1"))


def test_bytes_are_kept_once_under_their_hash(tmp_path: Path) -> None:
    first = keep_input(tmp_path, b"picture", "JPEG")
    written = first.stat().st_mtime_ns
    assert keep_input(tmp_path, b"picture", "JPEG") == first
    assert first.stat().st_mtime_ns == written
    assert first.parent == tmp_path / "inputs" / first.stem[:2]
    assert (len(first.stem), first.suffix) == (64, ".jpg")
    first.write_bytes(b"pict")
    assert keep_input(tmp_path, b"picture", "JPEG").read_bytes() == b"picture"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [first]


FIRST_FORM = """
    CREATE TABLE numbers (kind TEXT PRIMARY KEY, last INTEGER NOT NULL);
    CREATE TABLE images (
        kind TEXT NOT NULL, number INTEGER NOT NULL, path TEXT NOT NULL, created TEXT NOT NULL, prompt TEXT NOT NULL,
        negative_prompt TEXT NOT NULL, seed INTEGER, model TEXT NOT NULL, width INTEGER NOT NULL,
        height INTEGER NOT NULL, server TEXT NOT NULL, simulated INTEGER NOT NULL, PRIMARY KEY (kind, number)
    );
    INSERT INTO numbers VALUES ('v', 9);
    INSERT INTO images VALUES ('v', 8, '/fox.png', '2026-11-20T08:30:00+00:00', 'fox', '', 5, 'm.ckpt', 8, 6, 's:1', 0);
    PRAGMA user_version = 1;
"""


def test_a_catalog_of_the_first_form_is_brought_up_to_date(catalog: ImageCatalog, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    connection = sqlite3.connect(tmp_path / "state" / FILE_NAME)
    connection.executescript(FIRST_FORM)
    connection.close()
    old = catalog.get("v8")
    assert (old.path, old.seed, old.sha256, old.configuration, old.parents) == (Path("/fox.png"), 5, "", {}, ())
    assert catalog.add("v", Path("/new.png"), **FACTS).id == "v10"
