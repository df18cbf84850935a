"""Pictures found again by a chat model, and used at once."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from mcp import Client
from mcp.types import CallToolResult, ImageContent
from PIL import Image, PngImagePlugin

from tests.calls import text_of
from tests.search.projects.builder import Builder

pytestmark = pytest.mark.anyio


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    with anyio.fail_after(60):
        result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    return result


def images_of(result: CallToolResult) -> list[Image.Image]:
    blocks = [block for block in result.content if isinstance(block, ImageContent)]
    return [Image.open(io.BytesIO(base64.b64decode(block.data))) for block in blocks]


def ids_of(result: CallToolResult) -> list[str]:
    return re.findall(r"^([avpi]\d+) • ", text_of(result), re.M)


def paint(path: Path, colour: tuple[int, int, int], parameters: str) -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", parameters)
    noise = np.random.default_rng(sum(colour)).integers(0, 40, (96, 96, 3))
    pixels = np.clip(np.array(colour) - 20 + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, pnginfo=info)
    return path


@pytest.fixture
def folder(tmp_path: Path, server_environment: dict[str, str]) -> Path:
    folder = tmp_path / "pictures of years"
    folder.mkdir()
    server_environment["DRAWTHINGS_SEARCH_DIRS"] = str(folder)
    paint(
        folder / "a.png",
        (200, 40, 40),
        "an okapi in red fog <lora:film:0.7>\nSteps: 20, Sampler: Euler a, Seed: 5, Model: dream_9",
    )
    paint(folder / "b.png", (40, 40, 200), "an okapi in blue fog\nSteps: 20, Sampler: Euler a, Seed: 6, Model: dream_9")
    paint(folder / "c.png", (40, 160, 40), "a meadow\nSteps: 20, Sampler: Euler a, Seed: 7, Model: other_1")
    return folder


@pytest.fixture
def project(folder: Path) -> Iterator[Builder]:
    builder = Builder(folder / "app.sqlite3")
    yield builder
    builder.close()


async def test_hits_are_compact_rows_with_one_labelled_sheet(over_stdio: Any, folder: Path) -> None:
    async with over_stdio("--server", "demo") as client:
        await call(client, "generate_image", prompt="an okapi in snow", width=256, height=256)
        found = await call(client, "search_images", query="okapi")
        again = await call(client, "search_images", query="red okapi")
        one = await call(client, "search_images", query="okapi -fog", limit=1)
    lines = text_of(found).splitlines()
    assert lines[0].startswith("v1 • “an okapi in snow” • 256×256 • z_image_turbo_1.0_q8p • ")
    (red,) = [line for line in lines if "red fog" in line]
    assert re.fullmatch(
        r"p\d • “an okapi in red fog” • 96×96 • dream_9 • film@0\.7 • \w+ • folders • \d{4}-\d\d-\d\d", red
    )
    assert re.search(rf"^shown: outputs \[sheet of {' '.join(ids_of(found))}\] \(1/1\)", text_of(found), re.M)
    (sheet,) = images_of(found)
    assert max(sheet.size) <= 1024
    assert ids_of(again)[0] == red.partition(" ")[0]  # the same picture, the same id
    assert (ids_of(one), len(images_of(one))) == (["v1"], 1)


async def test_a_hit_is_canvas_moodboard_or_reviewed_at_once(in_process: Any, folder: Path) -> None:
    async with in_process(server="demo") as client:
        (red,) = ids_of(await call(client, "search_images", query="red okapi", limit=1))
        (alike, *_) = ids_of(await call(client, "search_images", like=red, query="blue"))
        edited = await call(
            client, "generate_image", prompt="put them together", canvas=red, moodboard=[alike], width=128, height=128
        )
        reviewed = await call(client, "review_image", images=[alike])
    assert text_of(edited).startswith(f"from canvas {red}, moodboard {alike}")
    pixels = np.asarray(images_of(reviewed)[0].convert("RGB")).reshape(-1, 3).mean(axis=0)
    assert pixels[2] > pixels[0] + 80  # the blue one


async def test_a_picture_of_a_project_becomes_a_file_when_it_is_used(
    in_process: Any, folder: Path, project: Builder
) -> None:
    pixels = np.full((128, 192, 3), (10, 200, 30), np.uint8)
    project.add_node(0, 1, slot_98=("str", "a turtle of jade"), slot_40=("i32", 1))
    project.add_layer(0, 1, 0, 100_000_000, (192, 128))
    project.add_tensor(100_000_000, (pixels / 127.5 - 1).astype(np.float16)[np.newaxis])
    before = project.path.read_bytes()
    async with in_process(server="demo") as client:
        found = await call(client, "search_images", query="jade turtle")
        (turtle,) = ids_of(found)
        (shown,) = images_of(await call(client, "review_image", images=[turtle]))
        edited = await call(client, "generate_image", prompt="x", canvas=turtle, width=128, height=128)
    assert " • projects • " in text_of(found)
    assert shown.size == (192, 128)
    assert np.asarray(shown.convert("RGB")).reshape(-1, 3).mean(axis=0) == pytest.approx((10, 200, 30), abs=4)
    assert text_of(edited).startswith(f"from canvas {turtle}")
    assert project.path.read_bytes() == before


async def test_a_call_begins_with_what_the_app_made_in_a_project(
    in_process: Any, folder: Path, project: Builder
) -> None:
    told = {"slot_4": ("u32", 77), "slot_5": ("u32", 5), "slot_6": ("f32", 3.5), "slot_15": ("i8", 6)}
    named = {"slot_8": ("str", "sd_v1.5_f16.ckpt"), "slot_98": ("str", "a turtle of jade")}
    project.add_node(0, 1, slot_40=("i32", 1), **told, **named)
    project.add_layer(0, 1, 0, 100_000_000, (192, 128))
    project.add_tensor(100_000_000, np.zeros((1, 128, 192, 3), np.float16))
    async with in_process(server="demo") as client:
        (turtle,) = ids_of(await call(client, "search_images", query="jade turtle"))
        recipe = text_of(await call(client, "review_image", images=[turtle], settings=True))
        again = text_of(await call(client, "generate_image", settings_from=turtle))
    assert "prompt: “a turtle of jade”\n" in recipe
    assert "model sd_v1.5_f16.ckpt, seed 77, size 192×128\n" in recipe
    assert "steps 5, guidance_scale 3.5, sampler LCM" in recipe
    assert "192×128 seed 77" in again
    assert "text2image with sd_v1.5_f16.ckpt" in again
    assert "5 steps, guidance 3.5, LCM" in again


async def test_a_picture_of_a_project_is_tagged_and_is_not_like_itself(
    in_process: Any, folder: Path, project: Builder
) -> None:
    pixels = np.full((128, 192, 3), (10, 200, 30), np.uint8)
    project.add_node(0, 1, slot_98=("str", "a turtle of jade"), slot_40=("i32", 1))
    project.add_layer(0, 1, 0, 100_000_000, (192, 128))
    project.add_tensor(100_000_000, (pixels / 127.5 - 1).astype(np.float16)[np.newaxis])
    async with in_process(server="demo") as client:
        (turtle,) = ids_of(await call(client, "search_images", query="jade turtle"))
        tagged = await call(client, "tag_image", images=[turtle], add=["best"])
        found = await call(client, "search_images", tag="best")
        alike = await call(client, "search_images", like=turtle)
    assert text_of(tagged) == f"{turtle}: best"
    assert ids_of(found) == [turtle]
    assert len(ids_of(alike)) == 3
    assert turtle not in ids_of(alike)


async def test_tags_are_given_taken_off_listed_and_searched_for(in_process: Any, folder: Path) -> None:
    async with in_process(server="demo") as client:
        empty = await call(client, "tag_image")
        (meadow,) = ids_of(await call(client, "search_images", query="meadow"))
        given = await call(client, "tag_image", images=[meadow], add=["best of", "green"])
        listed = await call(client, "tag_image")
        found = await call(client, "search_images", tag="best of")
        taken = await call(client, "tag_image", images=[meadow], remove=["best of"])
        gone = await call(client, "search_images", tag="best of")
    assert text_of(empty) == "There are no tags yet."
    assert text_of(given) == f"{meadow}: best of, green"
    assert set(text_of(listed).splitlines()) == {"best of: 1", "green: 1"}
    assert ids_of(found) == [meadow]
    assert text_of(taken) == f"{meadow}: green"
    assert text_of(gone).startswith("Nothing was found.")


async def test_a_full_page_says_how_to_go_on(in_process: Any, folder: Path) -> None:
    async with in_process(server="demo") as client:
        all_of_them = await call(client, "search_images", query="okapi", limit=2)
        newest = await call(client, "search_images", limit=2)
        last = await call(client, "search_images", offset=2, limit=2)
        paint(folder / "d.png", (90, 90, 90), "two okapis\nSteps: 20, Sampler: Euler a, Seed: 8, Model: dream_9")
        await call(client, "generate_image", prompt="a gnu", width=128, height=128)
        best = await call(client, "search_images", query="okapi", limit=2)
        other = await call(client, "search_images", query="okapi", limit=2, offset=2)
    assert text_of(newest).splitlines()[-1] == "2 of 3; go on with offset=2"
    assert "go on" not in text_of(all_of_them) + text_of(last)
    assert text_of(best).splitlines()[-1] == "These are the best 2, perhaps there are more; go on with offset=2"
    assert " • “two okapis” • " in text_of(other)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": "disk"}, "source: must be 'all'"),
        ({"limit": 26}, "limit: must be from 1 to 25, got 26"),
        ({"like": "v9"}, "There is no picture “v9”"),
        ({"quary": "fox"}, "quary: there is no such argument. Did you mean 'query'"),
    ],
)
async def test_what_cannot_be_searched_for_gets_one_sentence(
    in_process: Any, folder: Path, arguments: dict[str, Any], words: str
) -> None:
    async with in_process(server="demo") as client:
        with anyio.fail_after(60):
            result = await client.call_tool("search_images", arguments)
    assert result.is_error
    assert words in text_of(result)


async def test_no_query_is_an_error(in_process: Any, folder: Path) -> None:
    async with in_process(server="demo") as client:
        for query in ('" OR 1=1 --', "NEAR(a b)", "*", "a AND", "'); DROP TABLE pictures;--", "漢字", "size:", "-"):
            await call(client, "search_images", query=query)


async def test_what_was_just_generated_is_found(in_process: Any, folder: Path) -> None:
    async with in_process(server="demo") as client:
        before = await call(client, "search_images", query="platypus")
        await call(client, "generate_image", prompt="a purple platypus", width=128, height=128)
        after = await call(client, "search_images", query="platypus")
    assert (ids_of(before), ids_of(after)) == ([], ["v1"])


async def test_a_rating_is_given_searched_for_and_taken_off(in_process: Any, folder: Path) -> None:
    async with in_process(server="demo") as client:
        best, other, *_ = ids_of(await call(client, "search_images"))
        given = await call(client, "tag_image", images=[best], rating=4, add=["keep"])
        changed = await call(client, "tag_image", images=[best, other], rating=5)
        found = await call(client, "search_images", query="rating:>=4", sort="oldest")
        taken = await call(client, "tag_image", images=[best], rating=0)
        left = await call(client, "search_images", query="rating:>=4")
    assert text_of(given) == f"{best}: keep, rating:4"
    assert text_of(changed) == f"{best}: keep, rating:5\n{other}: rating:5"
    assert ids_of(found) == [other, best]
    assert text_of(taken) == f"{best}: keep"
    assert ids_of(left) == [other]


async def test_pictures_of_one_second_are_listed_newest_first(in_process: Any, folder: Path) -> None:
    async with in_process(server="demo") as client:
        prompts = [f"a fox {what}" for what in ("asleep", "awake", "away", "at home", "in love")]
        await client.call_tool("generate_image", {"prompts": prompts, "width": 128, "height": 128, "steps": 1})
        found = await client.call_tool("search_images", {"query": "fox", "source": "generated"})
    assert re.findall(r"^(v\d+) • ", text_of(found), re.M) == ["v5", "v4", "v3", "v2", "v1"]


async def test_the_one_from_today_but_blue_is_found_in_one_call(over_stdio: Any, folder: Path) -> None:
    async with over_stdio("--server", "demo") as client:
        prompts = ["a blue fox", "a red fox", "a blue vase"]
        await client.call_tool("generate_image", {"prompts": prompts, "width": 128, "height": 128, "steps": 1})
        found = await client.call_tool("search_images", {"query": "the fox from today but blue"})
        earlier = await client.call_tool("search_images", {"query": "the fox from last year but blue"})
    assert re.findall(r"^(v\d+) • ", text_of(found), re.M) == ["v1"]
    assert re.search(r"^note: today is read as since:", text_of(found), re.M)
    assert text_of(earlier).startswith("Nothing was found.")


async def test_an_empty_answer_tells_a_model_where_it_looked_and_what_would_hit(in_process: Any, folder: Path) -> None:
    async with in_process(server="demo") as client:
        found = await call(client, "search_images", query="okopus", model="dreem")
        wrong = await call(client, "search_images", query="okapi steps:many")
    text = text_of(found)
    assert text.startswith("Nothing was found. Searched 3 pictures in ")
    assert str(folder) in text
    assert "No model is called “dreem”; there are dream_9." in text
    assert "note: steps: must be a number or like >=4, <10, 4..7, got “many”. It was searched for as words." in text_of(
        wrong
    )


async def test_a_source_without_a_folder_is_said_to_have_none(in_process: Any) -> None:
    async with in_process(server="demo") as client:
        text = text_of(await call(client, "search_images", query="okapi", source="projects"))
    assert text.startswith("Nothing was found. There is no folder of this source to search.\n")
    assert "note: No project files are in the folders that are searched." in text
