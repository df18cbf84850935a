"""OpenAI-compatible endpoints: addresses, keys, and every way in which they fail."""

from __future__ import annotations

import contextlib
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from drawthings_mcp.errors import DrawThingsError, EndpointError, InvalidInputError
from drawthings_mcp.web.endpoint import Endpoint, get_json, post_json

pytestmark = pytest.mark.anyio

KEY = "sk-very-secret"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://localhost:1234", "http://localhost:1234/v1"),
        ("http://localhost:1234/", "http://localhost:1234/v1"),
        (" http://localhost:1234/v1/ ", "http://localhost:1234/v1"),
        ("https://example.org/api", "https://example.org/api/v1"),
        ("https://example.org/api/v1", "https://example.org/api/v1"),
        ("https://example.org/paas/v4", "https://example.org/paas/v4"),
    ],
)
def test_a_base_address_may_be_given_with_or_without_its_version(given: str, url: str) -> None:
    assert Endpoint(given).url == url


@pytest.mark.parametrize("url", ["", "localhost:1234", "ftp://localhost/", "http://", "http://[::1", "http://a:b/"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError, match="http://localhost:1234/v1"):
        Endpoint(url)


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines"])
def test_a_key_that_cannot_be_one_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(InvalidInputError, match="key has characters") as refused:
        Endpoint("http://localhost", key=key)
    assert key not in str(refused.value)


def test_secrets_are_not_shown() -> None:
    endpoint = Endpoint("http://user:password@localhost", "llava", KEY)
    assert repr(endpoint) == "Endpoint(url='http://***@localhost/v1', model='llava', key='***')"
    assert "password" not in str(endpoint)
    assert repr(Endpoint("http://localhost")) == "Endpoint(url='http://localhost/v1', model='', key='')"


async def test_json_goes_there_and_back_with_the_key(http_service: Any) -> None:
    http_service.answers = {"/v1/embeddings": (200, {"data": ["ü"]}), "/v1/models": (200, [1])}
    endpoint = Endpoint(http_service.url, key=f" {KEY} ")
    assert await post_json(endpoint, "embeddings", {"input": "fox"}, timeout=10) == {"data": ["ü"]}
    assert await get_json(endpoint, "/models", timeout=10) == [1]
    (method, path, headers, body), (other_method, _, _, _) = http_service.requests
    assert (method, path, body, other_method) == ("POST", "/v1/embeddings", {"input": "fox"}, "GET")
    assert headers["Authorization"] == f"Bearer {KEY}"


async def test_without_a_key_none_is_sent(http_service: Any) -> None:
    http_service.answers = {"/v1/models": (200, [])}
    await get_json(Endpoint(http_service.url), "models", timeout=10)
    assert "Authorization" not in http_service.requests[0][2]


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    http_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    http_service.answers = {"/v1/models": (200, [])}
    assert await get_json(Endpoint(http_service.url), "models", timeout=10) == []
    with pytest.raises(EndpointError, match="cannot be reached"):
        await get_json(Endpoint("http://example.invalid"), "models", timeout=10)


FAILURES: list[tuple[tuple[int, Any], str]] = [
    ((401, {"error": {"message": f"Incorrect API key: {KEY}", "code": "x"}}), "answered 401: “Incorrect API key: ***”"),
    ((404, {"error": "no such model"}), "answered 404: “no such model”"),
    ((500, b"<html>\n  oops </html>"), "answered 500: “<html> oops </html>”"),
    ((503, b""), "answered 503: nothing"),
    ((302, b""), "answered 302: nothing"),
    ((200, b"<html>"), "something else than JSON: “<html>”"),
    ((200, b"[" * 100_000), "something else than JSON"),
    ((400, {"error": {"message": "x" * 5000}}), "xxx…"),
]


@pytest.mark.parametrize(("answer", "words"), FAILURES)
async def test_an_answer_that_is_none_gets_one_short_sentence(
    http_service: Any, answer: tuple[int, Any], words: str
) -> None:
    http_service.answers = {"/v1/models": answer}
    with pytest.raises(EndpointError) as failed:
        await get_json(Endpoint(http_service.url, key=KEY), "models", timeout=10)
    text = str(failed.value)
    assert words in text
    assert http_service.url in text
    assert KEY not in text
    assert len(text) < 320
    assert "\n" not in text
    assert isinstance(failed.value, DrawThingsError)


async def test_nothing_that_answers_is_unreachable(http_service: Any) -> None:
    with pytest.raises(EndpointError, match=r"cannot be reached .*; start it or correct its address"):
        await get_json(Endpoint("http://127.0.0.1:9"), "models", timeout=10)


async def test_an_endpoint_that_never_answers_is_given_up(http_service: Any) -> None:
    http_service.answers = {"/v1/models": lambda handler: http_service.release.wait(30)}
    with pytest.raises(EndpointError, match=r"did not answer within 0\.2 s"):
        await get_json(Endpoint(http_service.url), "models", timeout=0.2)


async def test_an_endpoint_that_drips_is_given_up_as_well(http_service: Any) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not http_service.release.wait(0.02):
                handler.wfile.write(b" ")

    http_service.answers = {"/v1/models": drip}
    with pytest.raises(EndpointError, match=r"did not answer within 0\.3 s"):
        await get_json(Endpoint(http_service.url), "models", timeout=0.3)


async def test_an_endless_answer_is_cut_off(http_service: Any) -> None:
    def pour(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not http_service.release.is_set():
                handler.wfile.write(bytes(1 << 20))

    http_service.answers = {"/v1/models": pour}
    with pytest.raises(EndpointError, match="more than 32 MB"):
        await get_json(Endpoint(http_service.url), "models", timeout=30)


async def test_a_connection_that_breaks_is_an_error_of_the_endpoint(http_service: Any) -> None:
    def break_off(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"[1,")

    http_service.answers = {"/v1/models": break_off}
    with pytest.raises(EndpointError, match="cannot be reached"):
        await get_json(Endpoint(http_service.url), "models", timeout=10)
