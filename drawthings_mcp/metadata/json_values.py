"""JSON that strangers wrote → values of the type that is wanted.

Owns the limits and the leniency. Knows no dialect.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from typing import Any

from drawthings_mcp.errors import InvalidImageError

MAX_VALUES = 50_000
"""Of one text: a value of two characters takes a hundred bytes of memory. The largest graphs have some ten thousand."""
MAX_DEPTH = 64
"""Lists and objects within each other; graphs have about ten."""

_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_NOT_TEXT = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\0\ud800-\udfff]")
_INTEGER = re.compile(r"\s*[+-]?\d{1,20}(\.0{0,9})?\s*")
_FLOAT = re.compile(r"\s*[+-]?\d{1,20}(\.\d{0,40})?([eE][+-]?\d{1,3})?\s*")
_MAX_INTEGER = 2**64
"""Seeds of ComfyUI have 64 bits."""


def parse_json(text: str) -> Any:
    """The value of a text, None when it is no JSON; bare NaN and Infinity pass (formats §4.2).

    Raises
    ------
    InvalidImageError
        It has more than ``MAX_VALUES`` values, or is nested more than ``MAX_DEPTH`` deep.
    """
    check_values(text)
    try:
        data = json.loads(text.strip("\ufeff\0 \r\n\t"), strict=False)
    except ValueError:
        return None
    except RecursionError as error:
        raise _describe_depth() from error
    _check_depth(data)
    return _mend(data) if _HALF_PAIR.search(text) else data


def check_values(text: str) -> None:
    """Refuse a text that would become more values than memory is spent on.

    Raises
    ------
    InvalidImageError
        It has more than ``MAX_VALUES``, counted by what divides them.
    """
    if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
        raise InvalidImageError(f"The picture's metadata have more than {MAX_VALUES:,} values and are not read.")


def parse_object(text: str) -> dict[str, Any] | None:
    """The object of a text; None for anything else. Otherwise as ``parse_json``."""
    if not text.lstrip("\ufeff\0 \r\n\t").startswith("{"):
        return None
    data = parse_json(text)
    return data if isinstance(data, dict) else None


def _check_depth(data: Any) -> None:
    level = [data]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for parent in level
            for item in (parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ())
            if isinstance(item, dict | list)
        ]
        if not level:
            return
    raise _describe_depth()


def _describe_depth() -> InvalidImageError:
    return InvalidImageError(f"The picture's metadata are nested more than {MAX_DEPTH} deep and are not read.")


def _mend(data: Any) -> Any:
    """The same with halves of surrogate pairs replaced, which are no text and cannot be stored."""
    return json.loads(_NOT_TEXT.sub("\ufffd", json.dumps(data, ensure_ascii=False)))


def clean_text(text: str) -> str:
    """Text that can be stored anywhere: trimmed, no NUL, no halves of surrogate pairs."""
    text = text.strip()
    if text.isascii() and "\0" not in text:
        return text
    return _CONTROL.sub(lambda match: "" if match[0] == "\0" else "\ufffd", text)


def find_text(value: Any) -> str:
    """A text; empty for anything else."""
    return value if isinstance(value, str) else ""


def find_int(value: Any) -> int | None:
    """A whole number, also one that was written as a text; None for anything else."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value.partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_INTEGER
    return value if is_number else None


def find_float(value: Any) -> float | None:
    """A finite number, also one that was written as a text; None for anything else."""
    if isinstance(value, str) and _FLOAT.fullmatch(value):
        value = float(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_INTEGER:
        value = float(value)
    return value if isinstance(value, float) and math.isfinite(value) else None


def find_object(value: Any) -> dict[str, Any]:
    """An object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def find_list(value: Any) -> list[Any]:
    """A list; an empty one for anything else."""
    return value if isinstance(value, list) else []


def find_moment(value: Any) -> datetime | None:
    """A time in ISO 8601, in this machine's zone where it names none; None for anything else."""
    try:
        return datetime.fromisoformat(value).astimezone() if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
