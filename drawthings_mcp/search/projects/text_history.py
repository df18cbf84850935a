"""The prompts of older rows, from the history of edits (formats §5.5).

Owns how edits are replayed. Knows no SQL: rows are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from drawthings_mcp.search.projects.flatbuffer import Table

EDITS_PER_NODE = 50
"""After so many edits the app begins a new node with the whole text."""
_NEGATIVE = 1
_MAX_TEXT = 1 << 20
"""UTF-16 code units; a hostile history could double a text with every edit."""

FindText: TypeAlias = Callable[[int, int], bytes | None]
"""Lineage and logical time → the blob of a node."""


def replay(lineage: int, edits: int, find_text: FindText) -> tuple[str, str] | None:
    """Prompt and negative prompt after so many edits; None when the history does not reach there.

    Parameters
    ----------
    lineage
        As resolved through its aliases.
    edits
        From the beginning of the history.
    """
    data = find_text(lineage, edits // EDITS_PER_NODE)
    if data is None:
        return None
    node = Table(data)
    texts = [_encode(node.get_text(3)), _encode(node.get_text(4))]
    count = min(max(edits - int(node.get(2, "i64")), 0), EDITS_PER_NODE)
    for edit in node.get_tables(5)[:count]:
        side = 1 if edit.get(0, "u8") == _NEGATIVE else 0
        texts[side] = _replace(texts[side], *edit.get_range(1), _encode(edit.get_text(2)))
    return _decode(texts[0]), _decode(texts[1])


def _replace(text: bytes, location: int, length: int, new: bytes) -> bytes:
    """Positions count UTF-16 code units, as in the app; what lies outside of the text is cut off."""
    start = min(max(location, 0) * 2, len(text))
    end = min(start + max(length, 0) * 2, len(text))
    return (text[:start] + new + text[end:])[: _MAX_TEXT * 2]


def _encode(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def _decode(text: bytes) -> str:
    return text.decode("utf-16-le", "replace")
