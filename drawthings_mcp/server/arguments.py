"""Arguments as models write them → as tools declare them: one thing where a list is meant, and the other way round.

What can mean one thing only is taken without a question. The schema says nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator

_IDS = re.compile(r"\s*[avpi]\d+(?:\s*[,;\s]\s*[avpi]\d+)+\s*", re.IGNORECASE)
_ID = re.compile(r"[avpi]\d+", re.IGNORECASE)
_NOTHING = frozenset({"", "none", "null"})
"""What models write into an argument that they mean to leave out."""
_NUMBER = re.compile(r"-?\d*\.?\d+")
_EDGES = ("left", "top", "right", "bottom")


def _split(value: Any) -> Any:
    """``"v1"`` and ``"v1, v2"`` as lists; what names nothing is left out."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        return value
    named = (item for item in items if not _names_nothing(item))
    return [part for item in named for part in (_ID.findall(item) if _names_ids(item) else [item])]


def _names_nothing(item: Any) -> bool:
    return isinstance(item, str) and item.strip().lower() in _NOTHING


def _names_ids(item: Any) -> bool:
    return isinstance(item, str) and _IDS.fullmatch(item) is not None


def _unwrap(value: Any) -> Any:
    """``["v1"]`` as its only element; ``[]`` and ``"none"`` as what is left out."""
    item = (value or [""])[0] if isinstance(value, list) and len(value) < 2 else value
    return "" if _names_nothing(item) else item


def _list_boxes(value: Any) -> Any:
    """One box where several are meant; boxes as texts or as objects with named edges."""
    is_one = isinstance(value, str | dict) or (
        isinstance(value, list) and len(value) == len(_EDGES) and all(isinstance(edge, int | float) for edge in value)
    )
    items = [value] if is_one else value
    return list(map(_parse_box, items)) if isinstance(items, list) else value


def _parse_box(box: Any) -> Any:
    if isinstance(box, dict) and box.keys() == set(_EDGES):
        return [box[edge] for edge in _EDGES]
    if isinstance(box, str):
        numbers = list(_find_numbers(box))
        return numbers if len(numbers) == len(_EDGES) else box
    return box


def _find_numbers(text: str) -> Iterator[float]:
    return (float(number) for number in _NUMBER.findall(text))


Name: TypeAlias = Annotated[str, BeforeValidator(_unwrap)]
"""What names one thing: a picture, a model, a preset."""
Names: TypeAlias = Annotated[list[str], BeforeValidator(_split)]
"""What names several."""
Boxes: TypeAlias = Annotated[list[list[float]], BeforeValidator(_list_boxes)]
"""Left, top, right and bottom of several rectangles."""
