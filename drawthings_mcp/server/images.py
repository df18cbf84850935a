"""``/images/v3``: a picture's file as it is, or with ``?edge=512`` a small one, for browsers and downloads."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import BinaryIO

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.server.face import MCP
from drawthings_mcp.studio.gallery import Gallery
from drawthings_mcp.studio.results import OpenedPicture

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_MIN_EDGE, _MAX_EDGE = 64, 2048
_SHOWN = frozenset(f"image/{name}" for name in ("avif", "bmp", "gif", "jpeg", "png", "webp"))
_MAX_PREVIEW = 8_000_000
_CHUNK = 262_144
_PLAIN = {"X-Content-Type-Options": "nosniff"}
_HEADERS: Mapping[str, str] = {
    # An id is never given twice and its file never changed, so that what a browser has stays right.
    "Cache-Control": "private, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    **_PLAIN,
    "Vary": "Authorization, Cookie",
}


async def serve_image(gallery: Gallery, request: Request) -> Response:
    """Answers ``GET`` and ``HEAD`` of a picture; conditional requests and one range are understood."""
    edge = _parse_edge(request.query_params.get("edge"))
    if edge is None:
        return PlainTextResponse(f"edge: a whole number from {_MIN_EDGE} to {_MAX_EDGE} pixels.", 400)
    try:
        picture = await gallery.open_original(request.path_params["id"])
    except DrawThingsError as error:
        return PlainTextResponse(MCP.word(error), 404, _PLAIN)
    try:
        tag = f'"{picture.sha256}{f"-{edge}" if edge else ""}"' if picture.sha256 else ""
        headers = {**_HEADERS, **({"ETag": tag} if tag else {})}
        if tag and _matches(request.headers.get("if-none-match", ""), tag):
            picture.file.close()
            return Response(status_code=304, headers=headers)
        if edge:
            return await _send_preview(picture, edge, headers)
        return _send_file(picture, request, tag, headers)
    except BaseException:
        picture.file.close()
        raise


def _parse_edge(text: str | None) -> int | None:
    """The longest side that a preview may have; 0 for the original, None for what is no such side."""
    if text is None:
        return 0
    return int(text) if re.fullmatch("[0-9]{1,4}", text) and _MIN_EDGE <= int(text) <= _MAX_EDGE else None


def _matches(header: str, tag: str) -> bool:
    return header.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in header.split(","))


async def _send_preview(picture: OpenedPicture, edge: int, headers: Mapping[str, str]) -> Response:
    from drawthings_mcp.attachments.preview import encode_preview

    def encode() -> Response:
        with picture.file as file:
            preview = encode_preview(file.read(), max_bytes=_MAX_PREVIEW, max_edge=edge)
        return Response(preview.data, headers={**headers}, media_type=preview.mime_type)

    try:
        return await anyio.to_thread.run_sync(encode)
    except DrawThingsError as error:
        return PlainTextResponse(MCP.word(error), 404, _PLAIN)


def _send_file(picture: OpenedPicture, request: Request, tag: str, headers: Mapping[str, str]) -> Response:
    size = picture.size_bytes
    part = _find_part(request, tag, size)
    if part is not None and part.start >= part.stop:
        picture.file.close()
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    sent = part if part is not None else range(size)
    all_headers = {
        **headers,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'{_dispose(picture)}; filename="{picture.id}{_name_ending(picture)}"',
        "Content-Length": str(len(sent)),
        **({"Content-Range": f"bytes {sent.start}-{sent.stop - 1}/{size}"} if part is not None else {}),
    }
    status, mime_type = 200 if part is None else 206, picture.mime_type
    if request.method == "HEAD":
        picture.file.close()
        return Response(status_code=status, headers=all_headers, media_type=mime_type)
    return StreamingResponse(_read(picture.file, sent), status, all_headers, mime_type)


def _dispose(picture: OpenedPicture) -> str:
    """What no browser shows as a picture is for downloads alone."""
    return "inline" if picture.mime_type in _SHOWN else "attachment"


def _name_ending(picture: OpenedPicture) -> str:
    """The ending of the file's name, if it is one that a header takes."""
    suffix = picture.path.suffix
    return suffix if suffix[1:].isascii() and suffix[1:].isalnum() else ""


def _find_part(request: Request, tag: str, size: int) -> range | None:
    """The bytes that are asked for, empty when there are none such; None for all, also where several parts are."""
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None or match[0] == "bytes=-" or request.headers.get("if-range", tag) != tag:
        return None
    first, last = match[1], match[2]
    if not first:
        return range(max(size - int(last), 0), size) if int(last) else range(0)
    return range(int(first), min(int(last) + 1 if last else size, size))


async def _read(file: BinaryIO, part: range) -> AsyncIterator[bytes]:
    try:
        await anyio.to_thread.run_sync(partial(file.seek, part.start))
        left = len(part)
        while left and (data := await anyio.to_thread.run_sync(file.read, min(left, _CHUNK))):
            left -= len(data)
            yield data
    finally:
        file.close()
