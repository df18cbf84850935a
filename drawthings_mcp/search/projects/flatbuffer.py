"""Single fields of a FlatBuffer, by slot (formats §5.2).

Generated code would read a table of 114 slots into 114 attributes, trusts every offset, and fails on a blob that was
cut off. Here a field is a slot, a type and a default; what stands outside of the blob counts as absent.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, TypeAlias

Scalar: TypeAlias = int | float | bool

_FORMATS: Mapping[str, struct.Struct] = {
    "bool": struct.Struct("<?"),
    "u8": struct.Struct("<B"),
    "i8": struct.Struct("<b"),
    "u16": struct.Struct("<H"),
    "i32": struct.Struct("<i"),
    "u32": struct.Struct("<I"),
    "i64": struct.Struct("<q"),
    "f32": struct.Struct("<f"),
    "f64": struct.Struct("<d"),
}
_OFFSET = _FORMATS["u32"]
_MAX_ITEMS = 10_000
"""Of one list of tables; the longest in use are edits of a text, fifty."""


class Table:
    """One table of a buffer.

    Parameters
    ----------
    data
        The whole buffer.
    place
        Where the table begins; by default the buffer's root.
    """

    __slots__ = ("_data", "_place", "_vtable", "_vtable_size")

    def __init__(self, data: bytes, place: int | None = None) -> None:
        self._data = data
        self._place: int = self._read(_OFFSET, 0) if place is None else place
        self._vtable = self._place - int(self._read(_FORMATS["i32"], self._place))
        self._vtable_size = int(self._read(_FORMATS["u16"], self._vtable))

    def get(self, slot: int, kind: str, default: Scalar = 0) -> Scalar:
        """A number, or the default where it is absent."""
        place = self._find(slot)
        value: Scalar = default if place is None else self._read(_FORMATS[kind], place, default)
        return value

    def get_text(self, slot: int) -> str:
        """A text; empty where it is absent."""
        return bytes(self.get_bytes(slot)).decode("utf-8", "replace")

    def get_bytes(self, slot: int) -> memoryview:
        """A vector of bytes, or those of a text; empty where it is absent or would end outside of the buffer."""
        place = self._follow(slot)
        if place is None:
            return memoryview(b"")
        length = self._read(_OFFSET, place)
        data = memoryview(self._data)[place + 4 : place + 4 + length]
        return data if len(data) == length else memoryview(b"")

    def get_tables(self, slot: int) -> list[Table]:
        """A vector of tables; empty where it is absent."""
        place = self._follow(slot)
        if place is None:
            return []
        count = min(self._read(_OFFSET, place), _MAX_ITEMS, (len(self._data) - place) // 4)
        places = range(place + 4, place + 4 + 4 * count, 4)
        return [Table(self._data, item + self._read(_OFFSET, item)) for item in places]

    def get_range(self, slot: int) -> tuple[int, int]:
        """A struct of two 32-bit integers; zeros where it is absent."""
        place = self._find(slot)
        number = _FORMATS["i32"]
        return (0, 0) if place is None else (self._read(number, place), self._read(number, place + 4))

    def _follow(self, slot: int) -> int | None:
        place = self._find(slot)
        return None if place is None else place + int(self._read(_OFFSET, place))

    def _find(self, slot: int) -> int | None:
        entry = 4 + 2 * slot
        if entry + 2 > self._vtable_size:
            return None
        offset: int = self._read(_FORMATS["u16"], self._vtable + entry)
        return self._place + offset if offset else None

    def _read(self, form: struct.Struct, place: int, default: Scalar = 0) -> Any:
        if not 0 <= place <= len(self._data) - form.size:
            return default
        return form.unpack_from(self._data, place)[0]
