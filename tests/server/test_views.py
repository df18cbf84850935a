"""Views beside results, for clients that take them."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import MCPError
from mcp.client.extension import advertise
from mcp.types import CallToolResult, ImageContent, TextContent
from PIL import Image, ImageDraw

from drawthings_mcp.server.views import VIEW_KEY
from drawthings_mcp.simulator import Simulator
from tests.http_process import serve_http

pytestmark = pytest.mark.anyio

UI = "io.modelcontextprotocol/ui"
MIME_TYPE = "text/html;profile=mcp-app"
TAKES_VIEWS = (advertise(UI, {"mimeTypes": [MIME_TYPE]}),)
VIEWS = {f"ui://drawthings/{name}" for name in ("result", "compare", "mask", "search")}
APP_ONLY = {"view_images", "paint_mask", "watch_job"}
PAGE = Path(__file__).parents[2] / "drawthings_mcp" / "page"
SMALL = {"width": 128, "height": 128, "steps": 1}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


def open_server(in_process: Any, simulator: Simulator, **options: Any) -> Any:
    return in_process(server=simulator.address, tls="off", **options)


def get_data(result: CallToolResult) -> Mapping[str, Any]:
    found = (result.meta or {})[VIEW_KEY]
    assert isinstance(found, dict)
    return found


def count_characters(result: CallToolResult) -> int:
    return len(result.model_dump_json(by_alias=True, exclude_none=True))


def list_images(result: CallToolResult) -> list[Image.Image]:
    data = [base64.b64decode(block.data) for block in result.content if isinstance(block, ImageContent)]
    return [Image.open(io.BytesIO(one)) for one in data]


def dump(listed: Any) -> list[dict[str, Any]]:
    return [item.model_dump(by_alias=True, exclude_none=True, mode="json") for item in listed]


def paint(size: tuple[int, int], box: tuple[int, int, int, int] | None) -> str:
    mask = Image.new("L", size)
    if box is not None:
        ImageDraw.Draw(mask).rectangle(box, fill=255)
    stream = io.BytesIO()
    mask.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("extensions", [(), (advertise(UI, {"mimeTypes": ["text/html"]}),)])
async def test_who_does_not_take_views_sees_nothing_of_them(
    in_process: Any, simulator: Simulator, mode: str, extensions: Any
) -> None:
    async with open_server(in_process, simulator, mode=mode, extensions=TAKES_VIEWS) as client:
        offered = dump((await client.list_tools()).tools)
        addresses = dump((await client.list_resources()).resources)
        capabilities = client.server_capabilities.model_dump(exclude_none=True)
        shown = await client.call_tool("generate_image", {"prompt": "a fox", "seed": 7, **SMALL})
    async with open_server(in_process, simulator, mode=mode, extensions=extensions) as client:
        plain = dump((await client.list_tools()).tools)
        plain_addresses = dump((await client.list_resources()).resources)
        plain_capabilities = client.server_capabilities.model_dump(exclude_none=True)
        seen = await client.call_tool("generate_image", {"prompt": "a fox", "seed": 7, **SMALL})
        found = await client.call_tool("search_images", {"query": "fox"})
        with pytest.raises(MCPError, match="There is no tool"):
            await client.call_tool("view_images", {"images": ["v1"]})
        with pytest.raises(MCPError) as unknown:
            await client.read_resource("ui://drawthings/nothing")
        with pytest.raises(MCPError) as refused:
            await client.read_resource("ui://drawthings/result")
    assert len(plain) == 8
    ours = [{name: value for name, value in tool.items() if name != "_meta"} for tool in offered]
    assert plain == [tool for tool in ours if tool["name"] not in APP_ONLY]
    assert plain_addresses == [one for one in addresses if one["uri"] not in VIEWS]
    assert capabilities == {**plain_capabilities, "extensions": {UI: {}}}
    assert not [result for result in (seen, found) if VIEW_KEY in (result.meta or {})]
    assert refused.value.error.message == unknown.value.error.message.replace("nothing", "result")
    assert VIEW_KEY in (shown.meta or {})
    assert [block.type for block in seen.content] == [block.type for block in shown.content]
    assert shown.structured_content is None


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_who_takes_views_finds_one_for_each_tool_that_shows_pictures(
    in_process: Any, simulator: Simulator, mode: str
) -> None:
    async with open_server(in_process, simulator, mode=mode, extensions=TAKES_VIEWS) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        listed = {str(one.uri): one for one in (await client.list_resources()).resources if str(one.uri) in VIEWS}
        pages = {uri: (await client.read_resource(uri)).contents[0] for uri in listed}
    meta = {name: (tool.meta or {}).get("ui", {}) for name, tool in tools.items()}
    bound = {name: ui["resourceUri"] for name, ui in meta.items() if "resourceUri" in ui}
    assert set(bound.values()) == VIEWS == listed.keys()
    assert bound.keys() == {"generate_image", "get_job", "review_image", "transform_image", "search_images"}
    assert {name for name, ui in meta.items() if ui.get("visibility") == ["app"]} == APP_ONLY
    for name in APP_ONLY:
        assert tools[name].input_schema["additionalProperties"] is False
    for uri, page in pages.items():
        assert listed[uri].mime_type == page.mime_type == MIME_TYPE
        assert len(page.text.encode()) <= 60_000
        assert not re.search(r"https?://|^import |^export |innerHTML|insertAdjacentHTML", page.text, re.MULTILINE)
        assert f'data-view="{uri.rpartition("/")[2]}"' in page.text


def test_no_two_modules_of_a_view_have_a_name_in_common() -> None:
    modules = [PAGE / name for name in ("make.js", "host.js", "slider.js", "painter.js", "view.js")]
    declared = re.compile(r"^(?:export )?(?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)
    names = [name for module in modules for name in declared.findall(module.read_text(encoding="utf-8"))]
    assert len(names) > 40
    assert sorted(names) == sorted(set(names))


async def test_a_result_tells_its_view_what_was_made_and_fits(in_process: Any, simulator: Simulator) -> None:
    prompt = "<img src=x onerror=alert(1)> “a fox” 🦊"
    async with open_server(in_process, simulator, extensions=TAKES_VIEWS) as client:
        made = await client.call_tool("generate_image", {"prompt": prompt, "variants": 4, **SMALL})
        swept = await client.call_tool("generate_image", {"prompt": "x", "sweep": {"seed": [1, 2]}, **SMALL})
        masked = await client.call_tool(
            "transform_image", {"operation": "mask_rectangle", "images": ["v1"], "boxes": [[0, 0, 0.5, 0.5]]}
        )
        reviewed = await client.call_tool("review_image", {"images": ["v1", "v2"]})
        found = await client.call_tool("search_images", {"limit": 25})
    data = get_data(made)
    assert [picture["id"] for picture in data["pictures"]] == ["v1", "v2", "v3", "v4"]
    assert all(picture["size"] == [128, 128] and picture["seed"] >= 0 for picture in data["pictures"])
    assert data["prompt"] == prompt
    images = [block for block in made.content if isinstance(block, ImageContent)]
    assert len(data["blocks"]) == len(images) == 3
    assert sorted(name for ids in data["blocks"] for name in ids) == ["v1", "v2", "v3", "v4"]
    assert [picture["id"] for picture in get_data(swept)["pictures"]] == ["i1", "v5", "v6"]
    assert get_data(masked)["canvas"] == data["pictures"][0]
    assert [picture["id"] for picture in get_data(reviewed)["pictures"]] == ["v1", "v2"]
    assert {f"v{number}" for number in range(1, 7)} <= {picture["id"] for picture in get_data(found)["pictures"]}
    assert all(picture["small"].startswith("data:image/jpeg;base64,") for picture in get_data(found)["pictures"])
    for result in (made, swept, masked, reviewed, found):
        assert count_characters(result) <= 900_000
        assert result.structured_content is None


async def test_a_view_gets_its_data_within_what_its_client_takes(
    in_process: Any, simulator: Simulator, server_environment: dict[str, str]
) -> None:
    server_environment["DRAWTHINGS_ATTACHMENTS"] = "max_characters=60000"
    async with open_server(in_process, simulator, extensions=TAKES_VIEWS) as client:
        for _ in range(2):
            await client.call_tool("generate_image", {"prompt": "rocks", "variants": 4, "width": 512, "height": 512})
        found = await client.call_tool("search_images", {"limit": 25})
        viewed = await client.call_tool("view_images", {"images": [f"v{n}" for n in range(1, 9)], "max_edge": 2048})
    assert len(get_data(found)["pictures"]) == 8
    assert count_characters(found) <= 60_000
    assert count_characters(viewed) <= 60_000
    assert get_data(viewed)["blocks"] == [[f"v{n}"] for n in range(1, 9)]


async def test_what_a_view_asks_for_is_not_taken_for_what_the_model_saw(in_process: Any, simulator: Simulator) -> None:
    by_view = {VIEW_KEY: True}
    async with open_server(in_process, simulator, extensions=TAKES_VIEWS) as client:
        made = await client.call_tool("generate_image", {"prompt": "a fox", **SMALL}, meta=by_view)
        viewed = await client.call_tool("view_images", {"images": ["v1"], "max_edge": 64})
        edited = await client.call_tool("generate_image", {"prompt": "at night", "canvas": "v1", **SMALL})
    assert [type(block) for block in made.content] == [TextContent]
    assert "shown in the view, not to you" in made.content[0].text
    assert get_data(made)["pictures"][0]["id"] == "v1"
    assert [image.size for image in list_images(viewed)] == [(64, 64)]
    assert "shown: inputs v1 (1/2), outputs v2" in edited.content[0].text, "it is new to the model"


async def test_a_painted_mask_becomes_a_picture_and_says_where_to_repaint(
    in_process: Any, simulator: Simulator
) -> None:
    async with open_server(in_process, simulator, extensions=TAKES_VIEWS) as client:
        await client.call_tool("generate_image", {"prompt": "a fox", **SMALL})
        kept = await client.call_tool("paint_mask", {"image": "v1", "mask": paint((64, 64), (0, 0, 31, 31))})
        inpainted = await client.call_tool("generate_image", {"prompt": "a moon", "canvas": "v1", "mask": "i1"})
        empty = await client.call_tool("paint_mask", {"image": "v1", "mask": paint((64, 64), None)})
        narrow = await client.call_tool("paint_mask", {"image": "v1", "mask": paint((64, 20), (0, 0, 9, 9))})
        no_picture = await client.call_tool("paint_mask", {"image": "v1", "mask": "data:image/png;base64,xx"})
        unknown = await client.call_tool("paint_mask", {"image": "v1", "msk": ""})
        huge = await client.call_tool("paint_mask", {"image": "v1", "mask": paint((20_000, 20_000), None)})
        long = await client.call_tool("paint_mask", {"image": "v1", "mask": f"data:image/png;base64,{'A' * 8_000_000}"})
        markup = await client.call_tool("paint_mask", {"image": "v1", "mask": "data:image/svg+xml,<svg/>"})
        of_nobody = await client.call_tool("paint_mask", {"image": "v99", "mask": paint((64, 64), (0, 0, 9, 9))})
    assert get_data(kept)["pictures"] == [{"id": "i1", "size": [128, 128]}]
    assert get_data(kept)["canvas"]["id"] == "v1"
    assert not inpainted.is_error
    assert "from canvas v1, mask i1" in inpainted.content[0].text
    for refused, words in (
        (empty, "mask: is empty"),
        (narrow, "mask: has 64×20 pixels, which is not the shape of v1"),
        (no_picture, "not a picture"),
        (unknown, "msk: there is no such argument. Did you mean 'mask'?"),
        (huge, "has more than 67 megapixels"),
        (long, "mask: must have at most 8000000 characters"),
        (markup, "SVG"),
        (of_nobody, "There is no picture “v99”"),
    ):
        assert refused.is_error
        assert words in refused.content[0].text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_over_http_each_client_hears_what_it_takes(server_environment: dict[str, str], mode: str) -> None:
    with serve_http(server_environment) as server:
        async with (
            server.client("with", mode=mode, token=server.token, extensions=TAKES_VIEWS) as taker,
            server.client("without", mode=mode, token=server.token) as other,
        ):
            made = await taker.call_tool("generate_image", {"prompt": "a fox", **SMALL})
            watched = await taker.call_tool("watch_job", {})
            plain = await other.call_tool("generate_image", {"prompt": "a kite", **SMALL})
            names = [{tool.name for tool in (await client.list_tools()).tools} for client in (taker, other)]
    assert get_data(made)["pictures"][0]["id"] == "v1"
    assert get_data(watched) == {"job": "j1", "fraction": 1.0, "message": get_data(watched)["message"], "isDone": True}
    assert VIEW_KEY not in (plain.meta or {})
    assert names[0] - names[1] == APP_ONLY


async def test_with_few_arguments_a_view_asks_for_what_there_is(
    in_process: Any, simulator: Simulator, server_environment: dict[str, str]
) -> None:
    server_environment["DRAWTHINGS_TOOLS"] = "simple"
    async with open_server(in_process, simulator, extensions=TAKES_VIEWS) as client:
        made = await client.call_tool("generate_image", {"prompt": "a fox", "width": 128, "height": 128})
        assert get_data(made)["tools"] == "simple"
        call = {name: get_data(made)[name] for name in ("prompt", "model")}
        call |= {"width": 128, "height": 128, "canvas": "v1", "mode": "image2image"}
        varied = await client.call_tool("generate_image", call, meta={VIEW_KEY: True})
    assert not varied.is_error
    assert get_data(varied)["pictures"][0]["id"] == "v2"


async def test_a_view_watches_a_render_and_stops_it(in_process: Any) -> None:
    async with (
        Simulator(step_seconds=0.2) as simulator,
        open_server(in_process, simulator, extensions=TAKES_VIEWS, max_wait="0") as client,
    ):
        idle = await client.call_tool("watch_job", {})
        handed_back = await client.call_tool("generate_image", {"prompt": "a fox", **SMALL, "steps": 150})
        watched = await client.call_tool("watch_job", {})
        await client.call_tool("generate_image", {"prompt": "a kite", **SMALL})
        of_prompt = await client.call_tool("watch_job", {"prompt": " a fox"})
        of_nothing = await client.call_tool("watch_job", {"prompt": "a whale"})
        with anyio.fail_after(60):
            while not (images := list_images(await client.call_tool("watch_job", {"job": "j1"}))):
                pass
        await client.call_tool("cancel_job", {"job": "j1"})
        after = await client.call_tool("watch_job", {"job": "j1"})
    assert (get_data(idle), get_data(of_nothing)) == ({}, {})
    assert get_data(of_prompt)["job"] == "j1"
    assert get_data(handed_back) == {"job": "j1"}
    assert get_data(watched)["job"] == "j1"
    assert not get_data(watched)["isDone"]
    assert 0 <= get_data(watched)["fraction"] < 1
    assert images[0].size == (16, 16), "a pixel for each cell of the latent"
    assert get_data(after)["isDone"]


async def test_a_search_shows_a_view_texts_of_others_as_they_are_to_be_read(
    in_process: Any, simulator: Simulator
) -> None:
    hostile = "</script><script>alert(1)</script>"
    async with open_server(in_process, simulator, extensions=TAKES_VIEWS) as client:
        await client.call_tool("generate_image", {"prompt": hostile, **SMALL})
        found = await client.call_tool("search_images", {"query": "script"})
    (picture,) = get_data(found)["pictures"]
    assert "“" in picture["about"]
    assert json.dumps(picture["about"]) in json.dumps(found.model_dump(by_alias=True, mode="json"))


async def test_tools_for_views_are_strict(in_process: Any, simulator: Simulator) -> None:
    async with open_server(in_process, simulator, extensions=TAKES_VIEWS) as client:
        sized = await client.call_tool("view_images", {"images": ["v1"], "max_egde": 64})
        many = await client.call_tool("view_images", {"images": ["v1"] * 26})
        named = await client.call_tool("watch_job", {"jobs": "j1"})
    for refused, words in (
        (sized, "max_egde: there is no such argument. Did you mean 'max_edge'?"),
        (many, "images: takes at most 25 items, got 26"),
        (named, "jobs: there is no such argument. Did you mean 'job'?"),
    ):
        assert refused.is_error
        assert words in refused.content[0].text


async def test_a_view_knows_how_each_picture_was_made_and_which_are_parts(
    in_process: Any, simulator: Simulator
) -> None:
    prompts, long = ["a fox wakes", "a fox runs"], "a fox " * 1_000
    async with open_server(in_process, simulator, extensions=TAKES_VIEWS) as client:
        told = await client.call_tool("generate_image", {"prompts": prompts, "seed": 0, **SMALL})
        reviewed = await client.call_tool("review_image", {"images": ["v1", "v2"]})
        part = await client.call_tool("review_image", {"images": ["v1"], "box": [0, 0, 0.5, 0.5]})
        much = await client.call_tool("generate_image", {"prompt": long, **SMALL})
    for result in (told, reviewed):
        pictures = [picture for picture in get_data(result)["pictures"] if picture["id"].startswith("v")]
        assert [picture["prompt"] for picture in pictures] == prompts
        assert [picture["seed"] for picture in pictures] == [0, 1]
        assert all(picture["simulated"] and picture["model"] for picture in pictures)
    assert "isPart" not in get_data(reviewed)
    assert get_data(part)["isPart"]
    assert len(get_data(much)["pictures"][0]["prompt"]) == 400
    assert get_data(much)["prompt"] == long, "by which it can be drawn again"


async def test_what_a_view_fetched_is_there_for_the_model_that_asks_again(
    in_process: Any, simulator: Simulator
) -> None:
    by_view, call = {VIEW_KEY: True}, {"prompt": "a fox", **SMALL}

    async def fetch(client: Any) -> CallToolResult:
        with anyio.fail_after(60):
            while "pictures" not in get_data(got := await client.call_tool("get_job", {"job": "j1"}, meta=by_view)):
                pass
        assert isinstance(got, CallToolResult)
        return got

    async with open_server(in_process, simulator, extensions=TAKES_VIEWS, max_wait="0") as client:
        assert get_data(await client.call_tool("generate_image", call)) == {"job": "j1"}
        fetched = await fetch(client)
        by_button = await client.call_tool("generate_image", call, meta=by_view)
        asked_again = await client.call_tool("generate_image", call)
        later = await client.call_tool("generate_image", call)
    assert get_data(fetched)["pictures"] == get_data(asked_again)["pictures"]
    assert list_images(asked_again)
    assert get_data(by_button) == {"job": "j2"}, "a button draws anew"
    assert get_data(later) == {"job": "j3"}, "the model has those of the first"
