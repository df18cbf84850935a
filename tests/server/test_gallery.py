"""The gallery over HTTP: who is let in, what is refused, and what is done with pictures."""

from __future__ import annotations

import io
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from PIL import Image

from drawthings_mcp.simulator import Simulator
from tests.http_process import HttpProcess, serve_http

JSON = {"Content_Type": "application/json"}
LAN = ("0.0.0.0:0", "--insecure-lan", "--allow-host", "studio.test", "--allow-origin", "https://page.test")


class Browser:
    """Asks as a browser does that has signed in."""

    def __init__(self, server: HttpProcess, **headers: str) -> None:
        self.server = server
        self.headers = {"Origin": f"http://127.0.0.1:{server.port}", "Sec_Fetch_Site": "same-origin", **headers}

    def sign_in(self, **given: str) -> int:
        response, _ = self.server.ask("POST", "/sign-in", json.dumps(given).encode(), **self.headers, **JSON)
        if response.status == 200:
            self.cookie = response.headers["Set-Cookie"]
            self.headers["Cookie"] = self.cookie.partition(";")[0]
        return response.status

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        kind = JSON if isinstance(body, dict) else {}
        response, answer = self.server.ask(method, path, data, **{**self.headers, **kind, **headers})
        assert response.status == 200, answer
        return json.loads(answer) if response.headers["Content-Type"] == "application/json" else answer

    def status(self, method: str, path: str, body: bytes | None = None, **headers: str) -> int:
        return self.server.status(method, path, body, **{**self.headers, **headers})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gallery")


@pytest.fixture(scope="module")
def local(folder: Path) -> Iterator[HttpProcess]:
    environment = {
        "HOME": str(folder),
        "DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(folder / "state"),
    }
    with serve_http(environment) as process:
        yield process


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpProcess]:
    folder = tmp_path_factory.mktemp("lan")
    environment = {"DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures"), "DRAWTHINGS_STATE_DIR": str(folder / "state")}
    with serve_http(environment, *LAN) as process:
        yield process


@pytest.fixture(scope="module")
def browser(local: HttpProcess) -> Browser:
    browser = Browser(local)
    assert browser.sign_in(token=local.token) == 200
    return browser


def draw(colour: str, size: tuple[int, int] = (96, 64)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def drop(browser: Browser, data: bytes) -> str:
    picture: str = browser.ask("POST", "/gallery/pictures", data, Content_Type="application/octet-stream")["id"]
    return picture


def list_ids(browser: Browser, **values: str) -> list[str]:
    query = "&".join(f"{name}={value}" for name, value in values.items())
    return [picture["id"] for picture in browser.ask("GET", f"/gallery/pictures?{query}")["pictures"]]


def find_code(server: HttpProcess) -> str:
    (line,) = (line for line in server.lines if "#code=" in line)
    match = re.search(r"#code=([\w-]{22,})", line)
    assert match
    return match[1]


def test_the_printed_link_lets_one_browser_in_once(tmp_path: Path) -> None:
    environment = {"DRAWTHINGS_OUTPUT_DIR": str(tmp_path / "pictures"), "DRAWTHINGS_STATE_DIR": str(tmp_path / "state")}
    with serve_http(environment) as server:
        code, first, second = find_code(server), Browser(server), Browser(server)
        assert first.status("GET", "/gallery/pictures") == 401
        assert (first.sign_in(code=code), second.sign_in(code=code)) == (200, 401)
        assert list_ids(first) == []
        assert second.status("GET", "/gallery/pictures") == 401
        assert code not in "".join(server.later)
        assert re.fullmatch(r"drawthings-\d+=[\w-]{43}; Path=/; Max-Age=\d+; HttpOnly; SameSite=Lax", first.cookie)
        first.ask("DELETE", "/sign-in")
        assert first.status("GET", "/gallery/pictures") == 401


def test_a_guessed_code_or_token_lets_nobody_in(local: HttpProcess) -> None:
    for given in ({"code": "A" * 22}, {"token": "A" * 43}, {}, {"code": "", "token": ""}):
        assert Browser(local).sign_in(**given) == 401


def test_who_signed_in_is_out_as_soon_as_the_token_is_deleted(tmp_path: Path) -> None:
    environment = {"DRAWTHINGS_OUTPUT_DIR": str(tmp_path / "pictures"), "DRAWTHINGS_STATE_DIR": str(tmp_path / "state")}
    with serve_http(environment) as server:
        browser = Browser(server)
        assert browser.sign_in(token=server.token) == 200
        assert browser.status("GET", "/gallery/state") == 200
        server.token_file.write_text(f"another {'x' * 43}\n", encoding="utf-8")
        assert browser.status("GET", "/gallery/state") == 401


@pytest.mark.parametrize(
    "path", ["/gallery/state", "/gallery/pictures", "/gallery/thumbnails/v1?edge=256", "/images/v1"]
)
def test_pictures_need_a_cookie_or_a_token_on_loopback_too(local: HttpProcess, path: str) -> None:
    assert local.status("GET", path) == 401
    assert local.ask("GET", path, token=local.token)[0].status in (200, 404)


def test_a_cookie_is_none_for_mcp(lan: HttpProcess) -> None:
    browser = Browser(lan, Host="studio.test", Origin="http://studio.test")
    assert browser.sign_in(token=lan.token) == 200
    assert browser.status("GET", "/gallery/state") == 200
    assert browser.status("POST", "/mcp", b"{}", **JSON) == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("path", ["/gallery/pictures", "/images/a1", "/page/app.js", "/gallery/thumbnails/a1?edge=256"])
def test_other_sites_get_nothing_of_it_even_with_the_cookie(browser: Browser, site: str, path: str) -> None:
    own = {name: value for name, value in browser.headers.items() if name != "Origin"}
    assert browser.server.status("GET", path, **{**own, "Sec_Fetch_Site": site}) == 403


def test_a_page_that_may_speak_mcp_gets_nothing_of_the_gallery(lan: HttpProcess) -> None:
    page = {"Host": "studio.test", "Origin": "https://page.test"}
    assert lan.ask("GET", "/gallery/state", token=lan.token, **page)[0].status == 403
    assert lan.ask("GET", "/images/v1", token=lan.token, **page)[0].status == 403


def test_a_request_with_the_cookie_alone_changes_nothing(browser: Browser) -> None:
    bare = {"Cookie": browser.headers["Cookie"]}
    body = b'{"pictures":["a1"],"hidden":true}'
    assert browser.server.status("POST", "/gallery/hidden", body, **bare, **JSON) == 401
    form = {**browser.headers, "Content_Type": "text/plain"}
    assert browser.server.status("POST", "/gallery/hidden", body, **form) == 400
    assert (
        browser.server.status("POST", "/gallery/hidden", body, **{**browser.headers, "Origin": "null"}, **JSON) == 403
    )


def test_the_page_may_load_nothing_from_elsewhere_and_stand_in_no_frame(local: HttpProcess) -> None:
    response, body = local.ask("GET", "/")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert b"style=" not in body
    assert re.findall(rb"<script(?![^>]*src=)", body) == []
    assert (
        local.status("GET", "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document")
        == 200
    )
    assert (
        local.status("GET", "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe") == 403
    )


@pytest.mark.parametrize("name", ["../../etc/passwd", "..%2f..%2fserver%2fpage.py", "nothing.js", ""])
def test_no_path_leads_out_of_the_page_or_the_library(browser: Browser, name: str) -> None:
    for place in ("/page", "/gallery/pictures", "/gallery/thumbnails", "/images"):
        # Without a name, some of these are other addresses.
        expected = {404, 400, 307, 200} if not name else {404, 400}
        assert browser.status("GET", f"{place}/{name}?edge=256") in expected


def test_a_dropped_picture_gets_an_id_and_stands_first(browser: Browser) -> None:
    first, again, other = drop(browser, draw("red")), drop(browser, draw("red")), drop(browser, draw("green"))
    assert re.fullmatch(r"a\d+", first)
    assert (first == again, first == other) == (True, False)
    assert list_ids(browser, kinds="a")[:2] == [other, first]


@pytest.mark.parametrize("data", [b"", b"no picture", draw("red")[:60]])
def test_what_is_no_picture_is_refused_with_a_reason(browser: Browser, data: bytes) -> None:
    headers = {**browser.headers, "Content_Type": "application/octet-stream"}
    response, answer = browser.server.ask("POST", "/gallery/pictures", data, **headers)
    assert response.status == 400
    assert json.loads(answer)["error"]


def test_a_thumbnail_is_made_once_and_kept_for_its_owner_alone(browser: Browser, folder: Path) -> None:
    picture = drop(browser, draw("blue", (900, 600)))
    small = browser.ask("GET", f"/gallery/thumbnails/{picture}?edge=256")
    with Image.open(io.BytesIO(small)) as image:
        assert (image.format, image.size) == ("WEBP", (256, 171))
    (kept,) = [path for path in (folder / "state" / "thumbnails").glob("*/*") if path.read_bytes() == small]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parents[1].stat().st_mode) == 0o700
    os.truncate(kept, 0)
    assert browser.ask("GET", f"/gallery/thumbnails/{picture}?edge=256") == b""
    assert browser.status("GET", f"/gallery/thumbnails/{picture}?edge=257") == 400


def test_pages_of_the_library_follow_each_other_without_gaps(browser: Browser) -> None:
    ids = [drop(browser, draw(f"#0000{number:02x}", (64, 64))) for number in range(7)]
    first = browser.ask("GET", "/gallery/pictures?kinds=a&limit=5")
    second = browser.ask("GET", f"/gallery/pictures?kinds=a&limit=200&cursor={first['cursor']}")
    assert len(first["pictures"]) == 5
    listed = [picture["id"] for page in (first, second) for picture in page["pictures"]]
    assert listed[:7] == ids[::-1]
    assert first["total"] == len(listed)
    assert second["cursor"] is None


def test_hidden_pictures_are_listed_apart_until_they_are_shown_again(browser: Browser) -> None:
    picture = drop(browser, draw("purple"))
    browser.ask("POST", "/gallery/hidden", {"pictures": [picture], "hidden": True})
    assert picture not in list_ids(browser)
    assert list_ids(browser, shown="hidden") == [picture]
    browser.ask("POST", "/gallery/hidden", {"pictures": [picture], "hidden": False})
    assert picture in list_ids(browser)


def test_what_goes_to_the_bin_can_be_taken_back_before_it_is_there(browser: Browser) -> None:
    picture = drop(browser, draw("orange"))
    path = Path(browser.ask("GET", f"/gallery/pictures/{picture}")["path"])
    assert browser.ask("POST", "/gallery/bin", {"pictures": [picture]})["pictures"] == [picture]
    assert path.exists()
    assert picture not in list_ids(browser)
    assert browser.ask("POST", "/gallery/bin/undo", {"pictures": [picture]})["pictures"] == [picture]
    assert picture in list_ids(browser)
    assert path.exists()


def test_the_bin_gets_the_file_whole_and_the_page_shows_it_again_once_it_is_put_back(tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path),
        "DRAWTHINGS_OUTPUT_DIR": str(tmp_path / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(tmp_path / "state"),
    }
    data = draw("teal")
    with serve_http(environment) as server:
        browser = Browser(server)
        browser.sign_in(token=server.token)
        picture = drop(browser, data)
        path = Path(browser.ask("GET", f"/gallery/pictures/{picture}")["path"])
        browser.ask("POST", "/gallery/bin", {"pictures": [picture]})
        # What waits when the server ends is moved then.
        server.end()
    assert not path.exists()
    (binned,) = (tmp_path / ".local" / "share" / "Trash" / "files").iterdir()
    assert binned.read_bytes() == data
    with serve_http(environment) as server:
        browser = Browser(server)
        browser.sign_in(token=server.token)
        assert list_ids(browser) == []
        binned.rename(path)
        assert list_ids(browser) == [picture]


def test_a_photo_of_the_users_own_is_never_put_in_the_bin(browser: Browser, folder: Path) -> None:
    photo = folder / "holiday.png"
    photo.write_bytes(draw("yellow"))
    picture = import_by_path(browser, photo)
    headers = {**browser.headers, **JSON}
    body = json.dumps({"pictures": [picture]}).encode()
    response, answer = browser.server.ask("POST", "/gallery/bin", body, **headers)
    assert response.status == 400
    assert "hide it instead" in json.loads(answer)["error"]
    assert photo.exists()


def import_by_path(browser: Browser, path: Path) -> str:
    """What a chat client on this machine brings in."""

    async def review() -> str:
        async with browser.server.client() as client:
            result = await client.call_tool("review_image", {"images": [str(path)]})
            text = getattr(result.content[0], "text", "")
            match = re.search(r"\ba\d+\b", text)
            assert match, text
            return match[0]

    return anyio.run(review)


def test_a_painted_mask_becomes_a_picture_of_the_size_of_what_it_is_for(browser: Browser) -> None:
    picture = drop(browser, draw("white", (400, 300)))
    painted = Image.new("L", (200, 150), 0)
    painted.paste(255, (50, 50, 100, 100))
    stream = io.BytesIO()
    painted.save(stream, "PNG")
    kind = {"Content_Type": "application/octet-stream"}
    mask = browser.ask("POST", f"/gallery/masks/{picture}", stream.getvalue(), **kind)
    assert re.fullmatch(r"i\d+", mask["id"])
    with Image.open(io.BytesIO(browser.ask("GET", f"/images/{mask['id']}"))) as image:
        kept = image.convert("L")
    assert kept.size == (400, 300)
    assert (kept.getpixel((150, 150)), kept.getpixel((10, 10))) == (255, 0)
    assert browser.ask("GET", f"/gallery/pictures/{mask['id']}")["ancestors"][0]["id"] == picture
    assert browser.ask("GET", f"/gallery/pictures/{picture}")["descendants"][0]["id"] == mask["id"]
    for bad in (draw("black", (200, 150)), draw("white", (150, 150)), b"no picture"):
        assert browser.status("POST", f"/gallery/masks/{picture}", bad, **kind) == 400


def test_tags_and_ratings_are_given_and_found(browser: Browser) -> None:
    picture = drop(browser, draw("brown"))
    asked = {"pictures": [picture], "add": ["kitchen <b>"], "rating": 4}
    assert browser.ask("POST", "/gallery/tags", asked)["tags"] == {picture: ["kitchen <b>", "rating:4"]}
    assert browser.ask("GET", "/gallery/state")["tags"]["kitchen <b>"] == 1
    off = {"pictures": [picture], "remove": ["kitchen <b>"], "rating": 0}
    assert browser.ask("POST", "/gallery/tags", off)["tags"] == {picture: []}


@pytest.mark.parametrize(
    "body",
    [
        b'{"pictures":["/etc/passwd"],"hidden":true}',
        b'{"pictures":["https://example.com/a.png"],"hidden":true}',
        b'{"pictures":[],"hidden":true}',
        b'{"pictures":["a1"],"hidden":true,"more":1}',
        b"[]",
        b"{",
    ],
)
def test_whatever_is_named_is_named_by_its_id(browser: Browser, body: bytes) -> None:
    assert browser.status("POST", "/gallery/hidden", body, **JSON) == 400


def test_folders_are_opened_for_who_sits_at_the_machine_alone(lan: HttpProcess) -> None:
    browser = Browser(lan, Host="studio.test", Origin="http://studio.test")
    browser.sign_in(token=lan.token)
    assert browser.ask("GET", "/gallery/state")["is_local"] is False
    assert browser.status("POST", "/gallery/folder", b'{"pictures":["a1"]}', **JSON) == 403


def test_a_picture_that_is_binned_twice_at_once_is_taken_back_whole(browser: Browser) -> None:
    picture = drop(browser, draw("crimson"))
    asked = {"pictures": [picture, picture]}
    assert browser.ask("POST", "/gallery/bin", asked)["pictures"] == [picture]
    assert browser.ask("POST", "/gallery/bin", asked)["pictures"] == [picture]
    assert browser.ask("POST", "/gallery/bin/undo", asked)["pictures"] == [picture]
    assert picture in list_ids(browser)


def test_what_was_brought_in_is_found_by_its_tags_rating_shape_and_place(browser: Browser) -> None:
    picture = drop(browser, draw("olive", (48, 3000)))
    browser.ask("POST", "/gallery/tags", {"pictures": [picture], "add": ["attic"], "rating": 3})
    for wanted in (
        {"tag": "attic"},
        {"query": "rating:>=3+source:imported+tag:attic"},
        {"size": ">=2048"},
        {"source": "folders", "size": "portrait"},
    ):
        assert picture in list_ids(browser, **wanted), wanted
    assert picture not in list_ids(browser, source="generated", size="portrait")


def test_the_same_picture_asked_for_again_is_another_one(browser: Browser) -> None:
    asked = {"prompt": "a grey wolf", "width": 128, "height": 128}
    first = browser.ask("POST", "/gallery/renders", asked)["id"]
    wait_for_end(browser, first)
    assert browser.ask("POST", "/gallery/renders", asked)["id"] != first


def wait_for_end(browser: Browser, render: str) -> Any:
    """The render's row once it has ended."""
    for _ in range(2_000):
        rows = browser.ask("GET", "/gallery/renders")["renders"]
        row = next(row for row in rows if row["id"] == render)
        if row["state"] not in ("queued", "running"):
            return row
    raise AssertionError(row)


def test_what_is_there_of_a_render_can_be_seen(browser: Browser) -> None:
    asked = {"prompt": "a grey wolf", "width": 256, "height": 256, "variants": 4}
    render, seen = browser.ask("POST", "/gallery/renders", asked)["id"], b""
    while not seen and browser.ask("GET", "/gallery/renders")["renders"][0]["state"] in ("queued", "running"):
        _, seen = browser.server.ask("GET", f"/gallery/renders/{render}/preview", **browser.headers)
    wait_for_end(browser, render)
    assert seen.startswith(b"RIFF")


def test_a_render_that_fails_says_why_in_the_words_of_the_page(browser: Browser) -> None:
    mask = drop(browser, draw("white", (128, 128)))
    asked = {"prompt": "a grey wolf", "mode": "inpaint", "mask": mask}
    row = wait_for_end(browser, browser.ask("POST", "/gallery/renders", asked)["id"])
    assert (row["state"], "canvas" in row["message"], "input_image" in row["message"]) == ("failed", True, False)


def test_another_file_in_a_binned_picture_s_place_stays(tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path),
        "DRAWTHINGS_OUTPUT_DIR": str(tmp_path / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(tmp_path / "state"),
    }
    with serve_http(environment) as server:
        browser = Browser(server)
        browser.sign_in(token=server.token)
        picture = drop(browser, draw("teal"))
        path = Path(browser.ask("GET", f"/gallery/pictures/{picture}")["path"])
        browser.ask("POST", "/gallery/bin", {"pictures": [picture]})
        path.unlink()
        path.write_bytes(draw("pink"))
        server.end()
    assert path.read_bytes() == draw("pink")
    assert not (tmp_path / ".local").exists()


def test_originals_stand_in_no_frame_and_on_no_other_page(browser: Browser) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), "gold").save(stream, "TIFF")
    for data, disposition in ((draw("gold"), "inline"), (stream.getvalue(), "attachment")):
        response, _ = browser.server.ask("GET", f"/images/{drop(browser, data)}", **browser.headers)
        assert response.headers["Content-Disposition"].startswith(f"{disposition}; ")
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.anyio
async def test_what_is_there_of_a_picture_is_shown_while_it_is_rendered(server_environment: dict[str, str]) -> None:
    def watch(server: HttpProcess) -> bytes:
        browser = Browser(server)
        browser.sign_in(token=server.token)
        asked = {"prompt": "a grey wolf", "width": 128, "height": 128}
        address = f"/gallery/renders/{browser.ask('POST', '/gallery/renders', asked)['id']}"
        for _ in range(5_000):
            response, data = server.ask("GET", f"{address}/preview", **browser.headers)
            if response.status == 200:
                break
        else:
            data = b""
        # However many wait behind it, what is rendered is listed.
        for number in range(22):
            browser.ask("POST", "/gallery/renders", {**asked, "prompt": f"wolf {number}"})
        if address.rpartition("/")[2] in (row["id"] for row in browser.ask("GET", "/gallery/renders")["renders"]):
            return data
        raise AssertionError(browser.ask("GET", "/gallery/renders"))

    async with Simulator(step_seconds=0.5) as simulator:
        with serve_http(server_environment, server=simulator.address) as server:
            data = await anyio.to_thread.run_sync(watch, server)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("WEBP", (16, 16))
