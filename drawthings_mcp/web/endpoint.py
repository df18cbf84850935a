"""JSON to and from OpenAI-compatible endpoints: vision and embedding models that the user named.

What is asked of them is their callers' business.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx2

from drawthings_mcp.errors import EndpointError, InvalidInputError
from drawthings_mcp.quoting import hide_password, quote

MAX_REPLY = 32 << 20
"""Bytes of a reply; some hundred embeddings of the largest models take less."""
_MAX_QUOTE = 200
"""Characters of a server's own words in an error."""
_VERSION = re.compile(r"/v\d\w*$")
_SECRET = "***"
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True, repr=False)
class Endpoint:
    """Where an OpenAI-compatible service is.

    ``/v1`` is added to a ``url`` without a version at its end. An empty ``model`` is the service's first one; ``key``
    is sent as a bearer token, empty for none.
    """

    url: str
    model: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        url = self.url.strip().rstrip("/")
        parsed = _parse_url(url)
        if not _VERSION.search(parsed.path):
            url += "/v1"
        key = self.key.strip()
        if not (key.isascii() and key.isprintable()):
            raise InvalidInputError("The endpoint's key has characters that no key has; copy it again.")
        object.__setattr__(self, "url", url)
        object.__setattr__(self, "key", key)

    def __repr__(self) -> str:
        return f"Endpoint(url={self.name!r}, model={self.model!r}, key={_SECRET if self.key else ''!r})"

    @property
    def name(self) -> str:
        """The address as it may be shown: without user and password."""
        return hide_password(self.url)

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return _is_loopback(httpx2.URL(self.url).host)


async def post_json(endpoint: Endpoint, path: str, body: object, *, timeout: float) -> Any:
    """What an endpoint answers to a JSON document at a path such as ``chat/completions``, within ``timeout`` seconds.

    Raises ``EndpointError``: unreachable, too slow, a status of failure, no JSON, or too much of it.
    """
    return await _exchange(endpoint, "POST", path, timeout, content=json.dumps(body).encode())


async def get_json(endpoint: Endpoint, path: str, *, timeout: float) -> Any:
    """What an endpoint has at a path; as ``post_json``."""
    return await _exchange(endpoint, "GET", path, timeout)


async def _exchange(endpoint: Endpoint, method: str, path: str, timeout: float, content: bytes | None = None) -> Any:
    async with _translate_errors(endpoint, timeout):
        status, data = await _send(endpoint, method, path, content)
    if status >= 300:
        raise EndpointError(f"The endpoint {endpoint.name} answered {status}: {_quote(data, endpoint)}")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise EndpointError(
            f"The endpoint {endpoint.name} answered with something else than JSON: {_quote(data, endpoint)}"
        ) from exc


async def _send(endpoint: Endpoint, method: str, path: str, content: bytes | None) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    url = f"{endpoint.url}/{path.lstrip('/')}"
    # A proxy of the environment cannot reach this machine's own services. Time is limited as a whole.
    async with (
        httpx2.AsyncClient(trust_env=not endpoint.is_local, timeout=None) as client,
        client.stream(method, url, content=content, headers=headers) as response,
    ):
        data = bytearray()
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > MAX_REPLY:
                raise EndpointError(f"The endpoint {endpoint.name} answered with more than {MAX_REPLY >> 20} MB.")
        return response.status_code, bytes(data)


@asynccontextmanager
async def _translate_errors(endpoint: Endpoint, timeout: float) -> AsyncIterator[None]:
    try:
        with anyio.fail_after(timeout):
            yield
    except TimeoutError as exc:
        raise EndpointError(f"The endpoint {endpoint.name} did not answer within {timeout:g} s.") from exc
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, UnicodeError) as exc:
        reason = quote(_mask(str(exc), endpoint), _MAX_QUOTE) if str(exc) else type(exc).__name__
        raise EndpointError(
            f"The endpoint {endpoint.name} cannot be reached ({reason}); start it or correct its address."
        ) from exc


def _parse_url(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as exc:
        raise InvalidInputError(
            f"An endpoint's address is like http://localhost:1234/v1, this one is not: {exc}"
        ) from exc
    if parsed.port is not None and not 0 < parsed.port <= _MAX_PORT:
        raise InvalidInputError(f"An endpoint's port is from 1 to {_MAX_PORT}, got {parsed.port}.")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInputError("An endpoint's address is like http://localhost:1234/v1, with http:// or https://.")
    return parsed


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _quote(data: bytes, endpoint: Endpoint) -> str:
    """The server's own words: the message of its error object, or the beginning of what it sent."""
    text = data[: 64 * _MAX_QUOTE].decode(errors="replace")
    try:
        error = json.loads(data)
        error = error.get("error", error) if isinstance(error, dict) else error
        text = str(error.get("message", error)) if isinstance(error, dict) else str(error)
    except (ValueError, RecursionError):
        pass
    words = _mask(text, endpoint).strip()
    return quote(words, _MAX_QUOTE) if words else "nothing"


def _mask(text: str, endpoint: Endpoint) -> str:
    return text.replace(endpoint.key, _SECRET) if endpoint.key else text
