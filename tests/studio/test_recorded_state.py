"""Pictures, tags and ids of a state folder that version 0.1.0 left."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drawthings_mcp.params import GenerateParams
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.studio.transform import TransformParams

pytestmark = pytest.mark.anyio

GOLDEN = Path(__file__).parents[1] / "golden"
SHOWN = np.arange(4 * 3 * 3, dtype=np.uint8).reshape(3, 4, 3)


@pytest.fixture
def old_folder(tmp_path: Path) -> Path:
    """The folder; one of its two pictures was deleted since."""
    (tmp_path / "state").mkdir()
    (tmp_path / "pictures").mkdir()
    shutil.copy(GOLDEN / "metadata" / "written.png", tmp_path / "pictures")
    preview = hashlib.sha256(b"3x4x3" + SHOWN.tobytes()).hexdigest()
    for source in (GOLDEN / "state").iterdir():
        text = source.read_text(encoding="utf-8").replace("$folder", str(tmp_path)).replace("$preview", preview)
        target = tmp_path / "state" / source.name
        if source.suffix == ".sql":
            connection = sqlite3.connect(target.with_suffix(".sqlite3"))
            connection.executescript(f"BEGIN; {text} COMMIT; PRAGMA journal_mode = WAL;")
            connection.close()
        else:
            target.write_text(text, encoding="utf-8")
    return tmp_path


async def test_old_pictures_keep_their_ids_and_what_they_were_made_from(old_folder: Path, studio_at: Any) -> None:
    async with studio_at("demo") as studio:
        found = await studio.gallery.find(["v1", str(old_folder / "pictures" / "written.png")])
        catalog = await studio.gallery.open_catalog()
    (fox,) = found.pictures
    assert (fox.id, fox.seed, fox.size, fox.server) == ("v1", 1234567890, (8, 6), "mac.local:7859")
    drawing = catalog.get("v2")
    assert [(parent.role, parent.id) for parent in drawing.parents] == [("canvas", "a1"), ("moodboard", "v1")]
    assert drawing.configuration["sampler"] == 17
    assert catalog.find_latest() == drawing
    assert catalog.find_vision("Claude 1.0") is True


async def test_a_preview_that_was_shown_then_leads_to_its_picture(old_folder: Path, studio_at: Any) -> None:
    Image.fromarray(SHOWN).save(old_folder / "pictures" / "kept by the client.png")
    async with studio_at("demo") as studio:
        found = await studio.gallery.find([str(old_folder / "pictures" / "kept by the client.png")])
    assert [picture.id for picture in found.pictures] == ["v1"]


@pytest.mark.parametrize("wanted", [{"query": "Fuchs"}, {"query": "schnee", "tag": "hero shot"}, {"model": "z image"}])
async def test_old_pictures_are_found_by_words_and_tags(
    old_folder: Path, studio_at: Any, wanted: dict[str, str]
) -> None:
    async with studio_at("demo") as studio:
        page = await studio.finder.search(**wanted)
        tags = await studio.finder.list_tags()
    assert [hit.id for hit in page.hits] == ["v1"]
    assert tags == {"Hero shot": 1}


async def test_new_ids_follow_the_last_that_was_given(old_folder: Path, studio_at: Any) -> None:
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        made = await studio.generate(GenerateParams(prompt="a fox", width=128, height=128, canvas="v1"))
        cut = await studio.gallery.transform(TransformParams(operation="crop", images=("v1",), boxes=((0, 0, 4, 4),)))
    assert [image.id for image in made.variants] == ["v4"]  # v3 was deleted
    assert cut.picture.id == "i1"


async def test_a_catalog_that_was_lost_is_rebuilt_from_the_old_journal(old_folder: Path, studio_at: Any) -> None:
    before = {path.name for path in (old_folder / "state").iterdir()}
    (old_folder / "state" / "catalog.sqlite3").unlink()
    async with studio_at("demo") as studio:
        opened = await studio.gallery.open()
    assert [record.id for record in opened.catalog.list_images()] == ["v2", "a1", "v1"]
    assert opened.catalog.get("v1").configuration["sampler"] == 17
    assert opened.notes == ("the catalog was missing and was rebuilt with 3 pictures",)
    assert before <= {path.name for path in (old_folder / "state").iterdir()}
