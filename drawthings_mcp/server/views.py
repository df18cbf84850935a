"""Views: pages that a chat shows beside a result, for clients that take them (``io.modelcontextprotocol/ui``).

A view is one HTML text without network, put together of the files in ``page/``: a script, the modules that it
imports, and their style. What it shows travels in the result's ``_meta``, and what it does are calls of our tools.
Clients that do not declare the extension get none of this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID, client_supports_apps
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.types import Resource
from mcp.types import Tool as ListedTool

from drawthings_mcp.settings import APP_NAME

VIEW_KEY = f"{APP_NAME}/view"
"""In the ``_meta`` of a result: what a view shows; in that of a call: that a view makes it, not a model."""

_SCHEME = "ui://drawthings/"
_TITLES: Mapping[str, str] = {
    "result": "Pictures just made",
    "compare": "Pictures compared",
    "mask": "A mask, painted",
    "search": "Pictures found",
}
_SHOWN_BY: Mapping[str, str] = {
    "generate_image": "result",
    "get_job": "result",
    "review_image": "compare",
    "transform_image": "mask",
    "search_images": "search",
}
"""Tools whose results have a view."""

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function |const |class )", re.MULTILINE)
_PAGE = """\
<!doctype html>
<html lang="en" data-view="{name}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
<main></main>
<script type="module">
{script}</script>
</html>
"""


def takes_views(ctx: Context[Any, Any] | ServerRequestContext[Any, Any]) -> bool:
    """Whether the client declares that it shows views; known of a handshake, too, while it is under way."""
    if isinstance(ctx, Context) or ctx.method != "initialize":
        return client_supports_apps(ctx)
    try:
        taken = (ctx.params or {})["capabilities"]["extensions"][EXTENSION_ID]["mimeTypes"]
    except (KeyError, TypeError):
        return False
    return isinstance(taken, list) and APP_MIME_TYPE in taken


def add_views(method: str, answer: dict[str, Any], tools: Sequence[Tool]) -> None:
    """Adds to an answer to a client that takes views what others do not get.

    Parameters
    ----------
    tools
        Those that views alone call.
    """
    if method in {"initialize", "server/discover"}:
        answer["capabilities"] = {**answer["capabilities"], "extensions": {EXTENSION_ID: {}}}
    elif method == "tools/list":
        for tool in answer["tools"]:
            if tool["name"] in _SHOWN_BY:
                tool["_meta"] = {"ui": {"resourceUri": f"{_SCHEME}{_SHOWN_BY[tool['name']]}"}}
        answer["tools"] += map(_list_tool, tools)
    elif method == "resources/list":
        answer["resources"] += [_dump(_list_view(name, title)) for name, title in _TITLES.items()]


def _list_tool(tool: Tool) -> dict[str, Any]:
    return _dump(
        ListedTool(
            name=tool.name,
            title=tool.title,
            description=tool.description,
            input_schema=tool.parameters,
            annotations=tool.annotations,
            _meta={"ui": {"visibility": ["app"]}},
        )
    )


def _list_view(name: str, title: str) -> Resource:
    return Resource(uri=f"{_SCHEME}{name}", name=name, title=title, mime_type=APP_MIME_TYPE, _meta=_UI)


_UI: dict[str, Any] = {"ui": {"prefersBorder": True}}
"""No domains: a view speaks to nobody but the chat that shows it."""


def _dump(listed: ListedTool | Resource) -> dict[str, Any]:
    return listed.model_dump(by_alias=True, mode="json", exclude_none=True)


def read_view(uri: str) -> ReadResourceContents | None:
    """The text of the view at an address; None when there is none."""
    name = uri.removeprefix(_SCHEME)
    if not uri.startswith(_SCHEME) or name not in _TITLES:
        return None
    return ReadResourceContents(content=_build(name), mime_type=APP_MIME_TYPE, meta=_UI)


def _build(name: str) -> str:
    style, script = _read_parts()
    return _PAGE.format(name=name, title=_TITLES[name], style=style, script=script)


@cache
def _read_parts() -> tuple[str, str]:
    folder = files("drawthings_mcp") / "page"
    style = "".join((folder / name).read_text(encoding="utf-8") for name in ("parts.css", "view.css"))
    return style, join_modules(folder, "view.js")


def join_modules(folder: Traversable, entry: str) -> str:
    """A script and the modules that it imports as one; their names must not collide, and none may be renamed."""
    joined: dict[str, str] = {}

    def add(file: str) -> None:
        text = (folder / file).read_text(encoding="utf-8")
        for needed in _IMPORT.findall(text):
            if needed not in joined:
                add(needed)
        joined[file] = _EXPORT.sub("", _IMPORT.sub("", text))

    add(entry)
    return "\n".join(joined.values())
