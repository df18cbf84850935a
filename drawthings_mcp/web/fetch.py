"""Fetch a URL that comes from anywhere, without ever touching the user's own network.

Only https and public addresses are allowed, and nothing is followed or believed unchecked. A host is resolved once and
the connection goes to the very address that was checked, so that a name cannot lead elsewhere in between; every
redirect is checked again. Proxies of the environment are not used: they resolve names themselves, which would void it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version as get_version
from typing import TypeAlias

import anyio
import httpx2

from drawthings_mcp.errors import ForbiddenAddressError, WebError
from drawthings_mcp.quoting import label, quote

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses within IPv6 (RFC 6052)."""
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
"""The same in a form that went out of use (RFC 4291, §2.5.5.1)."""
_IPV4_BITS = 0xFFFF_FFFF

HostResolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[IPAddress]]]

MAX_REDIRECTS = 5
_MAX_ADDRESSES = 3
"""Addresses of a host that are tried: usually one of each sort, and one to spare."""
_MAX_URL = 4096
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK = 200
_MAX_PORT = 65535
_PORTS = {"http": 80, "https": 443}
_CREDENTIALS = re.compile(r"//[^/]*@")
_SHOWN = 120
"""Characters of a URL in an error."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL gave; ``url`` is the one after all redirects.

    ``content_type`` is as the server says, in lower case and without parameters; believe it only to refuse.
    """

    data: bytes
    content_type: str
    url: str


@dataclass(frozen=True, slots=True)
class _Rules:
    max_bytes: int
    accept: tuple[str, ...]
    allow: Callable[[IPAddress], bool]
    resolve: HostResolver
    tls: ssl.SSLContext


def is_public(address: IPAddress) -> bool:
    """Whether an address is one of the public internet, and so is the IPv4 address in it, if there is one.

    Loopback, private and shared networks, link-local, multicast, reserved and unspecified addresses are not.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = _find_inner(address)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _find_inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 host that an IPv6 address leads to."""
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        return ipaddress.IPv4Address(int(address) & _IPV4_BITS)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


async def resolve_host(host: str, port: int) -> list[IPAddress]:
    """The addresses of a host, in the order in which they should be tried; raises ``WebError`` when it has none."""
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise WebError(f"The host {label(host)} cannot be found; check the address and the network.") from error
    # Without the zone of link-local addresses, which ends nothing here but confuses the parser.
    addresses = [ipaddress.ip_address(str(target[0]).partition("%")[0]) for *_, target in found]
    return list(dict.fromkeys(addresses))


async def fetch_public(
    url: str,
    *,
    max_bytes: int,
    timeout: float,
    accept: Sequence[str] = (),
    allow: Callable[[IPAddress], bool] = is_public,
    resolve: HostResolver = resolve_host,
    tls: ssl.SSLContext | None = None,
) -> Fetched:
    """Fetch a URL from a public address.

    Parameters
    ----------
    max_bytes
        Counted while it arrives; what the server says beforehand is believed only to refuse.
    timeout
        Seconds for everything together, names, redirects and all.
    accept
        Beginnings of content types, ``image/``; all when left out.
    allow
        Judges each address before a connection is made to it.
    resolve
        Gives the addresses of a host.
    tls
        By default the system's authorities, or those of ``SSL_CERT_FILE``.

    Raises
    ------
    ForbiddenAddressError
        The URL, or one that it redirects to, is none that may be fetched.
    WebError
        It cannot be fetched, is too large, too slow or of another type.
    """
    rules = _Rules(max_bytes, tuple(accept), allow, resolve, tls or httpx2.create_ssl_context())
    try:
        with anyio.fail_after(timeout):
            return await _follow(_parse_url(url), rules)
    except TimeoutError as error:
        raise WebError(f"{_show(url)} took longer than {timeout:g} seconds; try again or use another copy.") from error


async def _follow(url: httpx2.URL, rules: _Rules) -> Fetched:
    for _ in range(MAX_REDIRECTS + 1):
        async with _request(url, rules) as response:
            if response.status_code not in _REDIRECTS:
                return await _read(response, url, rules)
            location = response.headers.get("location", "")
        url = _parse_url(_join(url, location))
    raise WebError(f"{_show(url)} was reached after more than {MAX_REDIRECTS} redirects; give the picture's own URL.")


def _join(url: httpx2.URL, location: str) -> str:
    try:
        return str(url.join(location))
    except (httpx2.InvalidURL, ValueError) as error:
        raise WebError(f"{_show(url)} redirects to {quote(location)}, which is no URL.") from error


def _parse_url(text: str) -> httpx2.URL:
    try:
        url = httpx2.URL(text) if len(text) <= _MAX_URL else None
    except (httpx2.InvalidURL, ValueError):
        url = None
    if url is None or not url.host or not 0 <= (url.port or 0) <= _MAX_PORT:
        raise ForbiddenAddressError(f"{_show(text)} is no valid URL; check it.")
    if url.userinfo:
        raise ForbiddenAddressError("The URL has a name or password in it; give one without.")
    if url.scheme != "https":
        raise ForbiddenAddressError(f"{_show(text)} does not begin with https://; only such addresses are fetched.")
    return url.copy_with(fragment=None)


@asynccontextmanager
async def _request(url: httpx2.URL, rules: _Rules) -> AsyncIterator[httpx2.Response]:
    """The response of a URL's host, asked at a checked address; its body is still to be read."""
    addresses = await _list_addresses(url, rules)
    failure: httpx2.TransportError | None = None
    for address in addresses:
        # A client for each request: no cookies, and no connection is ever used for another host.
        async with httpx2.AsyncClient(verify=rules.tls, trust_env=False, timeout=None) as client:
            try:
                response = await client.send(_build_request(client, url, address, rules), stream=True)
            except httpx2.ConnectError as error:
                failure = error
                continue
            except (httpx2.HTTPError, ValueError) as error:
                raise WebError(f"{_show(url)} did not answer properly ({_describe(error)}); check the URL.") from error
            try:
                yield response
            finally:
                await response.aclose()
            return
    reason = _describe(failure) if failure else "no address"
    raise WebError(f"{_show(url)} cannot be reached ({reason}); check the URL and the network.") from failure


async def _list_addresses(url: httpx2.URL, rules: _Rules) -> list[IPAddress]:
    found = await rules.resolve(url.host, _get_port(url))
    allowed = [address for address in found if rules.allow(address)]
    if not allowed:
        raise ForbiddenAddressError(
            f"{_show(url)} leads to a private or reserved address, which is never fetched; save the picture as a file "
            "and give its path."
        )
    return allowed[:_MAX_ADDRESSES]


def _build_request(client: httpx2.AsyncClient, url: httpx2.URL, address: IPAddress, rules: _Rules) -> httpx2.Request:
    return client.build_request(
        "GET",
        url.copy_with(host=str(address)),
        headers={
            "Host": url.netloc.decode("ascii"),
            "User-Agent": f"drawthings-mcp/{get_version('drawthings-mcp')} (local image studio)",
            "Accept": ", ".join(f"{kind}*" if kind.endswith("/") else kind for kind in rules.accept) or "*/*",
            # Packed bodies can grow a thousandfold; pictures are packed already.
            "Accept-Encoding": "identity",
            "Connection": "close",
        },
        # The certificate must be the host's, whatever address was dialled.
        extensions={"sni_hostname": url.raw_host.decode("ascii").strip("[]")},
    )


def _get_port(url: httpx2.URL) -> int:
    return url.port or _PORTS[url.scheme]


async def _read(response: httpx2.Response, url: httpx2.URL, rules: _Rules) -> Fetched:
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    _check_head(response, content_type, url, rules)
    data = bytearray()
    try:
        async for part in response.aiter_raw():
            data += part
            if len(data) > rules.max_bytes:
                raise _build_too_large(url, rules)
    except httpx2.HTTPError as error:
        raise WebError(f"{_show(url)} broke off ({_describe(error)}); try again.") from error
    return Fetched(bytes(data), content_type, str(url))


def _check_head(response: httpx2.Response, content_type: str, url: httpx2.URL, rules: _Rules) -> None:
    if response.status_code != _OK:
        phrase = f" {quote(response.reason_phrase)}" if response.reason_phrase else ""
        raise WebError(f"{_show(url)} answers {response.status_code}{phrase}; check the URL or use another copy.")
    if rules.accept and content_type and not content_type.startswith(rules.accept):
        raise WebError(
            f"{_show(url)} is of type {label(content_type)}, not {' or '.join(rules.accept)}; give the URL of the "
            "file itself, not of a page that shows it."
        )
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise WebError(f"{_show(url)} is sent compressed although that was not asked for; use another copy.")
    length = response.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > rules.max_bytes:
        raise _build_too_large(url, rules)


def _build_too_large(url: httpx2.URL, rules: _Rules) -> WebError:
    return WebError(f"{_show(url)} is larger than {rules.max_bytes / 1e6:.3g} MB; use a smaller copy.")


def _show(url: httpx2.URL | str) -> str:
    """A URL as it may stand in an error: short, on one line, and without what may be secret in its query."""
    text = _CREDENTIALS.sub("//…@", str(url).partition("?")[0])
    return label(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _describe(error: Exception) -> str:
    """The reason in a foreign error, as data."""
    text = str(error).strip()
    return quote(text) if text else type(error).__name__
