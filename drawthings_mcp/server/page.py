"""The files of the page: they are the same for everybody and tell nothing, so that nobody has to sign in for them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_TYPES: Mapping[str, str] = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
_INDEX = "index.html"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
)
"""Nothing from elsewhere, nothing inline, in nobody's frame; and no text that becomes markup."""
_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Page:
    """The page's files, read once."""

    def __init__(self) -> None:
        folder = files("drawthings_mcp") / "page"
        self._files = {item.name: item.read_bytes() for item in folder.iterdir() if item.is_file()}

    async def send_index(self, request: Request) -> Response:
        """The page itself."""
        return self._send(_INDEX, request)

    async def send_file(self, request: Request) -> Response:
        """One of its other files."""
        return self._send(request.path_params["name"], request)

    def _send(self, name: str, request: Request) -> Response:
        data, ending = self._files.get(name), name.rpartition(".")[2]
        if data is None or ending not in _TYPES:
            return PlainTextResponse("There is no such file.", 404)
        headers = {**_HEADERS, "ETag": f'"{sha256(data).hexdigest()[:32]}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(data, headers=headers, media_type=_TYPES[ending])
