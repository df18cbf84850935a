"""Everything that the user ever made, found again: by words, by filters, by how it looks, and on the web when asked.

Owns its index and the tags. What is listed here is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drawthings_mcp.search.arguments import SearchArguments, SearchResult, SearchRow
    from drawthings_mcp.search.engine import SearchEngine
    from drawthings_mcp.search.indexing import IndexReport, Progress

__all__ = ["IndexReport", "Progress", "SearchArguments", "SearchEngine", "SearchResult", "SearchRow"]

_HOMES = {
    "IndexReport": "indexing",
    "Progress": "indexing",
    "SearchArguments": "arguments",
    "SearchEngine": "engine",
    "SearchResult": "arguments",
    "SearchRow": "arguments",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
