"""Everything that the user ever made, found again: by words, by filters, by how it looks, and on the web when asked.

Owns its index and the tags. What is listed here is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawthings_mcp.late import import_late

if TYPE_CHECKING:
    from drawthings_mcp.search.arguments import SearchArguments, SearchResult, SearchRow
    from drawthings_mcp.search.engine import SearchEngine
    from drawthings_mcp.search.indexing import IndexReport, Progress

__all__ = ["IndexReport", "Progress", "SearchArguments", "SearchEngine", "SearchResult", "SearchRow"]

_HOMES = {
    "arguments": ("SearchArguments", "SearchResult", "SearchRow"),
    "engine": ("SearchEngine",),
    "indexing": ("IndexReport", "Progress"),
}

__getattr__ = import_late(__name__, _HOMES)
