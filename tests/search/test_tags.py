"""Tags are people's work: they survive whatever happens to the index and to the files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.search.database import INDEX_NAME
from drawthings_mcp.search.query import SearchArguments
from tests.search.conftest import Desk, Picture

pytestmark = pytest.mark.anyio


@pytest.fixture
def fox(desk: Desk) -> Path:
    Picture("a cat").write(desk.pictures / "cat.png")
    return Picture("a fox").write(desk.pictures / "fox.png")


async def test_tags_are_added_listed_filtered_by_and_taken_off(desk: Desk, fox: Path) -> None:
    engine = desk.engine()
    assert await engine.change_tags(str(fox), add=["Best of", "für Oma"]) == ["Best of", "für Oma"]
    await engine.change_tags(str(desk.pictures / "cat.png"), add=["best OF"])
    assert await engine.list_tags() == {"Best of": 2, "für Oma": 1}
    assert sorted(await desk.names("tag:best-of")) == ["cat.png", "fox.png"]
    assert await desk.names(tag="FUR oma") == ["fox.png"]
    assert await desk.names('cat tag:"best of"') == ["cat.png"]
    assert await desk.names('-tag:"für oma"') == ["cat.png"]
    assert await engine.change_tags(str(fox), remove=["BEST of", "never given"]) == ["für Oma"]
    assert await desk.names("tag:best-of") == ["cat.png"]


async def test_tags_survive_the_loss_of_the_index(desk: Desk, fox: Path) -> None:
    await desk.search()
    await desk.engine().change_tags(str(fox), add=["keep"])
    for path in desk.state.glob(f"{INDEX_NAME}*"):
        path.unlink()
    assert await desk.names("tag:keep") == ["fox.png"]


async def test_tags_go_with_a_file_that_is_moved_and_with_its_copies(desk: Desk, fox: Path) -> None:
    await desk.search()
    await desk.engine().change_tags(str(fox), add=["keep"])
    moved = fox.rename(desk.pictures / "vulpes.png")
    assert await desk.names("tag:keep") == ["vulpes.png"]
    shutil.copy(moved, desk.output / "copy.png")
    moved.unlink()
    assert await desk.names("tag:keep") == ["copy.png"]


async def test_a_picture_can_be_tagged_before_it_is_indexed(desk: Desk, fox: Path) -> None:
    await desk.engine().change_tags(str(fox), add=["early"])
    assert await desk.names("tag:early") == ["fox.png"]


@pytest.mark.parametrize("tag", ["", "!!!", "x" * 100])
async def test_a_tag_without_words_is_refused(desk: Desk, fox: Path, tag: str) -> None:
    with pytest.raises(InvalidInputError, match="at most 64"):
        await desk.engine().change_tags(str(fox), add=[tag])


@pytest.mark.parametrize("place", ["/nowhere/x.png", "project:///nowhere/x.sqlite3#1"])
async def test_what_is_not_there_cannot_be_tagged(desk: Desk, place: str) -> None:
    with pytest.raises(UnknownNameError):
        await desk.engine().change_tags(place, add=["x"])


async def test_a_tag_that_is_given_while_the_picture_is_indexed_is_not_lost(desk: Desk, fox: Path) -> None:
    engine = desk.engine(budget=0.0)
    await engine.search(SearchArguments())
    await engine.change_tags(str(fox), add=["first"])
    await engine.index()
    assert await desk.names("tag:first") == ["fox.png"]
