"""Our views in a chat that is made of the extension's own host library, against our server as a process."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.extension import advertise
from mcp.types import CallToolResult, Implementation
from PIL import Image

if TYPE_CHECKING:
    from playwright.async_api import FrameLocator, Locator, Page

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

ROOT = Path(__file__).parents[2]
AXE = ROOT / "build" / "host" / "node_modules" / "axe-core" / "axe.min.js"
VIEW_KEY = "drawthings-mcp/view"
UI = "io.modelcontextprotocol/ui"
VARIABLES = {"--color-text-primary": "rgb(1, 2, 3)", "--color-ring-primary": "rgb(200, 30, 90)"}
SIZE: dict[str, Any] = {"width": 512, "height": 384}


class Chat:
    """A chat with our server behind it.

    Attributes
    ----------
    calls
        What views called, and what came of it.
    requests
        What a view asked the network for.
    refused
        Tools that views may not call.
    """

    def __init__(self, page: Page, client: Client) -> None:
        self.page = page
        self.client = client
        self.calls: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.requests: list[str] = []
        self.refused: set[str] = set()
        page.on("request", lambda request: self.requests.append(request.url))

    @property
    def view(self) -> FrameLocator:
        """The page that is shown."""
        return self.page.frame_locator("iframe")

    def button(self, name: str) -> Locator:
        """A button of the view."""
        return self.view.get_by_role("button", name=name, exact=True)

    async def prepare(self) -> None:
        """Has calls of views answered by the server."""
        await self.page.expose_function("callTool", self._call)

    async def _call(self, params: dict[str, Any]) -> dict[str, Any]:
        if params["name"] in self.refused:
            raise PermissionError("The user does not want that.")
        result = await self.client.call_tool(params["name"], params.get("arguments", {}), meta=params.get("_meta"))
        answer = dump(result)
        self.calls.append((params, answer))
        return answer

    async def open(
        self, tool: str, theme: str = "light", *, can_call: bool = True, width: int = 700, **context: Any
    ) -> None:
        """Opens the view of a tool; the context is what the chat says of itself."""
        listed = {one.name: one for one in (await self.client.list_tools()).tools}[tool]
        uri = (listed.meta or {})["ui"]["resourceUri"]
        html = (await self.client.read_resource(uri)).contents[0]
        options = {
            "html": getattr(html, "text", ""),
            "width": width,
            "canCall": can_call,
            "context": {"theme": theme, **context},
        }
        await self.page.evaluate("options => openView(options)", options)

    async def ask(self, tool: str, theme: str = "light", width: int = 700, /, **arguments: Any) -> CallToolResult:
        """A model's call, with its view."""
        await self.open(tool, theme, width=width)
        await self.page.evaluate("arguments => sendInput(arguments)", arguments)
        result = await self.client.call_tool(tool, arguments)
        await self.send(result)
        return result

    async def send(self, result: CallToolResult) -> None:
        """Hands a result to the view."""
        await self.page.evaluate("result => sendResult(result)", dump(result))

    async def see(self, what: str) -> Any:
        """What the chat heard of the view."""
        return await self.page.evaluate(f"seen.{what}")

    def list_calls(self, name: str) -> list[dict[str, Any]]:
        """The arguments of the view's calls of a tool."""
        return [params["arguments"] for params, _ in self.calls if params["name"] == name]

    async def take_picture(self, name: str) -> None:
        """Keeps how it looks for the documentation, where that is asked for."""
        data = await self.page.locator("iframe").screenshot(type="jpeg", quality=80)
        if "SCREENSHOTS" in os.environ:
            (ROOT / "docs" / "images" / f"view-{name}.jpg").write_bytes(data)


def dump(result: CallToolResult) -> dict[str, Any]:
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    folder = tmp_path_factory.mktemp("views")
    environment = {
        "HOME": os.environ["HOME"],
        "DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(folder / "state"),
    }
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "drawthings_mcp", "--server", "demo"], env=environment
    )
    extensions = [advertise(UI, {"mimeTypes": ["text/html;profile=mcp-app"]})]
    info = Implementation(name="mcp-inspector", version="1.2")
    async with Client(command, read_timeout_seconds=60, client_info=info, extensions=extensions) as client:
        yield client


@pytest.fixture
async def talk(chat: Page, client: Client) -> AsyncIterator[Chat]:
    talk = Chat(chat, client)
    await talk.prepare()
    faults: list[str] = []
    chat.on("pageerror", lambda error: faults.append(str(error)))
    chat.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    yield talk
    assert faults == []
    assert [url for url in talk.requests if not url.startswith(("data:", "about:"))] == []


async def find_id(talk: Chat) -> str:
    """The picture that is looked at, once it is there in large."""
    picture = talk.view.locator(".picture")
    await picture.wait_for()
    return str(await picture.get_attribute("alt")).split()[0]


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_made_pictures_are_shown_large_in_the_chats_colours(talk: Chat, theme: str) -> None:
    prompt = "a red fox in the snow <img src=x onerror=alert(1)>"
    result = await talk.ask("generate_image", theme, prompt=prompt, variants=3, **SIZE)
    ids = [picture["id"] for picture in (result.meta or {})["drawthings-mcp/view"]["pictures"]]
    assert await find_id(talk) == ids[0]
    await talk.view.get_by_text("seed").wait_for()
    assert prompt in await talk.view.locator(".prompt").inner_text(), "as text, and as nothing else"
    width = await talk.view.locator(".picture").evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert width == SIZE["width"]
    await talk.button(ids[2]).click()
    assert await find_id(talk) == ids[2]
    await talk.page.keyboard.press("ArrowLeft")
    assert await find_id(talk) == ids[1]
    colour = await talk.view.locator("body").evaluate("body => getComputedStyle(body).color")
    assert colour == ("rgb(27, 27, 31)" if theme == "light" else "rgb(236, 236, 241)")
    if theme == "light":
        await talk.take_picture("result")


async def test_a_view_takes_the_chats_own_colours_and_reports_its_size(talk: Chat) -> None:
    await talk.open("generate_image", styles={"variables": VARIABLES})
    await talk.send(await talk.client.call_tool("generate_image", {"prompt": "a fox", **SIZE}))
    await find_id(talk)
    colour = await talk.view.locator("body").evaluate("body => getComputedStyle(body).color")
    assert colour == VARIABLES["--color-text-primary"]
    await talk.page.wait_for_function("seen.sizes.at(-1)?.height > 300")
    await talk.button("Full screen").click()
    await talk.button("Smaller").click()
    await talk.button("Full screen").wait_for()
    assert await talk.see("modes") == ["fullscreen", "inline"]
    await talk.page.wait_for_function("document.querySelector('iframe').clientHeight < 800")
    fits = await talk.view.locator("html").evaluate(
        "html => html.scrollHeight <= window.innerHeight + 1 && html.scrollWidth <= window.innerWidth"
    )
    assert fits


async def test_pictures_are_kept_repeated_varied_and_enlarged(talk: Chat) -> None:
    await talk.ask("generate_image", prompt="a lighthouse at dusk", **SIZE)
    first = await find_id(talk)
    await talk.button("☆ Keep").click()
    await talk.button("★ Kept").wait_for()
    found = await talk.client.call_tool("search_images", {"tag": "kept"})
    assert first in found.content[0].text  # type: ignore[union-attr]
    made = [first]
    for name in ("Again", "Vary", "Bigger"):
        await talk.button(name).click()
        await talk.view.locator(f'.picture:not([alt^="{made[-1]} "])').wait_for()
        made.append(await find_id(talk))
    assert len(set(made)) == 4
    assert talk.list_calls("generate_image") == [
        {"settings_from": made[0], "seed": -1},
        {"settings_from": made[1], "strength": 0.5, "seed": -1, "canvas": made[1], "mode": "image2image"},
    ]
    assert talk.list_calls("transform_image") == [{"operation": "upscale", "images": [made[2]]}]
    (context, *_) = reversed(await talk.see("contexts"))
    for line in (f"keeps {first}", f"made {made[1]} from {made[0]}", f"made {made[3]} from {made[2]}"):
        assert line in context["content"][0]["text"]
    await talk.button("Compare").click()
    await talk.view.get_by_role("slider", name="Compare").wait_for()


async def test_a_render_is_followed_and_stopped(talk: Chat, tmp_path: Path) -> None:
    await talk.ask("generate_image", prompt="a harbour", **SIZE)
    first = await find_id(talk)
    await talk.open("generate_image")
    arguments = {"prompt": "a slow harbour", "steps": 150, "variants": 4, "width": 1024, "height": 1024}
    await talk.page.evaluate("arguments => sendInput(arguments)", arguments)
    import anyio

    results: list[CallToolResult] = []

    async def call() -> None:
        results.append(await talk.client.call_tool("generate_image", arguments))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await talk.view.get_by_role("img", name="So far").wait_for()
        tasks.start_soon(talk.client.call_tool, "generate_image", {"prompt": "another call at once", **SIZE})
        watched = len(talk.list_calls("watch_job"))
        while len(talk.list_calls("watch_job")) < watched + 2:
            await talk.page.wait_for_function("true")
        assert "%" in await talk.view.locator(".progress span").inner_text()
        await talk.button("Stop").click()
    await talk.send(results[0])
    await talk.view.get_by_text("was cancelled").wait_for()
    assert first
    assert "was cancelled" in dump(results[0])["content"][0]["text"]
    assert await talk.view.locator("progress").is_hidden()


async def test_two_pictures_are_compared_with_pointer_and_keys(talk: Chat) -> None:
    for theme in ("light", "dark"):
        made = await talk.client.call_tool("generate_image", {"prompt": "hills", "variants": 2, **SIZE})
        ids = [picture["id"] for picture in (made.meta or {})["drawthings-mcp/view"]["pictures"]]
        await talk.ask("review_image", theme, images=ids)
        slider = talk.view.get_by_role("slider", name=f"Compare {ids[0]} with {ids[1]}")
        await slider.wait_for()
        box = await slider.bounding_box()
        assert box is not None
        await talk.page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
        share = float(await slider.input_value())
        assert 20 < share < 30
        await slider.press("ArrowRight")
        assert float(await slider.input_value()) > share


async def paint_box(talk: Chat, left: float, top: float, right: float, bottom: float) -> None:
    """With the mouse; shares of the picture."""
    canvas = talk.view.locator("canvas")
    await canvas.wait_for()
    await canvas.scroll_into_view_if_needed()
    box = await canvas.bounding_box()
    assert box is not None
    corners = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in ((left, top), (right, bottom))]
    await talk.page.mouse.move(*corners[0])
    await talk.page.mouse.down()
    await talk.page.mouse.move(*corners[1], steps=5)
    await talk.page.mouse.up()


async def read_mask(talk: Chat, name: str) -> Image.Image:
    result = await talk.client.call_tool("view_images", {"images": [name], "max_edge": 2048})
    (image,) = [block for block in dump(result)["content"] if block["type"] == "image"]
    return Image.open(io.BytesIO(base64.b64decode(image["data"]))).convert("L")


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_a_mask_painted_with_the_mouse_arrives_and_inpaints(talk: Chat, theme: str) -> None:
    await talk.ask("generate_image", theme, prompt="a meadow with one tree", **SIZE)
    canvas = await find_id(talk)
    await talk.button("Paint a mask").click()
    await talk.button("Box").click()
    await paint_box(talk, 0.25, 0.25, 0.5, 0.75)
    await paint_box(talk, 0.6, 0.1, 0.9, 0.2)
    await talk.button("Undo").click()
    await talk.button("Eraser").click()
    await paint_box(talk, 0.25, 0.25, 0.3, 0.25)
    await talk.view.get_by_role("textbox", name="What shall be there?").fill("a red barn")
    if theme == "dark":
        await talk.take_picture("mask")
    await talk.button("Inpaint").click()
    await talk.view.locator(".picture").wait_for()
    made = await find_id(talk)
    (asked,) = talk.list_calls("generate_image")
    assert asked == {"prompt": "a red barn", "canvas": canvas, "mask": asked["mask"]}
    mask = await read_mask(talk, asked["mask"])
    assert mask.size == (SIZE["width"], SIZE["height"])
    levels = {place: mask.getpixel((int(512 * place[0]), int(384 * place[1]))) for place in MASKED}
    assert {place: bool(level and int(str(level)) > 127) for place, level in levels.items()} == MASKED
    (answer,) = [answer for params, answer in talk.calls if params["name"] == "generate_image"]
    assert not answer.get("isError")
    assert f"from canvas {canvas}, mask {asked['mask']}" in answer["content"][0]["text"]
    assert made in answer["content"][0]["text"]
    context = (await talk.see("contexts"))[-1]["content"][0]["text"]
    assert f"painted the mask {asked['mask']} over {canvas}" in context


MASKED = {(0.4, 0.5): True, (0.45, 0.7): True, (0.7, 0.5): False, (0.75, 0.15): False, (0.27, 0.25): False}
"""Shares of the picture: inside the box, outside, where a box was undone, and where the eraser went."""


async def test_a_mask_of_the_model_is_painted_further(talk: Chat) -> None:
    made = await talk.client.call_tool("generate_image", {"prompt": "a pond", **SIZE})
    canvas = (made.meta or {})["drawthings-mcp/view"]["pictures"][0]["id"]
    await talk.ask("transform_image", operation="mask_rectangle", images=[canvas], boxes=[[0, 0, 0.25, 1]])
    await talk.button("Box").click()
    await paint_box(talk, 0.75, 0.1, 0.95, 0.9)
    await talk.button("Keep mask").click()
    await talk.view.get_by_text("The mask is i").wait_for()
    name = (await talk.view.locator(".status").inner_text()).removeprefix("The mask is ").rstrip(".")
    mask = await read_mask(talk, name)
    assert [int(str(mask.getpixel((int(512 * x), 192)))) > 127 for x in (0.1, 0.5, 0.85)] == [True, False, True]


async def test_a_mask_is_painted_with_keys_alone(talk: Chat) -> None:
    await talk.ask("generate_image", prompt="a wall", **SIZE)
    await find_id(talk)
    await talk.button("Paint a mask").press("Enter")
    canvas = talk.view.locator("canvas")
    await canvas.focus()
    for key in ("r", "Space", *["ArrowRight"] * 12, *["ArrowDown"] * 10, "Space", "b", *["ArrowLeft"] * 30, "Space"):
        await canvas.press(key)
    await talk.button("Keep mask").press("Enter")
    await talk.view.get_by_text("The mask is i").wait_for()
    name = (await talk.view.locator(".status").inner_text()).removeprefix("The mask is ").rstrip(".")
    mask = await read_mask(talk, name)
    inside, outside, dabbed = [int(str(mask.getpixel(place))) > 127 for place in ((300, 220), (100, 100), (72, 294))]
    assert (inside, outside, dabbed) == (True, False, True)


async def test_a_search_is_a_wall_that_goes_on(talk: Chat) -> None:
    hostile = '<b onmouseover="alert(1)">kite</b>'
    for number in range(3):
        await talk.client.call_tool("generate_image", {"prompt": f"{hostile} {number}", "width": 128, "height": 128})
    for theme in ("light", "dark"):
        await talk.ask("search_images", theme, query="kite", limit=2)
        tiles = talk.view.locator(".tile")
        await tiles.nth(1).wait_for()
        assert await tiles.count() == 2
        await talk.button("More").click()
        await tiles.nth(2).wait_for()
        assert hostile in str(await tiles.nth(2).get_attribute("title"))
        await talk.view.get_by_role("searchbox").fill("kite 1")
        await talk.view.get_by_role("searchbox").press("Enter")
        await talk.view.get_by_role("group", name="Found: kite 1").wait_for()
        await tiles.first.click()
        assert (await find_id(talk)).startswith("v")
        await talk.button("All").click()
        await tiles.first.wait_for()
    assert {"query": "kite 1", "limit": 2, "offset": 0} in talk.list_calls("search_images")
    assert await talk.view.locator("main b").count() == 0


async def test_a_chat_that_lets_views_call_nothing_shows_what_came(talk: Chat) -> None:
    await talk.open("generate_image", can_call=False)
    result = await talk.client.call_tool("generate_image", {"prompt": "a quiet street", **SIZE})
    await talk.send(CallToolResult(content=result.content))
    await talk.view.locator(".picture").wait_for()
    assert await talk.view.get_by_role("toolbar").locator("button").count() == 0
    assert talk.calls == []
    assert json.dumps(await talk.see("contexts")) == "[]"


async def draw(talk: Chat, prompt: str, **arguments: Any) -> list[str]:
    """Pictures that a model had drawn before; their ids."""
    made = await talk.client.call_tool("generate_image", {"prompt": prompt, **SIZE, **arguments})
    return [picture["id"] for picture in (made.meta or {})[VIEW_KEY]["pictures"]]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 900])
async def test_no_view_has_serious_faults_or_scrolls_sideways(talk: Chat, theme: str, width: int) -> None:
    (wide,), (tall,) = await draw(talk, "a kite"), await draw(talk, "a kite", width=256, height=512)

    async def check() -> None:
        frame = talk.page.frames[-1]
        assert await frame.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        # The view is transparent, and the axe takes what is below for white.
        await frame.evaluate("document.documentElement.style.background = 'Canvas'")
        await frame.evaluate(AXE.read_text(encoding="utf-8"))
        found = await frame.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in serious] == []

    await talk.ask("generate_image", theme, width, prompt="a kite " + "over-the-sea" * 30, variants=4, **SIZE)
    await find_id(talk)
    await check()
    await talk.ask("review_image", theme, width, images=[wide, tall])
    await talk.view.get_by_role("slider").wait_for()
    await check()
    await talk.ask("transform_image", theme, width, operation="mask_rectangle", images=[tall], boxes=[[0, 0, 0.5, 1]])
    await talk.view.locator("canvas").wait_for()
    await check()
    await talk.ask("search_images", theme, width, query="kite", limit=3)
    await talk.view.locator(".tile").nth(2).wait_for()
    await check()


async def test_of_many_pictures_the_sheet_is_first_and_each_has_its_own_prompt(talk: Chat) -> None:
    prompts = [f"a knight, part {number}" for number in range(12)]
    await talk.open("generate_image")
    await talk.send(await talk.client.call_tool("generate_image", {"prompts": prompts, **SIZE}))
    assert (await find_id(talk)).startswith("i"), "which has the labels"
    thumbs = talk.view.locator(".thumb")
    await thumbs.nth(1).click()
    for place in range(1, 13):
        await talk.view.get_by_text(prompts[place - 1], exact=True).wait_for()
        thumb = await thumbs.nth(place).bounding_box()
        strip = await talk.view.locator(".strip").bounding_box()
        assert thumb is not None
        assert strip is not None
        assert strip["x"] <= thumb["x"] <= strip["x"] + strip["width"] - thumb["width"], "in sight"
        await talk.page.keyboard.press("ArrowRight")


async def test_pictures_of_other_shapes_are_compared_whole(talk: Chat) -> None:
    wide, tall = (await draw(talk, "hills"))[0], (await draw(talk, "a tower", width=256, height=512))[0]
    for pair in ((wide, tall), (tall, wide)):
        await talk.ask("review_image", images=pair)
        slider = talk.view.locator(".slider")
        await slider.wait_for()
        shape = await slider.bounding_box()
        assert shape is not None
        for side in ("before", "after"):
            image = await talk.view.locator(f".slider img.{side}").bounding_box()
            assert image is not None
            assert [image[name] for name in ("width", "height")] == pytest.approx([shape["width"], shape["height"]])


async def test_a_part_is_shown_as_the_model_sees_it_and_leads_to_the_whole(talk: Chat) -> None:
    (whole,) = await draw(talk, "a village")
    await talk.ask("review_image", images=[whole], box=[0, 0, 0.25, 0.25])
    picture = talk.view.locator(".picture")
    await picture.wait_for()
    assert str(await picture.get_attribute("alt")).startswith(f"part of {whole}")
    await talk.button("Whole picture").click()
    await talk.view.locator(f'.picture[alt^="{whole} "]').wait_for()
    await talk.view.get_by_text("512×384").wait_for()
    await talk.button("Paint a mask").wait_for()


async def test_a_chat_with_little_room_gets_a_small_view_and_its_theme_at_any_time(talk: Chat) -> None:
    await talk.open("generate_image", containerDimensions={"maxHeight": 420, "maxWidth": 700})
    await talk.send(await talk.client.call_tool("generate_image", {"prompt": "a fox", **SIZE}))
    await find_id(talk)
    await talk.page.wait_for_function("seen.sizes.at(-1)?.height > 200")
    assert (await talk.see("sizes"))[-1]["height"] <= 420
    await talk.page.evaluate("sendContext({ theme: 'dark' })")
    body = talk.view.locator("body")
    await talk.view.locator("html[data-theme=dark]").wait_for()
    assert await body.evaluate("body => getComputedStyle(body).color") == "rgb(236, 236, 241)"
    await talk.page.evaluate("sendContext({ containerDimensions: { maxHeight: 900 } })")
    await talk.page.wait_for_function("seen.sizes.at(-1)?.height > 420")


async def test_what_is_painted_stays_until_another_picture_is_painted_on(talk: Chat) -> None:
    await talk.ask("generate_image", prompt="a lawn", **SIZE)
    canvas = await find_id(talk)
    await talk.button("Paint a mask").click()
    await talk.button("Box").click()
    await paint_box(talk, 0.1, 0.1, 0.4, 0.4)
    await talk.button("Full screen").click()
    await talk.button("Smaller").wait_for()
    await talk.button("Back").click()
    await talk.button("Paint a mask").click()
    await paint_box(talk, 0.6, 0.6, 0.9, 0.9)
    await talk.view.get_by_role("textbox").fill("a pond")
    await talk.button("Inpaint").click()
    await talk.view.locator(".picture").wait_for()
    made = await find_id(talk)
    (asked,) = talk.list_calls("generate_image")
    mask = await read_mask(talk, asked["mask"])
    assert [int(str(mask.getpixel((int(512 * x), int(384 * x))))) > 127 for x in (0.25, 0.5, 0.75)] == [
        True,
        False,
        True,
    ]
    await talk.button("Compare").click()
    await talk.view.get_by_role("slider", name=f"Compare {canvas} with {made}").wait_for()


async def test_a_call_that_the_chat_refuses_is_said_and_leaves_the_view_usable(talk: Chat) -> None:
    talk.refused = {"view_images", "watch_job", "generate_image"}
    await talk.ask("generate_image", prompt="a lake", **SIZE)
    first = await find_id(talk)
    await talk.view.get_by_text("does not want that").wait_for()
    await talk.button("Again").click()
    await talk.view.get_by_text("does not want that").wait_for()
    talk.refused = set()
    await talk.button("Again").click()
    await talk.view.locator(f'.picture:not([alt^="{first} "])').wait_for()


async def test_a_closed_view_asks_for_nothing_more(talk: Chat) -> None:
    await talk.open("generate_image")
    await talk.page.evaluate("sendInput({ prompt: 'a slow harbour' })")
    watched = "() => seen.asked.filter((name) => name === 'watch_job').length"
    await talk.page.wait_for_function(f"({watched})() > 1")
    await talk.page.evaluate("closeView()")
    before = await talk.page.evaluate(watched)
    await talk.send(CallToolResult(content=[], _meta={VIEW_KEY: {"job": "j1"}}))
    await talk.view.get_by_text("The chat has closed this.").wait_for()
    assert await talk.page.evaluate(watched) == before


async def test_results_and_strangers_cannot_take_the_place_of_what_is_shown(talk: Chat) -> None:
    await talk.open("generate_image")
    text = {"content": [{"type": "text", "text": "All is lost."}]}
    message = {"jsonrpc": "2.0", "method": "ui/notifications/tool-result", "params": text}
    await talk.page.evaluate("message => sayFromElsewhere(message)", message)
    await talk.send(await talk.client.call_tool("generate_image", {"prompt": "a fox", **SIZE}))
    first = await find_id(talk)
    await talk.page.evaluate("result => sendResult(result)", text)
    await talk.page.evaluate("sendCancelled()")
    await talk.button("Again").click()
    await talk.view.locator(f'.picture:not([alt^="{first} "])').wait_for()
    assert await talk.view.get_by_text("All is lost.").count() == 0


async def test_a_search_goes_on_where_the_models_ended(talk: Chat) -> None:
    ids = [(await draw(talk, f"zeppelin {number}", width=128, height=128))[0] for number in range(5)]
    await talk.ask("search_images", query="zeppelin", limit=2, offset=1)
    await talk.button("More").click()
    tiles = talk.view.locator(".tile")
    await tiles.nth(3).wait_for()
    assert await tiles.all_inner_texts() == ids[3::-1]
    await tiles.first.press("Enter")
    assert await find_id(talk) == ids[3]
    await talk.page.keyboard.press("ArrowRight")
    await talk.view.locator(f'.picture[alt^="{ids[2]} "]').wait_for()
    await talk.button("All").click()
    assert await talk.button("More").count() == 0
