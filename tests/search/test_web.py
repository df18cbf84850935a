"""Pictures on the web, from servers that speak the providers' JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from pydantic import SecretStr

from drawthings_mcp.errors import InvalidInputError, WebError
from drawthings_mcp.search.hits import HitPage
from drawthings_mcp.search.providers import Brave, Openverse, Provider, SearXNG
from drawthings_mcp.search.query import SearchArguments
from drawthings_mcp.search.web_search import WebSearch, choose_provider
from drawthings_mcp.settings import Settings
from drawthings_mcp.web.fetch import fetch_public
from tests.search.conftest import Desk
from tests.web_servers import WebServer

pytestmark = pytest.mark.anyio

Speak = Callable[[str, Any], None]


def _make_jpeg() -> bytes:
    stream = BytesIO()
    Image.new("RGB", (32, 24), (200, 30, 30)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def speak(plain_web: WebServer) -> Speak:
    """Has the provider's server answer a path, whatever is asked, with what a function makes of the question."""

    def put(path: str, reply: Any) -> None:
        class Paths(dict[str, Callable[[BaseHTTPRequestHandler], object]]):
            def get(self, asked: str, default: Any = None) -> Any:
                return answer if urlsplit(asked).path == path else default

        def answer(handler: BaseHTTPRequestHandler) -> None:
            question = {key: values[0] for key, values in parse_qs(urlsplit(handler.path).query).items()}
            status, document = reply(question) if callable(reply) else reply
            data = document if isinstance(document, bytes) else json.dumps(document).encode()
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)

        plain_web.answers = Paths()

    return put


@pytest.fixture
def ask(desk: Desk, web: WebServer) -> Callable[..., Any]:
    """Searches the web by a provider; thumbnails come from a server that counts as public here."""

    async def fetch(url: str, /) -> bytes:
        fetched = await fetch_public(
            url, max_bytes=1 << 20, timeout=10, accept=("image/",), allow=lambda _: True, tls=web.tls
        )
        return fetched.data

    async def search(provider: Provider, query: str = "red fox", **arguments: Any) -> HitPage:
        engine = desk.engine(web=WebSearch(provider, fetch))
        return await engine.search(SearchArguments(query, source="web", **arguments))

    return search


async def test_openverse_tells_licence_and_attribution(
    ask: Callable[..., Any], speak: Speak, web: WebServer, plain_web: WebServer
) -> None:
    thumbnail = web.put("/small.jpg", _make_jpeg(), "image/jpeg")
    entry = {
        "id": "1",
        "title": "A red fox",
        "url": "https://example.org/fox.jpg",
        "thumbnail": thumbnail,
        "foreign_landing_url": "https://example.org/fox",
        "source": "flickr",
        "creator": "Ann",
        "license": "by-sa",
        "license_version": "4.0",
        "attribution": '"A red fox" by Ann is licensed under CC BY-SA 4.0.',
        "width": 1600,
        "height": 1200,
    }
    speak("/v1/images/", (200, {"result_count": 240, "page_count": 12, "results": [entry, {"title": "no URL"}]}))
    result = await ask(Openverse(plain_web.url("")))
    (row,) = result.hits
    assert (row.id, row.match, row.kind, row.text) == ("p1", "web", "Openverse: flickr", "A red fox")
    assert (row.web.licence, row.web.attribution) == (
        "CC BY-SA 4.0",
        '"A red fox" by Ann is licensed under CC BY-SA 4.0.',
    )
    assert (row.web.page, row.place) == ("https://example.org/fox", "https://example.org/fox.jpg")
    assert (row.metadata.width, row.metadata.height, row.source) == (1600, 1200, _make_jpeg())
    assert (result.total, result.is_exact, result.notes) == (240, True, ())
    path, headers = plain_web.requests[0]
    assert parse_qs(urlsplit(path).query) == {"q": ["red fox"], "page": ["1"], "page_size": ["20"]}
    assert headers["User-Agent"].startswith("drawthings-mcp/")
    again = await ask(Openverse(plain_web.url("")))
    assert again.hits[0].id == "p1"


async def test_brave_gets_its_key_and_nothing_else_does(
    ask: Callable[..., Any], speak: Speak, web: WebServer, plain_web: WebServer
) -> None:
    thumbnail = web.put("/small.jpg", _make_jpeg(), "image/jpeg")
    entries = [
        {
            "title": f"Fox {number}",
            "url": f"https://example.org/{number}",
            "source": "example.org",
            "thumbnail": {"src": thumbnail, "width": 500, "height": None},
            "properties": {"url": f"https://example.org/{number}.png", "width": None, "height": 700},
        }
        for number in range(30)
    ]
    speak("/res/v1/images/search", (200, {"type": "images", "results": entries}))
    result = await ask(Brave("geheim", plain_web.url("")), offset=5, limit=3)
    assert [row.text for row in result.hits] == ["Fox 5", "Fox 6", "Fox 7"]
    assert [(row.metadata.width, row.metadata.height) for row in result.hits] == [(0, 700)] * 3
    assert result.total == 30
    assert plain_web.requests[0][1]["X-Subscription-Token"] == "geheim"
    assert all("X-Subscription-Token" not in headers for _, headers in web.requests)
    assert "geheim" not in repr(Brave("geheim"))


async def test_searxng_is_asked_page_by_page(ask: Callable[..., Any], speak: Speak, plain_web: WebServer) -> None:
    def reply(question: dict[str, str]) -> tuple[int, Any]:
        page = int(question["pageno"])
        entries = [
            {
                "template": "images.html",
                "title": f"{page}-{number}",
                "img_src": f"//example.org/{page}-{number}.png",
                "resolution": "1920 × 1080",
                "url": "https://example.org",
            }
            for number in range(10)
        ]
        return 200, {"results": entries if page < 4 else []}

    speak("/search", reply)
    result = await ask(SearXNG(plain_web.url("")), offset=8, limit=4)
    assert [row.text for row in result.hits] == ["1-8", "1-9", "2-0", "2-1"]
    assert {(row.metadata.width, row.metadata.height) for row in result.hits} == {(1920, 1080)}
    assert result.hits[0].place == "https://example.org/1-8.png"
    assert not result.is_exact


async def test_pages_that_overlap_make_no_hit_twice(
    ask: Callable[..., Any], speak: Speak, plain_web: WebServer
) -> None:
    entries = [{"title": str(number), "img_src": f"https://example.org/{number}"} for number in range(4)]
    speak("/search", lambda question: (200, {"results": entries[int(question["pageno"]) - 1 :][:2]}))
    assert [row.text for row in (await ask(SearXNG(plain_web.url("")), limit=6)).hits] == ["0", "1", "2", "3"]


async def test_only_addresses_of_the_web_are_taken_over(
    ask: Callable[..., Any], speak: Speak, plain_web: WebServer
) -> None:
    entries = [
        {"title": "good", "img_src": "//example.org/1.png", "url": "javascript:alert(1)"},
        {"title": "bad", "img_src": "file:///etc/passwd", "url": "https://example.org"},
        {"title": "worse", "img_src": "project:///home/x.sqlite3#1"},
    ]
    speak("/search", (200, {"results": entries}))
    (row,) = (await ask(SearXNG(plain_web.url("")))).hits
    assert (row.place, row.web.page) == ("https://example.org/1.png", "")


@pytest.mark.parametrize(
    ("provider", "path", "status", "hint"),
    [
        (Openverse, "/v1/images/", 429, "DRAWTHINGS_SEARXNG_URL"),
        (SearXNG, "/search", 403, "search.formats"),
        (SearXNG, "/search", 500, "try again later"),
        (SearXNG, "/search", 302, "leads elsewhere"),
        (SearXNG, "/search", 422, "check its address"),
        (lambda base: Brave("k", base), "/res/v1/images/search", 401, "BRAVE_API_KEY"),
        (lambda base: Brave("k", base), "/res/v1/images/search", 429, "wait"),
    ],
)
async def test_a_refusal_is_one_sentence_with_a_next_step(
    ask: Callable[..., Any],
    speak: Speak,
    plain_web: WebServer,
    provider: Callable[[str], Provider],
    path: str,
    status: int,
    hint: str,
) -> None:
    speak(path, (status, {"detail": "no"}))
    with pytest.raises(WebError, match=hint) as caught:
        await ask(provider(plain_web.url("")))
    assert str(caught.value).count("\n") == 0
    assert str(status) in str(caught.value)


@pytest.mark.parametrize(
    "document", [[], None, {"results": None}, {"results": [None, 1, "x", [], {"url": 3, "thumbnail": {}}]}]
)
async def test_documents_without_pictures_are_no_hits(
    ask: Callable[..., Any], speak: Speak, plain_web: WebServer, document: Any
) -> None:
    speak("/v1/images/", (200, document))
    assert (await ask(Openverse(plain_web.url("")))).hits == ()


@pytest.mark.parametrize("document", [b"<html>", b"[" * 100_000, b"\xff"])
async def test_an_answer_that_is_no_document_is_reported(
    ask: Callable[..., Any], speak: Speak, plain_web: WebServer, document: bytes
) -> None:
    speak("/v1/images/", (200, document))
    with pytest.raises(WebError, match="JSON"):
        await ask(Openverse(plain_web.url("")))


async def test_a_provider_that_is_not_there_is_reported(ask: Callable[..., Any]) -> None:
    with pytest.raises(WebError, match="cannot be reached"):
        await ask(SearXNG("http://127.0.0.1:9"))


async def test_a_thumbnail_that_cannot_be_had_costs_the_picture_only(
    ask: Callable[..., Any], speak: Speak, web: WebServer, plain_web: WebServer
) -> None:
    good = web.put("/good.jpg", _make_jpeg(), "image/jpeg")
    lie = web.put("/lie.jpg", b"<script>", "image/jpeg")
    entries = [
        {"title": name, "url": f"https://example.org/{name}", "thumbnail": url}
        for name, url in (("good", good), ("lie", lie), ("gone", web.url("/gone")), ("plain", "http://example.org/x"))
    ]
    speak("/v1/images/", (200, {"result_count": 4, "results": entries}))
    result = await ask(Openverse(plain_web.url("")))
    assert [(row.text, row.is_shown) for row in result.hits] == [
        ("good", True),
        ("lie", False),
        ("gone", False),
        ("plain", False),
    ]
    assert result.notes == ("3 of 4 thumbnails could not be fetched.",)


async def test_the_real_fetcher_refuses_private_addresses(desk: Desk, speak: Speak, plain_web: WebServer) -> None:
    entry = {"title": "x", "url": "https://example.org/x", "thumbnail": "https://127.0.0.1:9/x.png"}
    speak("/v1/images/", (200, {"result_count": 1, "results": [entry]}))
    engine = desk.engine(web=WebSearch(Openverse(plain_web.url(""))))
    result = await engine.search(SearchArguments("x", source="web"))
    assert not result.hits[0].is_shown


async def test_the_web_wants_words_and_says_what_it_leaves_out(
    ask: Callable[..., Any], speak: Speak, plain_web: WebServer
) -> None:
    speak("/v1/images/", (200, {"result_count": 0, "results": []}))
    with pytest.raises(InvalidInputError, match="give some"):
        await ask(Openverse(plain_web.url("")), "model:flux")
    result = await ask(Openverse(plain_web.url("")), "fox model:flux")
    assert "filters" in result.notes[0]
    assert parse_qs(urlsplit(plain_web.requests[-1][0]).query)["q"] == ["fox"]


def test_the_provider_is_the_best_that_the_user_has() -> None:
    key = SecretStr("k")
    assert choose_provider(Settings()).name == "Openverse"
    assert choose_provider(Settings(searxng_url="http://me:8080")).name == "SearXNG"
    assert choose_provider(Settings(searxng_url="http://me:8080", brave_api_key=key)).name == "Brave"


async def test_nothing_is_sent_to_the_web_unless_it_was_asked_for(desk: Desk, plain_web: WebServer) -> None:
    engine = desk.engine(web=WebSearch(Openverse(plain_web.url(""))))
    await engine.search(SearchArguments("fox"))
    assert plain_web.requests == []
