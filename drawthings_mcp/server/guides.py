"""The guides on modes, families and prompting, as resources.

Owns their addresses and the names that they are asked for by. The texts are data, ``configs/guides``, and are read
when a client asks for them: clients wait for the server to start, and most of them never ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.resources.abc import Traversable
from urllib.parse import unquote

import anyio.to_thread
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.types import Resource, ResourceTemplate

from drawthings_mcp.studio import load_room
from drawthings_mcp.validation import shorten, strip_separators

SCHEME = "guide://"
MODES_GUIDE = "guide://modes"
FAMILY_GUIDES = "guide://families/{family}"
PROMPTING_GUIDES = "guide://prompting/{mode}"
MARKDOWN = "text/markdown"

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
}
"""Families of models that have a guide, and how people write their names."""

MODES: Mapping[str, str] = {
    "text2image": "make a picture from words",
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


def list_guide_templates() -> list[ResourceTemplate]:
    """The addresses into which a client fills a family or a mode."""
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
    ]


async def read_guide(uri: str) -> str:
    """The Markdown text at an address; names are found without regard to case and separators.

    Raises
    ------
    ResourceNotFoundError
        There is no such guide; the text names all that there are.
    """
    return await read_text(_find_file(uri))


async def read_text(file: str) -> str:
    """A text of ``configs/guides``, read anew at every call: who edits one need not restart anything."""
    packaged = await load_room("packaged")
    path: Traversable = packaged.find_configs() / "guides" / file
    return await anyio.to_thread.run_sync(partial(path.read_text, encoding="utf-8"))


def _find_file(uri: str) -> str:
    folder, _, asked = unquote(uri.removeprefix(SCHEME)).partition("/")
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
