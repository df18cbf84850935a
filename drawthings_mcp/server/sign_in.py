"""Who is signed in with a browser: links that let one in once, and the cookies that stand for a token afterwards."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from hashlib import sha256
from typing import Any

from drawthings_mcp.server.tokens import TokenFile

_CODE_BYTES = 16
_CODE_SECONDS = 300.0
_COOKIE_BYTES = 32
_COOKIE_SECONDS = 30 * 24 * 3_600
_MOST = 200
"""Codes, and browsers that are signed in; the oldest are forgotten."""
_LINK = ""
"""Holder of what was begun with a link: no token of the file, so that none can be taken from it."""


class SignIns:
    """The browsers that are signed in, until the server ends; only hashes of what they hold are kept.

    Parameters
    ----------
    tokens
        Whoever signed in with one that is not there any more is out.
    """

    def __init__(self, tokens: TokenFile) -> None:
        self._tokens = tokens
        self._codes: OrderedDict[bytes, float] = OrderedDict()
        self._browsers: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def make_code(self) -> str:
        """A code of 128 bits that signs one browser in within five minutes."""
        code = secrets.token_urlsafe(_CODE_BYTES)
        self._codes[_hash(code)] = time.monotonic() + _CODE_SECONDS
        _drop_oldest(self._codes)
        return code

    def redeem(self, code: str, token: str) -> str | None:
        """The value of a new cookie for a code, which counts no more then, or a token; None for neither."""
        until = self._codes.pop(_hash(code), 0.0) if code else 0.0
        holder = self._tokens.find_name(token) if token else _LINK
        if not holder and until < time.monotonic():
            return None
        value = secrets.token_urlsafe(_COOKIE_BYTES)
        self._browsers[_hash(value)] = holder, time.monotonic() + _COOKIE_SECONDS
        _drop_oldest(self._browsers)
        return value

    def find_holder(self, cookies: str, host: str) -> str | None:
        """Who the browser with these cookies belongs to, ``browser`` when it came by a link; None for nobody."""
        known = self._browsers.get(_hash(read_cookie(cookies, host)))
        if known is None or known[1] < time.monotonic() or (known[0] != _LINK and not self._tokens.knows(known[0])):
            return None
        return known[0] or "browser"

    def end(self, cookies: str, host: str) -> None:
        """Signs a browser out."""
        self._browsers.pop(_hash(read_cookie(cookies, host)), None)


def name_cookie(host: str) -> str:
    """A name of its own for each port: browsers keep one jar for all servers of a machine."""
    port = host.rpartition(":")[2]
    return f"drawthings-{port}" if port.isdecimal() else "drawthings"


def write_cookie(value: str, host: str, *, is_secure: bool) -> str:
    """The header that sets a cookie; an empty value takes it away."""
    age = _COOKIE_SECONDS if value else 0
    secure = "; Secure" if is_secure else ""
    return f"{name_cookie(host)}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"


def read_cookie(cookies: str, host: str) -> str:
    """The value of ours among cookies; empty when it is not there."""
    parts = (part.strip().partition("=") for part in cookies.split(";"))
    return next((value for name, _, value in parts if name == name_cookie(host)), "")


def _hash(secret: str) -> bytes:
    # A look-up by hash takes no longer the more of a guess is right.
    return sha256(secret.encode("utf-8", "replace")).digest()


def _drop_oldest(kept: OrderedDict[bytes, Any]) -> None:
    while len(kept) > _MOST:
        kept.popitem(last=False)
