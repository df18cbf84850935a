"""The guides on modes, families and prompting, as resources.

Owns their addresses and the names that they are asked for by. The texts are data, ``configs/guides``, and are read
when a client asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.resources.abc import Traversable
from typing import Any

import anyio.to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.server.mcpserver.resources import Resource

from drawthings_mcp.studio import load_room
from drawthings_mcp.validation import shorten

MODES_GUIDE = "guide://modes"
FAMILY_GUIDES = "guide://families/{family}"
PROMPTING_GUIDES = "guide://prompting/{mode}"
_MARKDOWN = "text/markdown"

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


class Guide(Resource):
    """One text.

    Attributes
    ----------
    file
        Its path within ``configs/guides``.
    """

    mime_type: str = _MARKDOWN
    file: str

    async def read(self) -> str:
        """The text, in Markdown."""
        return await read_guide(self.file)


async def read_guide(file: str) -> str:
    """A text of ``configs/guides``, read anew at every call: who edits one need not restart anything."""
    packaged = await load_room("presets.packaged")
    path: Traversable = packaged.find_configs() / "guides" / file
    return await anyio.to_thread.run_sync(partial(path.read_text, encoding="utf-8"))


def list_guides() -> list[Resource]:
    """All guides under addresses of their own, for clients that do not fill in templates."""
    return [
        Guide(
            uri=MODES_GUIDE,
            name="modes",
            title="Guide: modes",
            description="Which mode and which model for what; drafts and finals.",
            file="modes.md",
        ),
        *(
            Guide(
                uri=FAMILY_GUIDES.format(family=name),
                name=name,
                title=f"Guide: {title}",
                description=f"What {title} can do and how to prompt it.",
                file=f"families/{name}.md",
            )
            for name, title in FAMILIES.items()
        ),
        *(
            Guide(
                uri=PROMPTING_GUIDES.format(mode=name),
                name=name,
                title=f"Guide: prompting {name}",
                description=f"How to write a prompt to {purpose}.",
                file=f"prompting/{name}.md",
            )
            for name, purpose in MODES.items()
        ),
    ]


def add_guide_templates(server: MCPServer[Any]) -> None:
    """Lets clients fill in a family or a mode, and tells them the known ones when there is no such guide."""
    server.resource(FAMILY_GUIDES, name="family_guide", title="Guide to a family of models", mime_type=_MARKDOWN)(
        _read_family_guide
    )
    server.resource(PROMPTING_GUIDES, name="prompting_guide", title="Guide to prompting a mode", mime_type=_MARKDOWN)(
        _read_prompting_guide
    )


async def _read_family_guide(family: str) -> str:
    """What the models of a family can do and how to prompt them."""
    return await read_guide(f"families/{_get_name('family', family, FAMILIES)}.md")


async def _read_prompting_guide(mode: str) -> str:
    """How to write a prompt for a mode of generate_image."""
    return await read_guide(f"prompting/{_get_name('mode', mode, MODES)}.md")


def _get_name(what: str, asked: str, known: Mapping[str, str]) -> str:
    """The known name that was meant, without regard to case and separators.

    Raises
    ------
    ResourceNotFoundError
        There is none; the text names all that there are.
    """
    names = {_strip_separators(name): name for name in known}
    found = names.get(_strip_separators(asked))
    if found is None:
        raise ResourceNotFoundError(
            f"There is no guide for the {what} {shorten(asked)}. There are: {', '.join(known)}."
        )
    return found


def _strip_separators(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
