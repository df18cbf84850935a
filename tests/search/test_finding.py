"""What people type finds what they mean: word forms, sentences, folders, ranges, ratings, order, duplicates."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import anyio
import numpy as np
import pytest
from PIL import Image

from drawthings_mcp.faces import PYTHON
from drawthings_mcp.search.hits import HitPage
from drawthings_mcp.search.query import SearchArguments, parse_query
from drawthings_mcp.search.word_forms import list_stems
from tests.search.conftest import Desk, Picture, paint
from tests.search.test_visual import BLUE, GREEN, RED, draw_scene

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def _explain(page: HitPage) -> str:
    return "\n".join(page.describe_rest(PYTHON))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("fox", "foxes"),
        ("wolf", "wolves"),
        ("child", "children"),
        ("city", "cities"),
        ("woman", "women"),
        ("mouse", "mice"),
        ("knife", "knives"),
        ("leaf", "leaves"),
        ("run", "running"),
        ("Fuchs", "Füchse"),
        ("Wolf", "Wölfe"),
        ("Kind", "Kinder"),
        ("Haus", "Häuser"),
        ("Katze", "Katzen"),
        ("Baum", "Bäume"),
        ("Maus", "Mäuse"),
        ("Schloss", "Schlösser"),
        ("Frau", "Frauen"),
        ("Hund", "Hunden"),
        ("лиса", "лисы"),
    ],
)
async def test_a_word_finds_its_other_forms(desk: Desk, one: str, other: str) -> None:
    Picture(f"{other} at dusk").write(desk.pictures / "other.png")
    Picture(f"{one} at dusk", day="2020-01-01").write(desk.pictures / "one.png")
    for word, first in ((one, "one"), (other, "other")):
        hits = (await desk.search(f"{word} dusk")).hits
        assert [(Path(hit.place).stem, hit.match) for hit in hits] == [
            (first, "words"),
            ({"one": "other", "other": "one"}[first], "forms"),
        ]


@pytest.mark.parametrize(
    "pair", ["hat hate", "pin pine", "flower flow", "corner corn", "tower tow", "car care", "plan plane"]
)
def test_words_that_only_look_alike_are_no_forms_of_each_other(pair: str) -> None:
    one, other = pair.split()
    assert not set(list_stems(one)) & set(list_stems(other))


async def test_a_sentence_is_searched_by_its_telling_words(desk: Desk) -> None:
    Picture("a golden fox by the sea").write(desk.pictures / "both.png")
    Picture("show of a picture in the museum").write(desk.pictures / "fillers.png")
    for sentence in (
        "show me the picture of a golden fox by the sea",
        "Can you find the photo with the golden foxes at the sea, please?",
        "zeig mir bitte das Bild von golden fox sea",
    ):
        found = await desk.search(sentence)
        assert [Path(hit.place).stem for hit in found.hits] == ["both"]
        assert found.notes == ()


async def test_partial_matches_are_ranked_and_said_to_be_partial(desk: Desk) -> None:
    Picture("a silver fox by a lake").write(desk.pictures / "one.png")
    Picture("a golden fox on a hill", day="2020-01-01").write(desk.pictures / "two.png")
    found = await desk.search("show me the picture of a golden fox by the sea")
    assert [(Path(hit.place).stem, hit.match) for hit in found.hits] == [("two", "some words")]
    assert found.notes == ("No picture has all of: golden, fox, sea. These have some of them, the best first.",)


async def test_every_folder_around_a_picture_is_searchable(desk: Desk) -> None:
    Picture("a gnu").write(desk.pictures / "Holiday 2019" / "Lake Como" / "evening" / "1.png")
    Picture("a gnu", seed=2).write(desk.pictures / "other" / "2.png")
    assert await desk.names("como gnu") == ["1.png"]
    assert await desk.names("holiday gnu") == ["1.png"]
    for path in (
        "holiday",
        '"lake como"',
        "holiday2019/lake-como",
        f'"{desk.pictures}/Holiday 2019"',
        "folder:evening",
    ):
        query = path if path.startswith("folder") else f"path:{path}"
        assert await desk.names(query) == ["1.png"], query
    assert await desk.names("-path:como") == ["2.png"]
    assert sorted(await desk.names(f"path:{desk.pictures.name}")) == ["1.png", "2.png"]


async def test_a_folder_that_is_renamed_is_searched_by_its_new_name(desk: Desk) -> None:
    Picture("a gnu").write(desk.pictures / "vienna" / "1.png")
    assert await desk.names("path:vienna") == ["1.png"]
    (desk.pictures / "vienna").rename(desk.pictures / "fresh")
    assert await desk.names("path:fresh") == ["1.png"]
    assert await desk.names("path:vienna") == []


def _write_with(desk: Desk, name: str, text: str, size: tuple[int, int] = (512, 512)) -> None:
    path = Picture("a gnu", size=size).write(desk.pictures / f"{name}.png")
    data = path.read_bytes()
    old = f"a gnu\nSteps: 20, Sampler: Euler a, Seed: 1, Size: {size[0]}x{size[1]}".encode()
    assert old in data
    from tests.search.conftest import _build_chunk

    head, iend = data[:33], data[-12:]
    path.write_bytes(head + _build_chunk(b"iTXt", b"parameters\0\0\0\0\0" + text.encode()) + iend)


@pytest.fixture
def numbers(desk: Desk) -> Desk:
    for name, steps, cfg, size in (
        ("few", 4, 1, (512, 512)),
        ("some", 20, 7.5, (1344, 768)),
        ("many", 50, 4, (2048, 1024)),
    ):
        negative = "Negative prompt: bad hands, blurry\n" if name == "some" else ""
        text = (
            f"a gnu\n{negative}Steps: {steps}, Sampler: Euler a, CFG scale: {cfg}, Seed: 1, Size: {size[0]}x{size[1]}"
        )
        _write_with(desk, name, text, size)
    return desk


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("steps:<10", {"few"}),
        ("steps:>=20", {"some", "many"}),
        ("steps:4,50", {"few", "many"}),
        ("steps:5..30", {"some"}),
        ("-steps:<10", {"some", "many"}),
        ("cfg:7.5", {"some"}),
        ("guidance_scale:<=4", {"few", "many"}),
        ("cfg:>4", {"some"}),
        ("size:>=1024", {"some", "many"}),
        ("size:≥2048", {"many"}),
        ("size:>=1344x1024", {"many"}),
        ("size:<1024", {"few"}),
        ("size:1344x768", {"some"}),
        ("size:landscape size:<2000", {"some"}),
        ("negative:blurry", {"some"}),
        ('negative:"bad hands"', {"some"}),
        ("negative:watercolour", set()),
        ("blurry", set()),
        ("steps:<10 OR steps:>40", {"few", "many"}),
    ],
)
async def test_numbers_and_negative_prompts_are_filters(numbers: Desk, query: str, names: set[str]) -> None:
    assert {Path(name).stem for name in await numbers.names(query)} == names


async def test_alternatives_are_joined_by_or(desk: Desk) -> None:
    for name in ("fox in snow", "wolf in snow", "cat in snow", "fox in sand"):
        Picture(name).write(desk.pictures / f"{name}.png")
    assert set(await desk.names("snow fox OR wolves")) == {"fox in snow.png", "wolf in snow.png"}
    assert set(await desk.names('cat OR wolf OR "in sand"')) == {
        "cat in snow.png",
        "wolf in snow.png",
        "fox in sand.png",
    }
    assert await desk.names("snow fox OR wolf -wolf") == ["fox in snow.png"]
    assert parse_query("model:a OR model:b", NOW).filters[0].values == ("a", "b")
    assert "OR joins words" in parse_query("fox OR model:b", NOW).notes[0]


async def test_emoji_of_prompts_are_words(desk: Desk) -> None:
    Picture("a platypus 🏄🏽 at dawn").write(desk.pictures / "surf.png")
    Picture("a platypus at dawn").write(desk.pictures / "plain.png")
    assert await desk.names("🏄") == ["surf.png"]
    assert await desk.names("platypus 🏄") == ["surf.png"]


async def test_a_rating_is_given_changed_filtered_and_sorted_by(desk: Desk) -> None:
    engine = desk.engine()
    for number in range(1, 5):
        path = Picture(f"gnu {number}", seed=number, day=f"2025-01-0{number}").write(desk.pictures / f"{number}.png")
        for rating in (1, number) if number < 4 else ():
            tags = await engine.change_tags(str(path), add=[f"rating:{rating}", "seen"])
            assert tags == [f"rating:{rating}", "seen"]
    assert set(await desk.names("rating:>=2")) == {"2.png", "3.png"}
    assert await desk.names("rating:1") == ["1.png"]
    assert await desk.names("-rating:>=1") == ["4.png"]
    assert await desk.names("gnu sort:rating") == ["3.png", "2.png", "1.png", "4.png"]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("newest", "4321"),
        ("oldest", "1234"),
        ("size", "2431"),
    ],
)
async def test_hits_come_in_the_order_that_was_asked_for(desk: Desk, sort: str, order: str) -> None:
    for number, (words, side) in enumerate((("fox", 256), ("foxes", 2048), ("two foxes", 512), ("fox fox", 1024)), 1):
        picture = Picture(words, size=(side, 512), day=f"2025-01-0{number}", seed=number)
        picture.write(desk.pictures / f"{number}.png")
    for found in (
        await desk.names(f"fox sort:{sort}"),
        await desk.names("fox", sort=sort),
        await desk.names(sort=sort),
    ):
        assert "".join(Path(name).stem for name in found) == order
    pages = [await desk.names("fox", sort=sort, offset=offset, limit=2) for offset in (0, 2)]
    assert "".join(Path(name).stem for page in pages for name in page) == order


async def test_near_duplicates_are_listed_in_groups(desk: Desk) -> None:
    for seed in range(6):
        paint(desk.pictures / f"{seed}.png", draw_scene(seed, RED), prompt=f"scene {seed}")
    original = Image.open(desk.pictures / "3.png")
    original.resize((100, 100)).save(desk.pictures / "3 small.jpg")
    original.save(desk.pictures / "3 again.jpg", quality=70)
    shutil.copy(desk.pictures / "5.png", desk.pictures / "copy of 5.png")
    found = await desk.search("is:duplicate")
    names = [Path(hit.place).name for hit in found.hits]
    assert sorted(names) == ["3 again.jpg", "3 small.jpg", "3.png", "5.png"]
    assert {hit.match for hit in found.hits} == {"near-duplicate"}
    ids = {Path(hit.place).name: hit.id for hit in found.hits}
    group = " = ".join(hit.id for hit in found.hits if Path(hit.place).name != "5.png")
    assert f"Alike are {group}." in found.notes
    assert f"{ids['5.png']} is also at {desk.pictures / 'copy of 5.png'}." in found.notes
    assert await desk.names("is:duplicates scene 5") == ["5.png"]
    assert "sort was left out" in " ".join((await desk.search("is:duplicate sort:size")).notes)
    like = desk.pictures / "3.png"
    assert sorted(await desk.names("is:duplicate", like=like)) == ["3 again.jpg", "3 small.jpg"]


async def test_every_version_is_found_among_many_pictures(desk: Desk) -> None:
    from drawthings_mcp.search.database import open_index
    from drawthings_mcp.search.visual_features import COLOURS, VisualFeatures
    from drawthings_mcp.search.visual_index import VisualIndex

    dice = np.random.default_rng(1)
    index, colours = open_index(desk.state), np.full(len(COLOURS), 21, np.uint8)
    hashes = [int(bits) for bits in dice.integers(0, 1 << 64, 20_000, dtype=np.uint64)]
    versions = {
        number: hashes[number] ^ sum(1 << int(bit) for bit in dice.choice(64, 4, replace=False))
        for number in range(200)
    }
    looks = [*enumerate(hashes), *((20_000 + number, bits) for number, bits in versions.items())]
    with index.write() as connection:
        connection.executemany(
            "INSERT INTO looks (picture, features) VALUES (?, ?)",
            ((n, VisualFeatures(bits, colours, 9, 128, np.zeros((4, 4, 3), np.uint8)).encode()) for n, bits in looks),
        )
    visual = VisualIndex()
    with index.open() as connection:
        visual.refresh(connection)
        groups = visual.find_duplicates(connection)
    assert sorted(groups) == [(20_000 + number, number) for number in sorted(versions)]


async def test_like_with_a_colour_leaves_out_what_has_another(desk: Desk) -> None:
    for seed in range(4):
        for name, tint in (("red", RED), ("green", GREEN), ("blue", BLUE)):
            paint(desk.pictures / f"{name}-{seed}.png", draw_scene(seed, tint), prompt=f"scene {seed}")
    sky = draw_scene(9, GREEN)
    sky[:110] = (90, 140, 230)
    paint(desk.pictures / "meadow.png", sky, prompt="a green meadow under the sky")
    small = draw_scene(8, GREEN)
    small[100:150, 60:140] = BLUE
    paint(desk.pictures / "dress.png", small, prompt="a woman in a blue dress in the grass")
    paint(desk.pictures / "song.png", draw_scene(7, RED), prompt="singing the blues, blue")
    names = await desk.names("similar but blue", like=desk.pictures / "red-2.png", limit=25)
    assert names[0] == "blue-2.png"
    assert set(names) == {"blue-0.png", "blue-1.png", "blue-2.png", "blue-3.png", "dress.png"}
    assert await desk.names("scene 3 in blue", like=desk.pictures / "red-2.png") == ["blue-3.png"]


async def test_pictures_of_the_library_are_found_wherever_they_are(desk: Desk, tmp_path: Path) -> None:
    outside = Picture("a made okapi").write(tmp_path / "desktop" / "okapi.png")
    Picture("a strange okapi").write(tmp_path / "desktop" / "neighbour.png")
    Picture("an okapi at home").write(desk.output / "home.png")
    catalog = desk.catalog
    for path in (outside, desk.output / "home.png"):
        catalog.add("v", path, created=NOW, width=512, height=512)
    (tmp_path / "link").symlink_to(desk.output, target_is_directory=True)
    catalog.add("v", tmp_path / "link" / "home.png", created=NOW, width=512, height=512)
    found = await desk.search("okapi")
    assert sorted((Path(hit.place).name, hit.kind) for hit in found.hits) == [
        ("home.png", "generated"),
        ("okapi.png", "library"),
    ]
    assert await desk.names("okapi desktop", source="generated") == ["okapi.png"]
    assert await desk.names("is:duplicate") == []
    outside.unlink()
    assert await desk.names("okapi") == ["home.png"]


async def test_a_new_file_is_seen_by_the_next_search(desk: Desk) -> None:
    Picture("a gnu").write(desk.pictures / "sub" / "1.png")
    past = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
    async with anyio.create_task_group() as background:
        engine = desk.engine(background=background, fresh_for=3600.0)
        assert (await engine.search(SearchArguments("gnu"))).total == 1
        for path in (desk.pictures / "sub", desk.pictures):
            os.utime(path, (past, past))
        assert (await engine.search(SearchArguments("gnu"))).total == 1
        Picture("a gnu, too").write(desk.pictures / "sub" / "2.png")
        Picture("a gnu as well").write(desk.pictures / "new" / "deep" / "3.png")
        Picture("a gnu of ours").write(desk.output / "4.png")
        assert (await engine.search(SearchArguments("gnu"))).total == 4
        assert (await engine.search(SearchArguments(like=draw_scene(1, RED)))).notes == ()


async def test_an_empty_answer_says_where_it_looked_and_what_would_hit(desk: Desk) -> None:
    for number, words in enumerate(("a lighthouse at dusk", "a harbour at dawn", "a harbour at night")):
        Picture(words, "flux1-dev.safetensors", seed=number).write(desk.pictures / f"{number}.png")
    text = _explain(await desk.search("lihtous"))
    assert text.startswith("Nothing was found. Searched 3 pictures in ")
    assert str(desk.pictures) in text
    assert "Nearest words that would hit: lighthouse." in text
    text = _explain(await desk.search("harbour", model="fluks-dev", since="2025"))
    assert "with model:fluks-dev, since:2025-01-01" in text
    assert "Without model:fluks-dev, since:2025-01-01 the words find 2." in text
    assert "No model is called 'fluks-dev'; there are flux1-dev.safetensors." in text
    assert "Words of many pictures: harbour, " in _explain(await desk.search("qqqq"))
    assert "would hit" not in _explain(await desk.search("lihtous", since="2030"))
    assert "with since:" in _explain(await desk.search("harbour", since="letzte Woche"))


async def test_an_index_of_an_older_version_keeps_what_was_measured_and_learns_the_rest(desk: Desk) -> None:
    from drawthings_mcp.search.database import open_index

    path = paint(desk.pictures / "sub" / "1.png", draw_scene(1, RED), prompt="two foxes")
    await desk.engine().index()
    with open_index(desk.state).write() as connection:
        looks = connection.execute("SELECT * FROM looks").fetchall()
        # As it was before its second version.
        for statement in (
            *(f"ALTER TABLE pictures DROP COLUMN {name}" for name in ("negative", "steps", "cfg")),
            "DROP TABLE stems",
            "PRAGMA user_version = 1",
        ):
            connection.execute(statement)
    assert await desk.names("fox path:sub steps:20") == [path.name]
    with open_index(desk.state).open() as connection:
        assert connection.execute("SELECT * FROM looks").fetchall() == looks
