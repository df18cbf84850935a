"""Who may speak to ``serve --http``: the name and the page that a request comes under, and its token.

A page of the web can have its own name lead to this machine; its requests then carry that name as ``Host``, which is
refused, or its ``Origin``. The SDK's checks of both switch themselves off when a server listens to other machines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from drawthings_mcp.address import is_loopback
from drawthings_mcp.server.session import Caller
from drawthings_mcp.server.sign_in import SignIns
from drawthings_mcp.server.tokens import TokenFile

MCP_PATH = "/mcp"
HEALTH_PATH = "/health"
IMAGES_PATH = "/images"
PAGE_PATH = "/page"
"""The files of the page; ``/`` is the first of them."""
SIGN_IN_PATH = "/sign-in"
GALLERY_PATH = "/gallery"

_CALLER = "drawthings_mcp.caller"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_BEARER = "bearer"
_SAME = "same-origin"
_READING = frozenset({"GET", "HEAD"})
_HOST = re.compile(r"(?:(?P<name>[a-z0-9._-]{1,253})|\[(?P<ipv6>[0-9a-f:.]{2,45})\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class AccessRules:
    """What a request must have.

    Attributes
    ----------
    hosts
        Names and addresses under which other machines reach the server, in lower case, without ports.
    origins
        Pages of other servers that may speak to this one, ``https://page.example``.
    needs_token
        Whether programs on this machine need one, too.
    """

    tokens: TokenFile
    sign_ins: SignIns
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    needs_token: bool = True


def get_caller(scope: Scope) -> Caller:
    """Who sent a request that was let in."""
    caller: Caller = scope[_CALLER]
    return caller


def name_host(host: str) -> str:
    """The name or address in a ``Host`` header, in lower case and without the port; empty when it is none."""
    match = _HOST.fullmatch(host.lower())
    return (match["name"] or match["ipv6"]).removesuffix(".") if match else ""


class Access:
    """Lets a request pass to an application, or answers it with 421, 403 or 401."""

    def __init__(self, app: ASGIApp, rules: AccessRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._check(scope)
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _check(self, scope: Scope) -> Response | None:
        """Why a request is refused; None lets it pass, with its caller noted."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        name, is_near = name_host(host), _is_near(scope)
        is_local = is_near and name in _LOCAL_NAMES
        path, house = scope["path"], _find_house(scope["path"])
        if not is_local and name not in self._rules.hosts:
            return PlainTextResponse("This server is not known under that name; see --allow-host.", 421)
        # Only a proxy on this machine can say which scheme it was reached by.
        is_encrypted = is_near and not is_local and headers.get("x-forwarded-proto") == "https"
        own = f"{'https' if is_encrypted else scope['scheme']}://{host}".lower()
        # Where a proxy does the encryption, the page is one of https and the request is not.
        is_own = origin is None or origin.lower() in (own, f"https://{host}".lower())
        if origin is not None and not is_own and (house or not self._is_named(origin)):
            return PlainTextResponse("That page may not speak to this server; see --allow-origin.", 403)
        if house and not _is_from_own_page(scope, headers):
            return PlainTextResponse("Only the page of this server may ask for that.", 403)
        if path == HEALTH_PATH or (_is_preflight(scope["method"], headers) and self._is_named(origin)):
            return None
        holder = self._find_holder(headers)
        if holder is None and house in (IMAGES_PATH, GALLERY_PATH) and "authorization" not in headers:
            holder = self._find_signed_in(scope, headers)
        is_open = house in (PAGE_PATH, SIGN_IN_PATH) or (is_local and not self._rules.needs_token and not house)
        if holder is None and ("authorization" in headers or not is_open):
            return PlainTextResponse("A token is needed.", 401, {"WWW-Authenticate": "Bearer"})
        if holder is not None:
            # The SDK gives a session to whoever began it, and to nobody else.
            scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=holder, scopes=[]))
        scope[_CALLER] = Caller(holder or "", not is_local, f"{own}{IMAGES_PATH}/" if holder else "")
        return None

    def _find_signed_in(self, scope: Scope, headers: Headers) -> str | None:
        """Who signed in with the browser that asks; what changes something must come from the page itself."""
        if scope["method"] not in _READING and headers.get("sec-fetch-site", "") != _SAME and "origin" not in headers:
            return None
        return self._rules.sign_ins.find_holder(headers.get("cookie", ""), headers.get("host", ""))

    def _is_named(self, origin: str | None) -> bool:
        return origin is not None and origin.lower() in self._rules.origins

    def _find_holder(self, headers: Headers) -> str | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return self._rules.tokens.find_name(token.strip()) or None if scheme.lower() == _BEARER else None


def _is_near(scope: Scope) -> bool:
    """Whether the other end is on this machine; a proxy here is too, but passes other names on."""
    client = scope.get("client")
    return client is not None and is_loopback(client[0])


def _find_house(path: str) -> str:
    """Which of the parts that only the page of this server may use a path belongs to; empty for none."""
    if path == "/":
        return PAGE_PATH
    parts = (PAGE_PATH, SIGN_IN_PATH, GALLERY_PATH, IMAGES_PATH)
    return next((part for part in parts if path == part or path.startswith(f"{part}/")), "")


def _is_from_own_page(scope: Scope, headers: Headers) -> bool:
    """Whether the page of this server asks, as far as that is said: programs do not say, nor do browsers before 2023.

    Links of other pages lead to ``/`` alone, in a tab of its own: without a cookie's owner there is nothing to see.
    """
    site = headers.get("sec-fetch-site", _SAME)
    is_visit = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return site in (_SAME, "none") or (scope["path"] == "/" and is_visit)


def _is_preflight(method: str, headers: Headers) -> bool:
    """Whether a browser asks what a page of another server may do; such a question cannot have a token."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers
