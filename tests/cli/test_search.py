"""``search``, ``index`` and ``tag`` at the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

pytestmark = pytest.mark.anyio


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two pictures that say how they were made."""
    folder = tmp_path / "old"
    folder.mkdir()
    for number, (name, colour) in enumerate({"okapi": "red", "meadow": "green"}.items()):
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", f"a {name} in fog\nSteps: 20, Sampler: Euler a, Seed: {number}, Model: dream_9")
        Image.new("RGB", (64, 48), colour).save(folder / f"{name}.png", pnginfo=info)
    return folder


async def test_a_folder_is_searched_from_when_it_is_indexed(run: Any, pictures: Path) -> None:
    before = await run("search", "okapi")
    indexed = await run("index", str(pictures))
    found = await run("search", "okapy fog", "--json")
    plain = await run("search", "model:dream")
    assert (before.code, before.stdout) == (0, "")
    assert "Nothing was found" in before.stderr
    assert indexed.stdout == "2 files read, 0 left\n"
    (hit,) = found.document["hits"]
    assert (hit["id"], hit["place"], hit["model"], hit["seed"]) == ("p1", str(pictures / "okapi.png"), "dream_9", 0)
    assert sorted(line.split(" • ")[1] for line in plain.stdout.splitlines() if " • " in line) == [
        "a meadow in fog",
        "a okapi in fog",
    ]


async def test_pictures_are_found_by_another_one(run: Any, pictures: Path) -> None:
    found = await run("search", "--like", str(pictures / "meadow.png"), "--json", DRAWTHINGS_SEARCH_DIRS=str(pictures))
    assert [hit["match"] for hit in found.document["hits"]][:1] == ["visual"]


async def test_tags_are_kept_and_searched_for(run: Any, pictures: Path) -> None:
    folders = {"DRAWTHINGS_SEARCH_DIRS": str(pictures)}
    await run("index", **folders)
    tagged = await run("tag", str(pictures / "okapi.png"), "--add", "best of", **folders)
    listed = await run("tag", "--json", **folders)
    found = await run("search", "--tag", "best of", "--json", **folders)
    assert tagged.stdout.endswith(": best of\n")
    assert listed.document == {"best of": 1}
    assert [hit["place"] for hit in found.document["hits"]] == [str(pictures / "okapi.png")]


async def test_hits_are_rated_and_sorted(run: Any, pictures: Path) -> None:
    folders = {"DRAWTHINGS_SEARCH_DIRS": str(pictures)}
    rated = await run("tag", str(pictures / "meadow.png"), "--rating", "4", **folders)
    found = await run("search", "fogs", "--sort", "rating", "--json", **folders)
    first = await run("search", "fogs", "--sort", "rating", "--limit", "1", **folders)
    lost = await run("search", "zeppelin rating:4", **folders)
    assert rated.stdout.endswith(": rating:4\n")
    assert [Path(hit["place"]).stem for hit in found.document["hits"]] == ["meadow", "okapi"]
    assert "go on with --offset=1" in first.stderr
    assert lost.stderr.startswith("Nothing was found. Searched 2 pictures in ")
    assert str(pictures) in lost.stderr
    assert "with rating:4. Words of many pictures: " in lost.stderr


async def test_what_was_made_elsewhere_is_found(run: Any, tmp_path: Path) -> None:
    made = tmp_path / "desktop" / "okapi.png"
    made.parent.mkdir()
    await run("generate", "a lone okapi", "--server", "demo", "--size", "128x128", "--steps", "2", "-o", str(made))
    found = await run("search", "okapi", "--json")
    assert [(hit["id"], hit["place"]) for hit in found.document["hits"]] == [("v1", str(made))]


async def test_a_folder_that_does_not_exist_is_wrong_usage(invoke: Any, tmp_path: Path) -> None:
    assert invoke("index", str(tmp_path / "nowhere")).code == 2
    assert invoke("index", "--forget").code == 2


async def test_a_folder_that_is_forgotten_is_searched_no_more_even_when_it_is_gone(run: Any, pictures: Path) -> None:
    await run("index", str(pictures))
    pictures.rename(pictures.with_name("moved"))
    forgotten = await run("index", "--forget", str(pictures))
    found = await run("search", "okapi")
    again = await run("index", "--forget", str(pictures))
    assert (forgotten.code, forgotten.stdout) == (0, "0 files read, 0 left\n")
    assert "is not there" not in found.stderr
    assert again.code == 1
    assert f"{pictures} was not added to what is searched (added: none)" in again.stderr


async def test_a_picture_of_a_project_is_named_as_search_prints_it(run: Any) -> None:
    outcome = await run("tag", "project:///nowhere/app.sqlite3#3", "--add", "x")
    assert outcome.code == 1
    assert "`drawthings-mcp search`, which gives pictures of projects ids" in outcome.stderr
