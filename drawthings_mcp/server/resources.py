"""Resources: the guides on modes, families and prompting, and the library's pictures.

The guides' texts are data, ``configs/guides``, and are read when a client asks for them: clients wait for the server to
start, and most of them never ask. A picture is ``image://v3``, the file as it is, or ``image://v3/preview``, small.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

import anyio.to_thread
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.types import Resource, ResourceTemplate

from drawthings_mcp.errors import DrawThingsError, UnknownNameError
from drawthings_mcp.packaged import find_configs
from drawthings_mcp.server.face import MCP
from drawthings_mcp.studio.studio import Studio
from drawthings_mcp.validation import shorten, strip_separators

if TYPE_CHECKING:
    from drawthings_mcp.attachments.preview import Preview

GUIDE_SCHEME = "guide://"
IMAGE_SCHEME = "image://"
MODES_GUIDE = "guide://modes"
FAMILY_GUIDES = "guide://families/{family}"
PROMPTING_GUIDES = "guide://prompting/{mode}"
MARKDOWN = "text/markdown"
ORIGINAL = "image://{id}"
PREVIEW = "image://{id}/preview"

_MAX_ORIGINAL = 32_000_000
"""Bytes of a file that is sent as it is: more than pictures of any usual size have, less than clients choke on."""
_MAX_SOURCE = 128_000_000
"""Bytes of a file that a preview is made of: the most that is taken from outside."""
_LEAST_WORD = 3
"""Letters of a word that says which guide is meant."""
_PREVIEW_BYTES = 600_000
"""In base64 this stays well below what popular clients take."""

FAMILIES: Mapping[str, str] = {
    "z-image": "Z-Image",
    "qwen-image": "Qwen Image",
    "flux": "FLUX",
    "sdxl": "SDXL",
    "sd15": "Stable Diffusion 1.5",
    "hidream": "HiDream",
    "ernie": "ERNIE Image",
    "anima": "Anima",
    "ideogram": "Ideogram",
    "krea": "Krea",
    "wan": "Wan (video)",
    "ltx": "LTX (video)",
    "hunyuan-video": "Hunyuan Video",
    "svd": "Stable Video Diffusion",
    "minimax": "MiniMax H3 (video)",
}
"""Families of models that have a guide, and how people write their names."""

MODES: Mapping[str, str] = {
    "text2image": "make a picture from words: photo, poster, logo",
    "image2image": "redraw a picture",
    "edit": "change something in a picture",
    "inpaint": "repaint a part of a picture",
}
"""Modes that have a guide, and what each is for."""


_SHELVES: Mapping[str, tuple[str, Mapping[str, str]]] = {"families": ("family", FAMILIES), "prompting": ("mode", MODES)}
"""Folders of guides: what their names are names of, and the names."""


def list_guides() -> list[Resource]:
    """All guides under addresses of their own, for clients that do not fill in templates."""
    modes = Resource(
        uri=MODES_GUIDE,
        name="modes",
        title="Guide: modes",
        description="Which mode and which model for what; drafts and finals.",
        mime_type=MARKDOWN,
    )
    families = (
        Resource(
            uri=FAMILY_GUIDES.format(family=name),
            name=name,
            title=f"Guide: {title}",
            description=f"What {title} can do and how to prompt it.",
            mime_type=MARKDOWN,
        )
        for name, title in FAMILIES.items()
    )
    prompting = (
        Resource(
            uri=PROMPTING_GUIDES.format(mode=name),
            name=name,
            title=f"Guide: prompting {name}",
            description=f"How to write a prompt to {purpose}.",
            mime_type=MARKDOWN,
        )
        for name, purpose in MODES.items()
    )
    return [modes, *families, *prompting]


def list_templates() -> list[ResourceTemplate]:
    """The addresses into which a client fills a family, a mode or an id."""
    return [
        ResourceTemplate(
            uri_template=FAMILY_GUIDES,
            name="family_guide",
            title="Guide to a family of models",
            description="What the models of a family can do and how to prompt them.",
            mime_type=MARKDOWN,
        ),
        ResourceTemplate(
            uri_template=PROMPTING_GUIDES,
            name="prompting_guide",
            title="Guide to prompting a mode",
            description="How to write a prompt for a mode of generate_image.",
            mime_type=MARKDOWN,
        ),
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


async def read_resource(uri: str, studio: Studio) -> ReadResourceContents | None:
    """The guide or the picture at an address; None when it is neither's.

    Raises
    ------
    ResourceNotFoundError
        There is no such guide or picture; names those that there are.
    ResourceError
        The picture's file is gone or cannot be read; says what became of it.
    """
    if uri.startswith(GUIDE_SCHEME):
        return ReadResourceContents(content=await read_guide(uri), mime_type=MARKDOWN)
    return await _read_image(uri, studio) if uri.startswith(IMAGE_SCHEME) else None


def find_guides(query: str) -> list[Resource]:
    """The guide with this name; else those that have most of the words; else all."""
    guides = list_guides()
    wanted = strip_separators(query)
    named = [guide for guide in guides if wanted and wanted == strip_separators(guide.name)]
    words = [word.rstrip("s") for word in query.lower().split() if len(word) >= _LEAST_WORD]

    def rate(guide: Resource) -> int:
        text = f"{guide.name} {guide.title} {guide.description}".lower()
        # "inpainting" means the guide to inpaint.
        return sum(word in text or word.startswith(guide.name) for word in words)

    most = max(map(rate, guides))
    return named[:1] or [guide for guide in guides if rate(guide) == most]


async def read_guide(uri: str) -> str:
    """The Markdown text at an address; names are found without regard to case and separators.

    Raises
    ------
    ResourceNotFoundError
        There is no such guide; the text names all that there are.
    """
    return await read_text(_find_file(uri))


async def read_text(file: str) -> str:
    """A text of ``configs/guides``, read again at every call: who edits one need not restart anything."""
    path = find_configs() / "guides" / file
    return await anyio.to_thread.run_sync(partial(path.read_text, encoding="utf-8"))


def _find_file(uri: str) -> str:
    folder, _, asked = unquote(uri.removeprefix(GUIDE_SCHEME)).partition("/")
    if uri == MODES_GUIDE:
        return "modes.md"
    if folder not in _SHELVES:
        raise ResourceNotFoundError(
            f"There is no guide at {shorten(uri)}. There are: {MODES_GUIDE}, {FAMILY_GUIDES}, {PROMPTING_GUIDES}."
        )
    what, known = _SHELVES[folder]
    name = {strip_separators(name): name for name in known}.get(strip_separators(asked))
    if name is None:
        raise ResourceNotFoundError(
            f"There is no guide for the {what} {shorten(asked)}. There are: {', '.join(known)}."
        )
    return f"{folder}/{name}.md"


async def _read_image(uri: str, studio: Studio) -> ReadResourceContents:
    image_id, _, form = unquote(uri.removeprefix(IMAGE_SCHEME)).partition("/")
    try:
        if form == "preview":
            preview = await read_preview(image_id, studio)
            return ReadResourceContents(content=preview.data, mime_type=preview.mime_type)
        if form:
            raise ResourceNotFoundError(f"There is no {shorten(uri)}: write {ORIGINAL} or {PREVIEW}.")
        original = await studio.gallery.read_original(image_id, _MAX_ORIGINAL)
        return ReadResourceContents(content=original.data, mime_type=original.mime_type)
    except UnknownNameError as error:
        raise ResourceNotFoundError(MCP.word(error)) from error
    except DrawThingsError as error:
        raise ResourceError(MCP.word(error)) from error


async def read_preview(image_id: str, studio: Studio) -> Preview:
    """A small picture of one in the library, for a message of its own."""
    from drawthings_mcp.attachments.preview import encode_preview

    original = await studio.gallery.read_original(image_id, _MAX_SOURCE)
    return await anyio.to_thread.run_sync(partial(encode_preview, original.data, max_bytes=_PREVIEW_BYTES))
