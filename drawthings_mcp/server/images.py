"""The library's pictures as resources: ``image://v3``, the file as it is, and ``image://v3/preview``, small."""

from __future__ import annotations

from functools import partial
from urllib.parse import unquote

import anyio.to_thread
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.types import ResourceTemplate

from drawthings_mcp.errors import DrawThingsError, UnknownNameError
from drawthings_mcp.studio import Studio, load_room

SCHEME = "image://"
ORIGINAL = "image://{id}"
PREVIEW = "image://{id}/preview"

_MAX_ORIGINAL = 32_000_000
"""Bytes of a file that is sent as it is: more than pictures of any usual size have, less than clients choke on."""
_MAX_SOURCE = 128_000_000
"""Bytes of a file that a preview is made of: the most that is taken from outside."""
_PREVIEW_BYTES = 600_000
"""In base64 this stays well below what popular clients take (contract §6)."""


def list_image_templates() -> list[ResourceTemplate]:
    """The addresses into which a client fills an id."""
    return [
        ResourceTemplate(
            uri_template=ORIGINAL,
            name="image",
            title="A picture",
            description="The original file of a picture by its id: a1, v3, p2, i1.",
        ),
        ResourceTemplate(
            uri_template=PREVIEW,
            name="image_preview",
            title="A picture, small",
            description="A picture of at most 1024 pixels by its id, without metadata.",
        ),
    ]


async def read_image(uri: str, studio: Studio) -> ReadResourceContents:
    """The picture at an address.

    Raises
    ------
    ResourceNotFoundError
        There is no such picture; names the nearest ids.
    ResourceError
        Its file is gone or cannot be read; says what became of it.
    """
    image_id, _, form = unquote(uri.removeprefix(SCHEME)).partition("/")
    try:
        if form == "preview":
            return await _read_preview(image_id, studio)
        if form:
            raise ResourceNotFoundError(f"There is no {uri!r}: write {ORIGINAL} or {PREVIEW}.")
        original = await studio.gallery.read_original(image_id, _MAX_ORIGINAL)
        return ReadResourceContents(content=original.data, mime_type=original.mime_type)
    except UnknownNameError as error:
        raise ResourceNotFoundError(str(error)) from error
    except DrawThingsError as error:
        raise ResourceError(str(error)) from error


async def _read_preview(image_id: str, studio: Studio) -> ReadResourceContents:
    original = await studio.gallery.read_original(image_id, _MAX_SOURCE)
    attachments = await load_room("attachments")
    encode = partial(attachments.encode_preview, original.data, max_bytes=_PREVIEW_BYTES)
    preview = await anyio.to_thread.run_sync(encode)
    return ReadResourceContents(content=preview.data, mime_type=preview.mime_type)
