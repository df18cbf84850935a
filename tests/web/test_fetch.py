"""Fetching from real servers on loopback: what is refused, what is cut short, and where connections go."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import pytest

from drawthings_mcp.errors import ForbiddenAddressError, WebError
from drawthings_mcp.web.fetch import Fetched, IPAddress, fetch_public, is_public

if TYPE_CHECKING:
    from tests.web_servers import WebServer

pytestmark = pytest.mark.anyio

Fetch = Callable[..., Awaitable[Fetched]]
LOOPBACK = ipaddress.ip_address("127.0.0.1")


async def resolve_to_loopback(host: str, port: int) -> Sequence[IPAddress]:
    return [LOOPBACK]


def allow_all(address: IPAddress) -> bool:
    return True


@pytest.fixture
def fetch(web: WebServer) -> Fetch:
    return partial(
        fetch_public, max_bytes=100_000, timeout=20, tls=web.tls, allow=allow_all, resolve=resolve_to_loopback
    )


async def test_a_file_is_fetched(web: WebServer, fetch: Fetch) -> None:
    url = web.put("/fox.png?size=2", b"picture", "Image/PNG; charset=binary")
    assert await fetch(f"{url}#top") == Fetched(b"picture", "image/png", url)
    ((path, headers),) = web.requests
    assert path == "/fox.png?size=2"
    assert headers["Host"] == f"localhost:{web.port}"
    assert headers["User-Agent"].startswith("drawthings-mcp/")
    assert headers["Accept-Encoding"] == "identity"


async def test_loopback_is_refused_unless_it_is_allowed(web: WebServer) -> None:
    url = web.put("/fox.png", b"picture")
    with pytest.raises(ForbiddenAddressError, match="private or reserved address"):
        await fetch_public(url, max_bytes=100, timeout=20, tls=web.tls)
    assert web.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://0x7f.1/x",
        "https://017700000001/x",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[fe80::1%25eth0]/x",
        "https://localhost./x",
        "https://169.254.169.254/latest/meta-data",
        "https://0/x",
    ],
)
async def test_spellings_of_ones_own_machine_are_refused(url: str) -> None:
    with pytest.raises(WebError):
        await fetch_public(url, max_bytes=100, timeout=20)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/x.png", "does not begin with https://"),
        ("ftp://example.com/x.png", "does not begin with https://"),
        ("https://user:secret@example.com/x.png", "name or password"),
        ("https://", "no valid URL"),
        ("https:///x.png", "no valid URL"),
        ("https://exa\0mple.com/", "no valid URL"),
        ("https://example.com:99999999/", "no valid URL"),
        ("https://example.com/" + "x" * 5000, "no valid URL"),
    ],
)
async def test_what_is_no_address_to_fetch_from_is_refused(fetch: Fetch, url: str, reason: str) -> None:
    with pytest.raises(ForbiddenAddressError, match=reason) as caught:
        await fetch(url)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


async def test_the_connection_goes_to_the_address_that_was_checked(web: WebServer, fetch: Fetch) -> None:
    """A name whose address changes between check and connection gains nothing: it is asked for once."""
    asked = []

    async def rebind(host: str, port: int) -> Sequence[IPAddress]:
        asked.append((host, port))
        return [LOOPBACK] if len(asked) == 1 else [ipaddress.ip_address("10.255.255.1")]

    url = web.put("/fox.png", b"picture")
    assert (await fetch(url, resolve=rebind)).data == b"picture"
    assert asked == [("localhost", web.port)]


async def test_the_certificate_must_be_that_of_the_host_not_of_the_address(web: WebServer, fetch: Fetch) -> None:
    web.put("/fox.png", b"picture")
    with pytest.raises(WebError, match=r"picture\.test.* cannot be reached \(.*certificate verify failed"):
        await fetch(web.url("/fox.png", host="picture.test"))
    assert web.requests == []


async def test_only_the_allowed_ones_of_a_hosts_addresses_are_used(web: WebServer, fetch: Fetch) -> None:
    async def resolve(host: str, port: int) -> Sequence[IPAddress]:
        return [ipaddress.ip_address("10.0.0.1"), LOOPBACK]

    url = web.put("/fox.png", b"picture")
    assert (await fetch(url, resolve=resolve, allow=lambda address: address == LOOPBACK)).data == b"picture"


async def test_the_next_address_is_tried_when_nothing_answers_at_the_first(web: WebServer, fetch: Fetch) -> None:
    async def resolve(host: str, port: int) -> Sequence[IPAddress]:
        return [ipaddress.ip_address("::1"), LOOPBACK]

    assert (await fetch(web.put("/fox.png", b"picture"), resolve=resolve)).data == b"picture"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(web: WebServer, fetch: Fetch, status: int) -> None:
    web.put("/1", b"", status=status, Location="/2", Set_Cookie="tracked=yes")
    web.put("/2", b"", status=status, Location=web.url("/3"))
    web.put("/3", b"picture")
    fetched = await fetch(web.url("/1"))
    assert (fetched.data, fetched.url) == (b"picture", web.url("/3"))
    assert all(headers["Cookie"] is None for _, headers in web.requests)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("https://10.0.0.1/x.png", "private or reserved"),
        ("https://[::1]/x.png", "private or reserved"),
        ("//169.254.169.254/latest", "private or reserved"),
        ("http://localhost/x.png", "does not begin with https://"),
        ("file:///etc/passwd", "no valid URL|does not begin with https://"),
        ("https://u:p@localhost/", "name or password"),
        ("https://exa mple:x/", "no URL|no valid URL"),
    ],
)
async def test_a_redirect_is_judged_as_any_other_address(
    web: WebServer, fetch: Fetch, location: str, reason: str
) -> None:
    async def resolve(host: str, port: int) -> Sequence[IPAddress]:
        return [LOOPBACK] if host == "localhost" else [ipaddress.ip_address(host)]

    def allow(address: IPAddress) -> bool:
        return address == LOOPBACK or is_public(address)

    web.put("/1", b"", status=302, Location=location)
    with pytest.raises(WebError, match=reason):
        await fetch(web.url("/1"), resolve=resolve, allow=allow)
    assert [path for path, _ in web.requests] == ["/1"]


async def test_redirects_in_a_circle_end(web: WebServer, fetch: Fetch) -> None:
    web.put("/1", b"", status=302, Location="/1")
    with pytest.raises(WebError, match="more than 5 redirects"):
        await fetch(web.url("/1"))
    assert len(web.requests) == 6


async def test_a_file_that_is_said_to_be_too_large_is_not_read(web: WebServer, fetch: Fetch) -> None:
    with pytest.raises(WebError, match=r"larger than 0\.1 MB"):
        await fetch(web.put("/big.png", b"x" * 100_001))


def start(handler: BaseHTTPRequestHandler, **headers: str) -> None:
    handler.send_response(200)
    for name, value in {"Content-Type": "image/png", **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


async def test_an_endless_file_is_cut_off_at_the_limit(web: WebServer, fetch: Fetch) -> None:
    sent = 0
    hung_up = threading.Event()

    def pour(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        start(handler)
        try:
            while True:
                handler.wfile.write(bytes(10_000))
                sent += 10_000
        finally:
            hung_up.set()

    web.answers["/endless"] = pour
    with pytest.raises(WebError, match=r"larger than 0\.1 MB"):
        await fetch(web.url("/endless"))
    assert hung_up.wait(20)
    assert sent < 10_000_000


async def test_a_server_that_falls_silent_is_left_in_time(web: WebServer, fetch: Fetch) -> None:
    done = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        start(handler)
        handler.wfile.write(b"x")
        handler.wfile.flush()
        done.wait(30)

    web.answers["/slow"] = stall
    try:
        with pytest.raises(WebError, match=r"took longer than 0\.5 seconds"):
            await fetch(web.url("/slow"), timeout=0.5)
    finally:
        done.set()


@pytest.mark.parametrize(
    ("content_type", "headers", "reason"),
    [
        ("text/html", {}, "is of type text/html, not image/; give the URL of the file itself"),
        ("image/png", {"Content_Encoding": "gzip"}, "sent compressed"),
    ],
)
async def test_what_is_not_asked_for_is_refused(
    web: WebServer, fetch: Fetch, content_type: str, headers: dict[str, Any], reason: str
) -> None:
    url = web.put("/x", b"data", content_type, **headers)
    with pytest.raises(WebError, match=reason):
        await fetch(url, accept=("image/",))


@pytest.mark.parametrize("status", [204, 401, 404, 500])
async def test_an_answer_without_the_file_is_reported(web: WebServer, fetch: Fetch, status: int) -> None:
    url = web.put("/x.png?token=secret", b"", status=status)
    with pytest.raises(WebError, match=f"answers {status} ") as caught:
        await fetch(url)
    assert "secret" not in str(caught.value)


async def test_a_transfer_that_breaks_off_is_reported(web: WebServer, fetch: Fetch) -> None:
    web.answers["/x.png"] = lambda handler: start(handler, Content_Length="1000")
    with pytest.raises(WebError, match="broke off"):
        await fetch(web.url("/x.png"))


async def test_what_does_not_speak_http_is_reported(web: WebServer, fetch: Fetch) -> None:
    web.answers["/x.png"] = lambda handler: handler.wfile.write(b"220 mail server ready\r\n")
    with pytest.raises(WebError, match="did not answer properly"):
        await fetch(web.url("/x.png"))


async def test_proxies_of_the_environment_are_not_used(
    web: WebServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await fetch(web.put("/fox.png", b"picture"))).data == b"picture"


async def test_an_unknown_host_is_reported() -> None:
    with pytest.raises(WebError, match=r"nowhere\.invalid cannot be found"):
        await fetch_public("https://nowhere.invalid/x.png", max_bytes=100, timeout=20)
