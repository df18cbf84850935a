"""A catalog that was lost or damaged comes back from the journal and the pictures, with the ids as they were."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from drawthings_mcp.errors import StorageError, UnknownNameError
from drawthings_mcp.generation import ResultImage
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.database import FILE_NAME
from drawthings_mcp.library.originals import SavedFile, save_image, save_made
from drawthings_mcp.library.records import JOURNAL_NAME, ImageRecord, Parent
from drawthings_mcp.library.recovery import open_catalog, reconcile

CREATED = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
Save = Callable[..., SavedFile]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def save(image: ResultImage, output: Path) -> Save:
    """Saves a picture as the studio does, with the id that it will have."""

    def write(image_id: str = "", seed: int = 42, **extra: Any) -> SavedFile:
        picture = replace(image, configuration=image.configuration.replace(seed=seed))
        own = {"id": image_id} if image_id else {}
        return save_image(picture, output, "fox", extra={**own, "mode": "text2image", **extra})

    return write


@pytest.fixture
def add(state: Path, output: Path, save: Save, image: ResultImage) -> Callable[..., ImageRecord]:
    """Saves and records a picture as the studio does."""

    def write(seed: int, parents: tuple[Parent, ...] = ()) -> ImageRecord:
        catalog = ImageCatalog(state)
        image_id = catalog.reserve("v", output)
        saved = save(image_id, seed, job="j", parents=parents)
        return catalog.add(
            "v",
            saved.path,
            reserved=image_id,
            created=CREATED + timedelta(seconds=seed),
            prompt="a red fox",
            negative_prompt="blurry",
            seed=seed,
            model=image.configuration.model,
            width=16,
            height=16,
            sha256=saved.sha256,
            size_bytes=saved.size_bytes,
            format="PNG",
            configuration=image.configuration.replace(seed=seed).to_app_json(),
            job="j",
            parents=parents,
        )

    return write


def damage(state: Path) -> None:
    (state / FILE_NAME).write_bytes(b"\xa5" * 5000)


def lose(state: Path) -> None:
    (state / FILE_NAME).unlink()


@pytest.mark.parametrize("ruin", [damage, lose])
def test_everything_comes_back_from_journal_and_files(
    add: Callable[..., ImageRecord], state: Path, output: Path, tmp_path: Path, ruin: Callable[[Path], None]
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"photo")
    catalog = ImageCatalog(state)
    catalog.register_file("a", photo, sha256="aa", size_bytes=5, origin=str(photo), created=CREATED, width=8, height=6)
    catalog.register_found("project:///x", created=CREATED, width=1, height=1, prompt="\ud83e")
    for seed in range(1, 6):
        add(seed, (Parent("canvas", "a1"),))
    before = {record.id: record for record in catalog.list_images()}
    path = before["v2"].path
    assert path is not None
    path.unlink()
    ruin(state)
    opened = open_catalog(state, [output])
    after = {record.id: record for record in opened.catalog.list_images()}
    # What only the file knew is lost with it; that there was such a picture is not.
    assert after == before | {"v2": replace(before["v2"], configuration={})}
    assert "rebuilt with 7 pictures" in opened.notes[0]
    assert add(6).id == "v6"
    assert opened.catalog.get("v1").parents == (Parent("canvas", "a1"),)
    assert open_catalog(state, [output]).notes == ()


def test_a_damaged_database_is_set_aside_as_it_is(add: Callable[..., ImageRecord], state: Path, output: Path) -> None:
    add(1)
    damage(state)
    (note,) = open_catalog(state, [output]).notes
    (aside,) = state.glob(f"{FILE_NAME}.damaged-*[0-9]")
    assert aside.read_bytes() == b"\xa5" * 5000
    assert str(aside) in note


def test_the_log_of_a_lost_database_is_not_taken_for_that_of_the_new_one(
    add: Callable[..., ImageRecord], state: Path, output: Path
) -> None:
    add(1)
    lose(state)
    (state / f"{FILE_NAME}-wal").write_bytes(b"old")
    assert open_catalog(state, [output]).catalog.check() == 1
    (aside,) = state.glob(f"{FILE_NAME}.damaged-*")
    assert aside.read_bytes() == b"old"


def test_without_a_journal_the_files_keep_their_ids(
    add: Callable[..., ImageRecord], save: Save, state: Path, output: Path
) -> None:
    without_id = save(seed=77)
    for seed in range(1, 4):
        add(seed, (Parent("canvas", "a1"), Parent("mask", "i4")))
    before = {record.id: record for record in ImageCatalog(state).list_images()}
    sorted_into = output / "best"
    sorted_into.mkdir()
    moved = before["v3"].path
    assert moved is not None
    moved.rename(sorted_into / "mine.png")
    shutil.rmtree(state)
    after = {record.id: record for record in open_catalog(state, [output]).catalog.list_images()}
    assert after.keys() == {"v1", "v2", "v3", "v4"}
    assert after["v3"].path == sorted_into / "mine.png"
    assert after["v4"].path == without_id.path
    for name in ("v1", "v2"):
        assert replace(after[name], created=CREATED) == replace(before[name], created=CREATED)


def test_only_our_pictures_are_picked_up(image: ResultImage, save: Save, state: Path, output: Path) -> None:
    save("v5")
    save_image(image, output, "of-the-library")
    Image.new("RGB", (4, 4)).save(output / "foreign.png")
    (output / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (output / "folder.png").mkdir()
    (output / "nowhere.png").symlink_to("nothing")
    assert [record.id for record in open_catalog(state, [output]).catalog.list_images()] == ["v5"]


def test_two_files_never_get_the_same_id(save: Save, state: Path, output: Path) -> None:
    first = save("v3", seed=1)
    second = save("v3", seed=2)
    shutil.copy(first.path, output / "copy.png")
    save("v9999999999999999", seed=3)
    records = open_catalog(state, [output]).catalog.list_images()
    assert {record.id for record in records} == {"v3", "v4", "v5"}
    assert len({record.path for record in records}) == 3
    assert second.path in {record.path for record in records}


def test_a_made_picture_comes_back_too(image: ResultImage, state: Path) -> None:
    saved = save_made(image.pixels, state / "made", "crop", extra={"id": "i2", "parents": [Parent("source", "v1")]})
    (record,) = open_catalog(state).catalog.list_images()
    assert (record.id, record.path, record.parents) == ("i2", saved.path, (Parent("source", "v1"),))
    assert (record.width, record.height, record.seed, record.prompt) == (16, 16, None, "")
    assert record.sha256 == saved.sha256


def test_a_file_whose_row_is_missing_gets_it_at_the_next_start(save: Save, state: Path, output: Path) -> None:
    catalog = ImageCatalog(state)
    saved = save(catalog.reserve("v", output))
    catalog.reserve("v", output)
    (record,) = open_catalog(state, [output]).catalog.list_images()
    assert (record.id, record.path, record.prompt, record.seed) == ("v1", saved.path, "a red fox", 42)
    assert reconcile(catalog) == []
    assert catalog.reserve("v", output) == "v3"


def test_a_row_made_by_another_process_gives_way_to_that_of_the_maker(save: Save, state: Path, output: Path) -> None:
    catalog = ImageCatalog(state)
    saved = save(catalog.reserve("v", output))
    assert [record.id for record in reconcile(catalog)] == ["v1"]
    catalog.add("v", saved.path, reserved="v1", created=CREATED, width=16, height=16, server="mac:1")
    (record,) = catalog.list_images()
    assert (record.id, record.server) == ("v1", "mac:1")


def test_a_claimed_id_is_believed_of_reserved_ones_only(save: Save, state: Path, output: Path) -> None:
    catalog = ImageCatalog(state)
    catalog.reserve("v", output)
    save("v700")
    (record,) = reconcile(catalog)
    assert record.id == "v2"


def test_lines_of_the_journal_that_cannot_be_read_are_passed_over(
    add: Callable[..., ImageRecord], state: Path, output: Path
) -> None:
    for seed in (1, 2, 3):
        add(seed)
    journal = state / JOURNAL_NAME
    lines = journal.read_bytes().split(b"\n")
    lines[2] = lines[2][:40]
    lines += [b"[1]", b'{"id": "x1"}', b"\xff\xfe", b"null", b'{"id":']
    journal.write_bytes(b"\n".join(lines))
    add(4)
    lose(state)
    assert [record.id for record in open_catalog(state).catalog.list_images()] == ["v4", "v3", "v1"]


def test_an_empty_start_makes_an_empty_catalog(state: Path, output: Path) -> None:
    opened = open_catalog(state, [output])
    assert opened.notes == ()
    assert opened.catalog.list_images() == []
    assert not output.exists()
    with pytest.raises(UnknownNameError):
        opened.catalog.get("v1")


def test_a_state_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="DRAWTHINGS_STATE_DIR"):
        open_catalog(tmp_path / "file")


OPEN_AND_ADD = """
from datetime import UTC, datetime
from pathlib import Path
from drawthings_mcp.library.recovery import open_catalog
print("ready", flush=True)
sys.stdin.readline()
catalog = open_catalog(Path(folder)).catalog
for _ in range(20):
    print(catalog.add("v", Path("/x"), created=datetime.now(UTC), width=1, height=1).id)
"""


def test_processes_that_find_the_damage_at_once_agree_on_one_catalog(
    add: Callable[..., ImageRecord], run_twice: Callable[[str, Path], list[str]], state: Path
) -> None:
    for seed in range(1, 4):
        add(seed)
    damage(state)
    ids = run_twice(OPEN_AND_ADD, state)
    assert sorted(ids, key=lambda name: int(name[1:])) == [f"v{number}" for number in range(4, 44)]
    assert ImageCatalog(state).check() == 43
    assert len(list(state.glob(f"{FILE_NAME}.damaged-*[0-9]"))) == 1
