"""Pictures are found by how they look: copies in other sizes, the same scene, the same colours."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.metadata.reading import read_image_metadata_from
from drawthings_mcp.search.database import open_index
from drawthings_mcp.search.folders import choose_sources
from drawthings_mcp.search.hits import source_key
from drawthings_mcp.search.query import SearchArguments
from drawthings_mcp.search.visual_features import COLOURS, measure_colours
from drawthings_mcp.search.visual_index import run_visual_indexing
from tests.search.conftest import Desk, paint

pytestmark = pytest.mark.anyio

RED, GREEN, BLUE, GREY = (200, 30, 30), (30, 160, 60), (30, 60, 200), (128, 128, 128)


def draw_scene(seed: int, tint: tuple[int, int, int], side: int = 256) -> NDArray[np.uint8]:
    """Blobs of light at places that only depend on the seed, in a tint."""
    dice = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    light = np.zeros((side, side))
    for _ in range(8):
        centre_x, centre_y, width = *dice.uniform(0, 1, 2), dice.uniform(0.05, 0.25)
        light += dice.uniform(0.3, 1) * np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / width**2)
    light = 0.3 + 0.7 * light / light.max()
    pixels: NDArray[np.uint8] = (light[..., None] * np.array(tint)).clip(0, 255).astype(np.uint8)
    return pixels


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty scenes in four colours, named after both."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(10):
        for name, tint in (("red", RED), ("green", GREEN), ("blue", BLUE), ("grey", GREY)):
            paint(
                folder / f"{name}-{seed}.png",
                draw_scene(seed, tint),
                prompt=f"scene {seed} {'even' if seed % 2 == 0 else 'odd'}",
            )
    return folder


@pytest.fixture
def gallery(desk: Desk, scenes: Path) -> Desk:
    """The scenes in a folder that is searched."""
    shutil.copytree(scenes, desk.pictures, dirs_exist_ok=True)
    return desk


async def test_versions_of_a_picture_come_first(gallery: Desk, tmp_path: Path) -> None:
    original = Image.open(gallery.pictures / "green-3.png")
    versions = {
        "small.jpg": original.resize((100, 100)),
        "bright.png": ImageEnhance.Brightness(original).enhance(1.25),
        "pale.webp": ImageEnhance.Color(original).enhance(0.8),
    }
    for name, version in versions.items():
        version.save(gallery.pictures / name)
    rows = (await gallery.search(like=gallery.pictures / "green-3.png", limit=25)).hits
    assert {Path(row.place).name for row in rows[:3]} == set(versions)
    assert [row.match for row in rows] == ["near-duplicate"] * 3 + ["visual"] * 22
    stranger = tmp_path / "from elsewhere.jpg"
    original.crop((3, 3, 250, 250)).save(stranger, quality=60)
    assert (await gallery.names(like=stranger, limit=4))[0] in {"green-3.png", *versions}


async def test_the_picture_itself_is_no_hit(gallery: Desk) -> None:
    assert "red-1.png" not in await gallery.names(like=gallery.pictures / "red-1.png", limit=25)


async def test_like_with_a_colour_is_the_same_scene_in_that_colour(gallery: Desk) -> None:
    for seed in range(10):
        found = await gallery.names("blue", like=gallery.pictures / f"red-{seed}.png", limit=1)
        assert found == [f"blue-{seed}.png"]
    assert await gallery.names("grün", like=gallery.pictures / "red-4.png", limit=1) == ["green-4.png"]


@pytest.mark.parametrize("words", ["similar but blue", "like this one, only in blue", "the same in blue", "more blue"])
async def test_a_wish_is_said_as_people_say_it(gallery: Desk, words: str) -> None:
    result = await gallery.search(words, like=gallery.pictures / "red-4.png", limit=1)
    assert ([Path(row.place).name for row in result.hits], result.notes) == (["blue-4.png"], ())


async def test_words_that_no_picture_has_leave_nothing_and_are_said(gallery: Desk) -> None:
    result = await gallery.search("blue zeppelin", like=gallery.pictures / "red-4.png", limit=1)
    assert result.hits == ()
    assert "Words of many pictures" in result.explanation[-1]
    result = await gallery.search("scene zeppelin", like=gallery.pictures / "red-4.png", limit=1)
    assert (len(result.hits), result.notes[0].partition(".")[0]) == (1, "No picture has all of: scene, zeppelin")
    assert await gallery.names("zeppelin model:none", like=gallery.pictures / "red-4.png") == []


async def test_words_and_filters_narrow_what_is_alike(gallery: Desk) -> None:
    like = gallery.pictures / "red-4.png"
    found = await gallery.names("odd", like=like, limit=25)
    assert len(found) == 20
    assert all(int(name[-5]) % 2 for name in found)
    assert await gallery.names("scene 7 blue", like=like, limit=1) == ["blue-7.png"]
    assert await gallery.names("-even -odd", like=like) == []
    assert {row.match for row in (await gallery.search("odd", like=like)).hits} == {"visual"}


async def test_pixels_and_bytes_can_be_searched_for(gallery: Desk) -> None:
    pixels = draw_scene(6, BLUE)
    data = (gallery.pictures / "blue-6.png").read_bytes()
    for like in (pixels, data, Image.fromarray(pixels)):
        assert (await gallery.names(like=like, limit=1)) == ["blue-6.png"]


async def test_what_is_no_picture_is_refused(gallery: Desk, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no")
    with pytest.raises(InvalidImageError):
        await gallery.search(like=tmp_path / "x.png")


async def test_pictures_that_cannot_be_opened_are_found_by_words_only(gallery: Desk) -> None:
    whole = (gallery.pictures / "red-2.png").read_bytes()
    (gallery.pictures / "broken.png").write_bytes(whole[:-200])
    (gallery.pictures / "clear.png").unlink(missing_ok=True)
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(gallery.pictures / "clear.png")
    Image.new("P", (64, 64), 3).save(gallery.pictures / "palette.gif")
    Image.fromarray(np.full((64, 64), 40_000, np.uint16)).save(gallery.pictures / "deep.png")
    Image.new("CMYK", (64, 64)).save(gallery.pictures / "print.jpg")
    found = await gallery.names(like=Image.new("RGB", (64, 64), "white"), limit=25)
    assert "broken.png" not in found
    assert {"clear.png", "deep.png", "print.jpg"} <= {*found, *(await gallery.names(limit=25, offset=25))}
    assert "broken.png" in await gallery.names("broken")


async def test_new_and_deleted_pictures_are_noticed(gallery: Desk) -> None:
    engine = gallery.engine()
    arguments = SearchArguments(like=draw_scene(77, RED), limit=1)
    (before,) = (await engine.search(arguments)).hits
    new = paint(gallery.pictures / "new.png", draw_scene(77, RED))
    (found,) = (await engine.search(arguments)).hits
    assert found.place == str(new)
    new.unlink()
    (after,) = (await engine.search(arguments)).hits
    assert after == before


async def test_a_picture_that_takes_the_place_of_another_is_looked_at(gallery: Desk) -> None:
    engine = gallery.engine()
    await engine.search(SearchArguments(like=draw_scene(88, GREEN)))
    path = paint(gallery.pictures / "new.png", draw_scene(77, RED))
    await engine.search(SearchArguments(like=draw_scene(88, GREEN)))
    paint(path, draw_scene(88, GREEN))
    (found,) = (await engine.search(SearchArguments(like=draw_scene(88, GREEN), limit=1))).hits
    assert (found.place, found.match) == (str(path), "near-duplicate")


async def test_a_picture_that_comes_back_is_one_hit(gallery: Desk) -> None:
    engine = gallery.engine()
    arguments = SearchArguments(like=draw_scene(3, GREEN), limit=25)
    path = gallery.pictures / "green-3.png"
    os.utime(path, (2_000_000_000, 2_000_000_000))  # alone in its second
    for _ in range(2):
        found = [row.place for row in (await engine.search(arguments)).hits]
        assert found.count(str(path)) == 1
        data, status = path.read_bytes(), path.stat()
        path.unlink()
        await engine.search(arguments)
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [row.place for row in (await engine.search(arguments)).hits].count(str(path)) == 1


async def test_visual_indexing_stops_after_any_picture(gallery: Desk) -> None:
    await gallery.search()
    sources = choose_sources(gallery.output, [gallery.pictures], lambda file, path: read_image_metadata_from(file))
    asked = iter([False, False, False])
    run_visual_indexing(
        open_index(gallery.state),
        {source_key(source.root, source.kind): source for source in sources},
        should_stop=lambda: next(asked, True),
    )
    with open_index(gallery.state).open() as connection:
        assert connection.execute("SELECT count(*) FROM looks").fetchone() == (2,)


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((0, 0, 0), "black"),
        ((130, 128, 126), "grey"),
        ((250, 250, 248), "white"),
        ((220, 20, 30), "red"),
        ((250, 140, 20), "orange"),
        ((110, 65, 25), "brown"),
        ((250, 230, 40), "yellow"),
        ((30, 160, 40), "green"),
        ((20, 190, 200), "cyan"),
        ((30, 60, 220), "blue"),
        ((130, 40, 200), "purple"),
        ((250, 90, 180), "pink"),
    ],
)
def test_colours_have_the_names_that_people_give_them(rgb: tuple[int, int, int], name: str) -> None:
    shares = measure_colours(np.full((4, 4, 3), rgb, np.uint8))
    assert dict(zip(COLOURS, shares.tolist(), strict=True))[name] == 255
