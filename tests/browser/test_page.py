"""The gallery's page in a real browser, against the server as a process."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from PIL import Image

from tests.http_process import HttpProcess, serve_http

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Route, ViewportSize

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

ROOT = Path(__file__).parents[2]
AXE = ROOT / "build" / "host" / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>'
PROMPTS = (
    ("A lighthouse on a cliff at dawn, soft fog", "landscape"),
    ("Portrait of an old fisherman, window light", "portrait"),
    ("Mountain lake with a small wooden boat", "16:9"),
    ("A red fox in fresh snow", "square"),
    ("City tram in the rain at night", "16:9"),
    ("A forest path in autumn", "portrait"),
    ("Desert road under stars", "landscape"),
    (HOSTILE, "square"),
)
WIDE: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
DROP = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0)), files = new DataTransfer();
  files.items.add(new File([bytes], name, { type: "image/png" }));
  const values = { dataTransfer: files, bubbles: true, cancelable: true };
  for (const kind of ["dragenter", "dragover", "drop"]) document.body.dispatchEvent(new DragEvent(kind, values));
}"""


async def call(server: HttpProcess, tool: str, **arguments: Any) -> str:
    """The text of a result, as a chat client gets it."""
    async with server.client() as client:
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        return str(getattr(result.content[0], "text", ""))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpProcess]:
    folder = tmp_path_factory.mktemp("page")
    environment = {
        "HOME": str(folder),
        "DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(folder / "state"),
    }
    with serve_http(environment) as process:
        yield process


@pytest.fixture(scope="module")
async def library(server: HttpProcess) -> list[str]:
    """Ids of pictures, by the order of ``PROMPTS``; and of one that was made from the first."""
    texts = [
        await call(server, "generate_image", prompt=prompt, image_format=shape, steps=2) for prompt, shape in PROMPTS
    ]
    ids = [re.findall(r"^v\d+", text, re.MULTILINE)[0] for text in texts]
    text = await call(server, "generate_image", prompt="make the sky orange", canvas=ids[0], steps=2)
    return [*ids, re.findall(r"^v\d+", text, re.MULTILINE)[0]]


@pytest.fixture
async def page(browser: Browser, server: HttpProcess, library: list[str]) -> AsyncIterator[Page]:
    """A signed-in page in the dark that talks to nobody but its server, and has no errors."""
    context = await browser.new_context(viewport=WIDE, color_scheme="dark")
    opened = await context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    code = await make_code(server)
    await opened.goto(f"{address(server)}#code={code}")
    await opened.wait_for_selector(".tile.loaded")
    yield opened
    own = (address(server), f"blob:{address(server)}")
    assert [url for url in asked if not url.startswith((*own, "data:"))] == []
    assert errors == []
    await context.close()


def address(server: HttpProcess) -> str:
    return server.url.removesuffix("mcp")


async def make_code(server: HttpProcess) -> str:
    import json

    _, body = server.ask("POST", "/gallery/link", b"{}", token=server.token, Content_Type="application/json")
    return str(json.loads(body)["code"])


async def shoot(page: Page, name: str) -> None:
    """A screenshot for the documentation, when they are asked for; elsewhere it is only looked that it can be made."""
    data = await page.screenshot(type="jpeg", quality=82)
    if "SCREENSHOTS" in os.environ:
        (ROOT / "docs" / "images" / f"{name}.jpg").write_bytes(data)


async def open_picture(page: Page, image_id: str, view: str = "") -> None:
    await page.evaluate("hash => { location.hash = hash; }", f"{image_id}{view}")
    await page.wait_for_selector(f'#over[data-shown="{image_id}{view}"]', state="attached")


async def test_the_link_leaves_nothing_in_the_address(page: Page) -> None:
    assert "code" not in page.url
    cookies = await page.context.cookies()
    assert [(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies] == [(True, "Lax")]


async def test_an_old_link_is_no_harm_to_who_is_signed_in_and_explained_to_others(
    page: Page, browser: Browser, server: HttpProcess
) -> None:
    old = f"{address(server)}#code={'A' * 22}"
    async with page.expect_navigation():
        await page.evaluate("url => { location.href = url; }", old)
    await page.wait_for_selector(".tile.loaded")
    context = await browser.new_context()
    other = await context.new_page()
    await other.goto(old)
    await other.get_by_text("That link was used or is too old.").wait_for()
    assert await other.evaluate("document.activeElement.id") == "token"
    await context.close()


async def test_who_has_no_link_signs_in_with_the_token(
    browser: Browser, server: HttpProcess, library: list[str]
) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(address(server))
    await page.get_by_label("Token").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text("Nobody has that token.").wait_for()
    await page.get_by_label("Token").fill(server.token)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_selector(".tile.loaded")
    await context.close()


async def test_pictures_are_found_as_words_are_typed_and_opened_with_their_recipe_and_lineage(
    page: Page, server: HttpProcess, library: list[str]
) -> None:
    await page.wait_for_function("() => document.querySelectorAll('.tile.loaded').length >= 9")
    await shoot(page, "gallery")
    await page.get_by_role("searchbox").type("lighthou")
    await page.get_by_text("1 picture", exact=True).wait_for()
    await page.locator(".tile a").click()
    await page.get_by_role("heading", name=library[0], exact=True).wait_for()
    assert await page.locator(".prompt").inner_text() == PROMPTS[0][0]
    recipe = await page.locator(".recipe").first.inner_text()
    assert re.search(r"Steps\s+2", recipe)
    await page.locator(".branch", has_text="What came of it").locator(f'a[href="#{library[-1]}"]').click()
    await page.get_by_role("heading", name=library[-1], exact=True).wait_for()
    await page.locator(".branch", has_text="Made from").locator(f'a[href="#{library[0]}"]').wait_for()
    text = await call(server, "transform_image", operation="crop", images=[library[-1]], boxes=[[0, 0, 0.5, 0.5]])
    crop = re.findall(r"\bi\d+\b", text)[0]
    await open_picture(page, library[0])
    await page.locator(f'.branch li:has(> a[href="#{library[-1]}"]) li a[href="#{crop}"]').click()
    await page.locator(f'.branch li:has(> a[href="#{library[-1]}"]) li a[href="#{library[0]}"]').click()
    await page.get_by_role("heading", name=library[0], exact=True).wait_for()
    await open_picture(page, library[-1])
    await page.wait_for_function("() => document.querySelector('.stage img').src.includes('/images/')")
    await shoot(page, "gallery-picture")


async def test_a_picture_is_zoomed_to_its_pixels_and_back(page: Page, library: list[str]) -> None:
    await open_picture(page, library[0])
    share = page.locator(".share")
    whole = await share.inner_text()
    await page.locator(".stage").dblclick()
    assert await share.inner_text() == "100 %"
    await page.get_by_role("button", name="Whole picture").click()
    assert await share.inner_text() == whole


async def test_a_picture_that_is_left_and_opened_again_is_drawn_once(page: Page, library: list[str]) -> None:
    held: list[Route] = []
    come = anyio.Event()

    async def hold(route: Route) -> None:
        held.append(route)
        come.set()

    told = re.compile(rf"/gallery/pictures/{library[0]}\b")
    await page.route(told, hold, times=1)
    await page.evaluate("id => { location.hash = id; }", library[0])
    await come.wait()
    await page.evaluate("() => { location.hash = ''; }")
    await open_picture(page, library[0])
    heading = await page.get_by_role("heading", name=library[0], exact=True).element_handle()
    assert heading is not None
    async with page.expect_response(told) as answer:
        await held[0].continue_()
    await (await answer.value).finished()
    await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    assert await heading.evaluate("element => element.isConnected")


async def test_two_pictures_are_compared_with_pointer_and_keys(page: Page, library: list[str]) -> None:
    for image_id in (library[0], library[-1]):
        await page.locator(f'.tile:has(a[data-id="{image_id}"])').hover()
        await page.get_by_role("button", name=f"Select {image_id}").click()
    await page.get_by_role("button", name="Compare").click()
    slider = page.get_by_role("slider")
    await slider.wait_for()
    before = await slider.input_value()
    await slider.focus()
    await page.keyboard.press("ArrowRight")
    assert float(await slider.input_value()) > float(before)
    frame = await page.locator(".slider").bounding_box()
    assert frame is not None
    await page.mouse.click(frame["x"] + frame["width"] * 0.25, frame["y"] + frame["height"] / 2)
    assert abs(float(await slider.input_value()) - 25) < 4


async def test_a_dropped_file_gets_an_id_that_a_chat_can_use(page: Page, server: HttpProcess) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (320, 200), "#3366cc").save(stream, "PNG")
    name = "<b onmouseover=alert(1)>holiday.png"
    await page.evaluate(DROP, [name, base64.b64encode(stream.getvalue()).decode()])
    said = page.locator(".toast", has_text=" is a")
    await said.wait_for()
    text = await said.locator("span").first.inner_text()
    assert text.startswith(name)
    image_id = text.split()[-1]
    assert "320×200" in await call(server, "review_image", images=[image_id])
    await page.locator(f'a[data-id="{image_id}"]').wait_for()


async def test_what_is_no_picture_is_refused_by_name(page: Page) -> None:
    await page.evaluate(DROP, ["notes.txt", base64.b64encode(b"hello").decode()])
    await page.locator(".toast.bad", has_text="notes.txt").wait_for()


async def test_a_painted_mask_becomes_a_picture_that_inpaints(
    page: Page, server: HttpProcess, library: list[str]
) -> None:
    await open_picture(page, library[3], "/mask")
    canvas = page.locator(".painter canvas")
    await page.wait_for_function("() => document.querySelector('.painter canvas').getBoundingClientRect().width > 200")
    box = await canvas.bounding_box()
    assert box is not None

    async def draw(*points: tuple[float, float]) -> None:
        assert box is not None
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        await page.mouse.move(*places[0])
        await page.mouse.down()
        for place in places[1:]:
            await page.mouse.move(*place, steps=4)
        await page.mouse.up()

    await draw((0.1, 0.1), (0.3, 0.1))
    await page.get_by_role("button", name="Undo").click()
    await page.get_by_role("button", name="Box").click()
    await draw((0.25, 0.25), (0.75, 0.75))
    await page.get_by_role("button", name="Eraser").click()
    await draw((0.5, 0.5), (0.51, 0.51))
    await page.get_by_role("button", name="Keep mask").click()
    mask = await page.locator(".result b").inner_text()
    assert re.fullmatch(r"i\d+", mask)
    await shoot(page, "gallery-mask")
    response, data = server.ask("GET", f"/images/{mask}", token=server.token)
    assert response.status == 200
    with Image.open(io.BytesIO(data)) as image:
        kept = image.convert("L")
    width, height = kept.size

    def level(x: float, y: float) -> object:
        return kept.getpixel((int(x * width), int(y * height)))

    assert [level(0.3, 0.3), level(0.7, 0.3), level(0.2, 0.1), level(0.5, 0.5), level(0.9, 0.9)] == [255, 255, 0, 0, 0]
    text = await call(server, "generate_image", prompt="a grey wolf", canvas=library[3], mask=mask, steps=2)
    assert "inpaint" in text


async def test_a_render_is_begun_watched_and_stopped(page: Page, server: HttpProcess) -> None:
    await page.keyboard.press("n")
    form = page.get_by_role("dialog")
    await form.get_by_label("Prompt").fill("A stone bridge over a quiet river")
    await form.get_by_label("Width").fill("1024")
    await form.get_by_label("Height").fill("1024")
    await form.get_by_role("button", name="Render").click()
    card = page.locator(".render", has_text="A stone bridge")
    await card.wait_for()
    await card.get_by_role("button", name="Stop").click()
    await page.locator(".toast", has_text=re.compile("was stopped|is there")).wait_for(timeout=60_000)
    await card.wait_for(state="detached")


async def test_ratings_and_tags_are_given_and_filter_the_wall(page: Page, library: list[str]) -> None:
    await open_picture(page, library[4])
    await page.get_by_role("button", name="4 of 5 stars").click()
    await page.locator(".starred.lit >> nth=3").wait_for()
    await page.get_by_label("Add a tag").fill(HOSTILE[:40])
    await page.keyboard.press("Enter")
    await page.locator(".tags li", has_text="<img src=x").wait_for()
    await page.wait_for_function("() => document.activeElement.ariaLabel === 'Add a tag'")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await page.wait_for_selector(".page", state="detached")
    await page.get_by_label("Rating", exact=True).select_option("4")
    await page.get_by_text("1 picture", exact=True).wait_for()
    await page.locator(f'a[data-id="{library[4]}"]').wait_for()


async def test_what_is_hidden_or_put_in_the_bin_comes_back(page: Page, library: list[str]) -> None:
    tile = page.locator(f'a[data-id="{library[5]}"]')
    for key in ("h", "Delete"):
        await tile.focus()
        await page.keyboard.press(key)
        await tile.wait_for(state="detached")
        await page.get_by_role("button", name="Undo").last.click()
        await tile.wait_for()


async def test_all_of_it_can_be_done_with_the_keyboard_alone(page: Page) -> None:
    await page.keyboard.press("/")
    await page.keyboard.type("fox")
    await page.get_by_text("1 picture", exact=True).wait_for()
    await page.keyboard.press("Escape")
    await page.locator(".tile a").focus()
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".page")
    assert await page.evaluate("document.activeElement.tagName") == "H1"
    await page.keyboard.press("m")
    await page.locator(".painter canvas").focus()
    await page.keyboard.press("r")
    for key in ("Space", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown", "Space"):
        await page.keyboard.press(key)
    await page.get_by_role("button", name="Keep mask").focus()
    await page.keyboard.press("Enter")
    assert re.fullmatch(r"i\d+", await page.locator(".result b").inner_text())
    await page.keyboard.press("Escape")
    await page.locator(".painter").wait_for(state="detached")
    await page.keyboard.press("Escape")
    await page.wait_for_selector(".page", state="detached")
    await page.wait_for_function("() => document.activeElement.dataset.id")


async def test_texts_of_others_are_texts(page: Page, library: list[str]) -> None:
    await open_picture(page, library[7])
    assert await page.locator(".prompt").inner_text() == HOSTILE
    assert await page.locator(".prompt img, .prompt script").count() == 0
    assert await page.title() != "1"


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_axe_finds_no_serious_fault(page: Page, library: list[str], scheme: Any) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not there: make web-test")
    await page.emulate_media(color_scheme=scheme)
    await page.wait_for_function("() => document.getAnimations().length === 0")

    async def check() -> None:
        await page.evaluate(AXE.read_text(encoding="utf-8"))
        found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in serious] == []

    await check()
    await page.keyboard.press("n")
    await page.get_by_role("dialog").wait_for()
    await check()
    await page.keyboard.press("Escape")
    for view in ("", "/mask", f"/compare/{library[0]}"):
        await open_picture(page, library[-1], view)
        await check()


async def test_a_phone_shows_all_of_it_without_sideways_scrolling(page: Page, library: list[str]) -> None:
    await page.set_viewport_size(PHONE)
    await page.emulate_media(color_scheme="light")
    await page.wait_for_function("() => document.querySelectorAll('.tile:not(.loaded)').length === 0")
    await shoot(page, "gallery-phone")
    for view in ("", "/mask", f"/compare/{library[0]}"):
        await open_picture(page, library[-1], view)
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        await page.locator(".top a").click()
    stars = page.get_by_role("button", name="4 of 5 stars")
    await open_picture(page, library[-1])
    await stars.scroll_into_view_if_needed()
    box = await stars.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= PHONE["width"]


async def test_hiding_by_key_leaves_the_focus_on_the_next_picture_and_is_taken_back_by_key(page: Page) -> None:
    ids = await page.locator(".tile a").evaluate_all("all => all.map((one) => one.dataset.id)")
    first, second = page.locator(f'a[data-id="{ids[0]}"]'), page.locator(f'a[data-id="{ids[1]}"]')
    await first.focus()
    await page.keyboard.press("h")
    await first.wait_for(state="detached")
    assert await page.evaluate("document.activeElement.dataset.id") == ids[1]
    await page.keyboard.press("Control+z")
    await first.wait_for()
    await page.wait_for_function("id => document.activeElement.dataset.id === id", arg=ids[1])
    await second.press("ArrowLeft")
    assert await page.evaluate("document.activeElement.dataset.id") == ids[0]


async def test_a_picture_s_keys_work_as_soon_as_it_is_open(page: Page, library: list[str]) -> None:
    await open_picture(page, library[1])
    share = page.locator(".share", has_text="%")
    whole = await share.inner_text()
    await page.keyboard.press("+")
    assert await share.inner_text() != whole
    await page.keyboard.press("-")
    assert await share.inner_text() == whole
    await page.locator(".about").click()  # which takes the focus away from everything
    await page.keyboard.press("2")
    await page.locator('.starred.lit[data-stars="2"]').wait_for()
    await page.keyboard.press("2")
    await page.locator(".starred.lit").first.wait_for(state="detached")
    tag = page.get_by_label("Add a tag")
    await tag.fill("not yet")
    await page.keyboard.press("Escape")
    assert await tag.input_value() == "not yet"
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download").click()
    assert (await download.value).suggested_filename == f"{library[1]}.png"


async def test_a_render_that_fails_at_once_is_told_of_and_its_prompt_kept_until_then(page: Page) -> None:
    await page.keyboard.press("n")
    form = page.get_by_role("dialog")
    await form.get_by_label("Prompt").fill("A grey wolf")
    await page.keyboard.press("Escape")
    await page.wait_for_function("() => document.activeElement === document.body")
    await page.keyboard.press("n")
    assert await form.get_by_label("Prompt").input_value() == "A grey wolf"
    await form.locator("[name=mode]").select_option("inpaint")
    await form.get_by_role("button", name="Render").click()
    await page.locator(".toast.bad", has_text="canvas").wait_for()


async def test_many_files_are_told_of_together_and_what_is_too_large_stays_out(page: Page) -> None:
    await page.evaluate(
        """async () => {
          const files = new DataTransfer();
          for (let count = 0; count < 6; count++) {
            const canvas = new OffscreenCanvas(40 + count, 40);
            canvas.getContext("2d").fillRect(0, 0, 20, 20);
            files.items.add(new File([await canvas.convertToBlob()], `${count}.png`));
          }
          files.items.add(new File([new Uint8Array(25e6)], "large.png"));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
        }"""
    )
    await page.locator(".toast", has_text=re.compile(r"6 pictures came in, a\d+ to a\d+")).wait_for()
    await page.locator(".toast.bad", has_text="at most 24 MB").wait_for()
    assert await page.locator(".toast").count() == 2


async def test_what_was_brought_in_is_rated_and_found_again(page: Page) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (300, 300), "#996633").save(stream, "PNG")
    await page.evaluate(DROP, ["attic.png", base64.b64encode(stream.getvalue()).decode()])
    said = await page.locator(".toast", has_text=" is a").locator("span").first.inner_text()
    tile = page.locator(f'a[data-id="{said.split()[-1]}"]')
    await tile.focus()
    await page.keyboard.press("5")
    await page.locator(".toast", has_text="★★★★★").wait_for()
    await page.get_by_label("Where").select_option("a")
    await page.get_by_label("Rating", exact=True).select_option("5")
    await page.get_by_text("1 picture", exact=True).wait_for()
    await tile.wait_for()
    await page.get_by_label("Where").select_option("v")
    await page.get_by_text("Nothing was found.").wait_for()
    await page.get_by_label("Where").select_option("i")
    await page.get_by_text("listed, not searched").wait_for()


async def test_a_mask_that_was_left_by_mistake_is_still_there(page: Page, library: list[str]) -> None:
    await open_picture(page, library[2], "/mask")
    await page.locator(".painter canvas").focus()
    await page.keyboard.press("Space")
    await page.keyboard.press("r")
    await page.keyboard.press("Space")
    await page.keyboard.press("Escape")  # the corner of the box, and then the page
    await page.locator(".painter").wait_for()
    await page.keyboard.press("Escape")
    await page.locator(".painter").wait_for(state="detached")
    await page.keyboard.press("m")
    undo = page.get_by_role("button", name="Undo")
    await undo.wait_for()
    assert await undo.is_enabled()


async def test_a_server_that_is_away_is_told_of_until_it_is_back(page: Page) -> None:
    await page.context.set_offline(True)
    await page.get_by_role("searchbox").fill("tram")
    gone = page.locator(".toast.bad", has_text="does not answer")
    await gone.wait_for()
    assert await gone.count() == 1
    await page.context.set_offline(False)
    await gone.wait_for(state="detached")
    await page.get_by_text("1 picture", exact=True).wait_for()


async def test_choosing_a_picture_to_compare_with_ends_with_escape(page: Page, library: list[str]) -> None:
    await open_picture(page, library[0])
    await page.get_by_role("button", name="Compare").click()
    choose = page.locator(".toast", has_text="Choose the picture")
    await choose.wait_for()
    await page.keyboard.press("Escape")
    await choose.wait_for(state="detached")
    await open_picture(page, library[1])
    await page.evaluate("location.hash = '#%E0%A4%A'")  # somebody's broken link
    await page.wait_for_selector(".page", state="detached")


async def test_the_web_hears_nothing_of_what_is_only_being_typed(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "source=web" in request.url else None)
    await page.get_by_label("Where").select_option("web")
    await page.get_by_text("press Enter").wait_for()
    await page.get_by_role("searchbox").type("secret plan")
    await page.get_by_label("Where").select_option("")
    await page.get_by_text("Nothing was found.").wait_for()
    assert asked == []
