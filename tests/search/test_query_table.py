"""What people remember of a picture finds it among five thousand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from drawthings_mcp.search.engine import SearchEngine
from drawthings_mcp.search.query import SearchArguments
from tests.search.conftest import Desk, Picture

pytestmark = pytest.mark.anyio

COUNT = 5000

SUBJECTS = "woman man cat dog harbour mountain robot castle forest snow light city red deep street fox"
STYLES = "oil painting watercolour photo cinematic detailed night morning winter summer portrait wide soft"

NEEDLES = {
    "fox": Picture("a red fox in deep snow, early light", "flux1-dev.safetensors", seed=1234567890),
    "fox-blurry": Picture("a red fox in deep snow, blurry background", "z_image_turbo_1.0_q8p.ckpt"),
    "fox-apart": Picture("snow falls on a sleeping fox, deep red leaves", "sdxl_base.safetensors"),
    "lighthouse": Picture("lighthouse on a cliff above the atlantic", "flux1-dev.safetensors", size=(1344, 768)),
    "astronaut": Picture("astronaut riding a giraffe through a supermarket", "qwen_image_1.0_q8p.ckpt", seed=77),
    "cathedral": Picture("gothic cathedral interior, volumetric dust", "sdxl_base.safetensors", day="2023-02-14"),
    "typewriter": Picture("an antique typewriter with mother-of-pearl keys", day="2022-12-31"),
    "umbrella": Picture("Schöne Grüße: ein Mädchen mit Regenschirm, Straße in München", size=(768, 1344)),
    "kanji": Picture("桜の木の下で本を読む少女、水彩画", "qwen_image_1.0_q8p.ckpt"),
    "hanzi": Picture("一只戴着宇航员头盔的猫，漢字招牌，霓虹灯"),
    "cyrillic": Picture("Кириллица: рыжий кот на подоконнике, зима, ёлка"),
    "greek": Picture("Άσπρο σπίτι δίπλα στη θάλασσα"),
    "arabic": Picture("قِطَّة سَوْدَاء عَلَى السَّطْح"),
    "hebrew": Picture("חתול על הגג"),
    "hindi": Picture("बर्फ में लाल लोमड़ी"),
    "thai": Picture("แมวสีส้มนอนบนโซฟา"),
    "korean": Picture("눈 속의 붉은 여우가 달린다"),
    "accents": Picture("café crème à la française, naïve painting"),
    "wide-letters": Picture("ＦＵＬＬＷＩＤＴＨ ｎｅｏｎ sign"),
    "emoji": Picture("a platypus 🦊 surfing 🏄 at dawn"),
    "lora": Picture("knitted hedgehog", "sdxl_base.safetensors", lora="yarn_art_style_v2"),
    "square": Picture("zeppelin over vineyards", size=(1024, 1024), model="flux1-schnell.safetensors"),
    "code": Picture("SELECT * FROM images; DROP TABLE postings; --"),
    "hyphen": Picture("sci-fi corridor, state-of-the-art lighting"),
    "apostrophe": Picture("the dragon's hoard of o'clock"),
    "short-words": Picture("go board, igo, 4k uhd"),
    "numbers": Picture("route 66 diner, 1950s chrome"),
    "hippopotamus": Picture("hippopotamus ballet, tutu"),
}

TABLE: list[tuple[str, list[str]]] = [
    # Words, in any order and case; a row of words before the same words apart.
    ("red fox in deep snow", ["fox", "fox-blurry"]),
    ("SNOW fox Red deep", ["fox", "fox-blurry", "fox-apart"]),
    ("giraffe supermarket", ["astronaut"]),
    ("picture of a giraffe", ["astronaut"]),
    ("atlantic", ["lighthouse"]),
    ('"early light"', ["fox"]),
    ('fox "deep snow" early', ["fox"]),
    ('"deep red leaves"', ["fox-apart"]),
    ("mother of pearl", ["typewriter"]),
    ("mother-of-pearl", ["typewriter"]),
    ("sci-fi corridor", ["hyphen"]),
    ("scifi corridor", ["hyphen"]),
    ("state of the art", ["hyphen"]),
    ("dragon's hoard", ["apostrophe"]),
    ("dragons hoard", ["apostrophe"]),
    ("route 66", ["numbers"]),
    ("4k uhd", ["short-words"]),
    # Beginnings of words.
    ("giraf", ["astronaut"]),
    ("typewr", ["typewriter"]),
    ("goth cath", ["cathedral"]),
    ("hippo", ["hippopotamus"]),
    # Typing errors.
    ("girafe", ["astronaut"]),
    ("lihgthouse", ["lighthouse"]),
    ("typwriter antiqe", ["typewriter"]),
    ("zepelin vinyards", ["square"]),
    ("hipopotamos", ["hippopotamus"]),
    ("cathedrall", ["cathedral"]),
    ("astronuat giraffe", ["astronaut"]),
    ("platipus", ["emoji"]),
    ("hedgehgo", ["lora"]),
    # One word that no picture has does not hide the others.
    ("giraffe supermarket trolley quixotically", ["astronaut"]),
    # Words that few pictures have tell more than those that many have.
    ("zeppelin watercolour", ["square"]),
    ("an oil painting of a knitted hedgehog that looks at the sea on a cinematic summer night, soft", ["lora"]),
    ("a detailed wide photo of an astronaut with a giraffe on a winter morning, cinematic portrait", ["astronaut"]),
    # Filters, as arguments of the query.
    ("fox model:flux", ["fox"]),
    ("fox model:z-image", ["fox-blurry"]),
    ("fox model:zimage", ["fox-blurry"]),
    ("model:qwen giraffe", ["astronaut"]),
    ("fox model:flux,sdxl snow", ["fox", "fox-apart"]),
    ("lora:yarn", ["lora"]),
    ('lora:"yarn art style"', ["lora"]),
    ("size:1344x768 cliff", ["lighthouse"]),
    ("zeppelin size:square", ["square"]),
    ("seed:1234567890", ["fox"]),
    ("interior since:2023-02-14 until:2023-02-14", ["cathedral"]),
    ("since:2022-12 until:2022-12", ["typewriter"]),
    ("until:2022", ["typewriter"]),
    ("source:a1111 giraffe", ["astronaut"]),
    ("source:folders giraffe", ["astronaut"]),
    # Without.
    ("fox deep snow -blurry -sleeping", ["fox"]),
    ("red fox -model:flux -leaves", ["fox-blurry"]),
    ('fox -"deep snow"', ["fox-apart"]),
    # Other scripts.
    ("grusse", ["umbrella"]),
    ("GRÜSSE munchen", ["umbrella"]),
    ("Mädchen Regenschirm", ["umbrella"]),
    ("strasse", ["umbrella"]),
    ("漢字", ["hanzi"]),
    ("宇航员头盔", ["hanzi"]),
    ("水彩画", ["kanji"]),
    ("読む少女", ["kanji"]),
    ("рыжий КОТ", ["cyrillic"]),
    ("елка", ["cyrillic"]),
    ("подокон", ["cyrillic"]),
    ("кирилица", ["cyrillic"]),
    ("ασπρο θαλασσα", ["greek"]),
    ("قطة سوداء", ["arabic"]),
    ("חתול", ["hebrew"]),
    ("लोमड़ी", ["hindi"]),
    ("สีส้ม", ["thai"]),
    ("여우", ["korean"]),
    ("cafe creme francaise", ["accents"]),
    ("fullwidth neon", ["wide-letters"]),
    ("🦊 platypus", ["emoji"]),
    # The language of databases is words like any other.
    ("SELECT * FROM images; DROP TABLE postings; --", ["code"]),
    ("drop table", ["code"]),
]

WITHOUT: list[tuple[str, str, str]] = [
    ("red fox -blurry", "fox", "fox-blurry"),
    ('fox -"deep snow"', "fox-apart", "fox"),
    ("red fox -model:flux", "fox-blurry", "fox"),
    ("fox snow -sleeping", "fox", "fox-apart"),
]

HOSTILE = [
    "'; DROP TABLE pictures; --",
    '"',
    '""',
    '"unfinished phrase',
    "fox AND",
    "NOT fox OR (",
    "NEAR(fox snow, 5)",
    "fox NOT NOT fox",
    "{words} : fox",
    "words:fox",
    "^fox",
    "fox*",
    "*",
    "-",
    "--",
    "-fox",
    ":",
    "model:",
    "model:%",
    "model:'",
    "size:banana",
    "size:99999999999x1",
    "since:yesteryear",
    "since:9999-99-99",
    "until:0000",
    "seed:-1",
    "tag:!!!",
    "\0",
    "fox\0snow",
    "\ud800",
    "\ue000e",
    "a" * 5000,
    " ".join(f"word{number}" for number in range(500)),
    "(" * 1000,
    "%s %d {0} ${HOME} `id`",
    "\u202efox\u202c",
    "fox\n\tsnow\r\n",
]


@pytest.fixture(scope="module")
def haystack(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("haystack"))
    desk.output.mkdir()
    dice = random.Random(3)
    for number in range(COUNT - len(NEEDLES)):
        words = [*dice.sample(SUBJECTS.split(), 2), *dice.sample(STYLES.split(), 5)]
        if "fox" in words and "snow" in words:
            words.remove("snow")
        picture = Picture(
            " ".join(words),
            dice.choice(["sd15.ckpt", "wan_2.1.ckpt"]),
            seed=number,
            day=f"2024-0{dice.randint(1, 9)}-15",
        )
        picture.write(desk.pictures / f"{number // 500:02}" / f"{number:05}.png")
    for name, picture in NEEDLES.items():
        picture.write(desk.pictures / "needles" / f"{name}.png")
    return desk


@pytest.fixture(scope="module")
async def engine(haystack: Desk) -> SearchEngine:
    engine = haystack.engine(fresh_for=3600.0)
    report = await engine.index()
    assert (report.read, report.pending, report.problems) == (COUNT, 0, [])
    return SearchEngine(haystack.settings, haystack.catalog, budget=0.0)


@pytest.mark.parametrize(("query", "expected"), TABLE, ids=[query for query, _ in TABLE])
async def test_a_picture_is_found_by_what_is_remembered_of_it(
    engine: SearchEngine, query: str, expected: list[str]
) -> None:
    result = await engine.search(SearchArguments(query, limit=3))
    found = [Path(row.place).stem for row in result.hits]
    assert set(expected) <= set(found)


@pytest.mark.parametrize(("query", "kept", "left_out"), WITHOUT, ids=[query for query, _, _ in WITHOUT])
async def test_what_is_not_wanted_is_not_found(engine: SearchEngine, query: str, kept: str, left_out: str) -> None:
    result = await engine.search(SearchArguments(query, limit=25))
    found = [Path(row.place).stem for row in result.hits]
    assert kept in found
    assert left_out not in found


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
async def test_no_text_is_an_error(engine: SearchEngine, query: str) -> None:
    result = await engine.search(SearchArguments(query))
    assert result.total >= len(result.hits)


async def test_hits_are_ranked_by_how_well_they_match_and_then_by_date(engine: SearchEngine) -> None:
    rows = [row for offset in (0, 25) for row in (await engine.search(_page(offset, 25))).hits]
    matches = [row.match for row in rows]
    assert {"exact", "words"} <= set(matches)
    assert matches == sorted(matches, key=["exact", "words", "prefix", "fuzzy"].index)
    for match in set(matches):
        dates = [row.metadata.created for row in rows if row.match == match]
        assert dates == sorted(dates, reverse=True, key=str)


async def test_pages_follow_each_other_without_gap_or_repetition(engine: SearchEngine) -> None:
    whole = [row.place for offset in (0, 25) for row in (await engine.search(_page(offset, 25))).hits]
    pages = [row.place for offset in range(0, 50, 10) for row in (await engine.search(_page(offset, 10))).hits]
    assert pages == whole
    assert len(set(whole)) == len(whole) > 25


def _page(offset: int, limit: int) -> SearchArguments:
    return SearchArguments("castle snow", offset=offset, limit=limit)


async def test_a_filter_alone_lists_the_newest(engine: SearchEngine) -> None:
    result = await engine.search(SearchArguments(model="wan", limit=25))
    assert {row.metadata.model for row in result.hits} == {"wan_2.1.ckpt"}
    assert {row.match for row in result.hits} == {"recent"}
    assert (result.total, result.is_exact) == (1000, False)


async def test_a_value_that_is_not_understood_is_reported(engine: SearchEngine) -> None:
    result = await engine.search(SearchArguments("giraffe size:banana"))
    assert [row.match for row in result.hits] == ["some words"]
    assert "1024x768" in result.notes[0]
