"""Boxes as models write them → as tools declare them; the schema says nothing of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator

_NUMBER = re.compile(r"-?\d*\.?\d+")
_EDGES = ("left", "top", "right", "bottom")


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


Boxes: TypeAlias = Annotated[list[list[float]], BeforeValidator(_list_boxes)]
"""Left, top, right and bottom of several rectangles."""
