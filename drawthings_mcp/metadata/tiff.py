"""The tags of an EXIF block: numbers and texts of the first directory, of EXIF's own and of the place (Exif 3.0, §4.6).

Owns the structure; what tags mean is ``exif``'s. Pillow's reader warns about damaged blocks through the whole process
and makes Latin-1 of every text; here what cannot be read is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

_PREFIX = b"Exif\0\0"
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_MAX_ENTRIES = 512
"""Of a directory; cameras write about fifty."""
_EXIF_POINTER, _PLACE_POINTER = 0x8769, 0x8825

_ASCII, _SHORT, _LONG, _RATIONAL, _SIGNED_RATIONAL = 2, 3, 4, 5, 10
_SIZES = {1: 1, _ASCII: 1, _SHORT: 2, _LONG: 4, _RATIONAL: 8, 6: 1, 7: 1, 8: 2, 9: 4, _SIGNED_RATIONAL: 8, 11: 4, 12: 8}
"""Type → bytes of one value."""
_FORMATS = {1: "B", _SHORT: "H", _LONG: "I", _RATIONAL: "II", _SIGNED_RATIONAL: "ii", 9: "i"}
_MAX_NUMBERS = 16


@dataclass(frozen=True, slots=True)
class Tag:
    """One value as it stands.

    Attributes
    ----------
    order
        ``<`` or ``>``, as in ``struct``.
    """

    kind: int
    data: memoryview
    order: str

    @property
    def text(self) -> str:
        """As text; without what follows the first NUL where the type is text."""
        data = bytes(self.data)
        if self.kind == _ASCII:
            data = data.partition(b"\0")[0]
        try:
            return data.decode("utf-8").strip()
        except UnicodeDecodeError:
            return data.decode("latin-1").strip()

    @property
    def numbers(self) -> tuple[float, ...]:
        """As numbers; none when it is text, or divides by zero."""
        form = _FORMATS.get(self.kind)
        if form is None:
            return ()
        size = _SIZES[self.kind]
        values = list(
            struct.iter_unpack(self.order + form, self.data[: min(len(self.data) // size, _MAX_NUMBERS) * size])
        )
        if len(form) == 1:
            return tuple(value for (value,) in values)
        return tuple(top / bottom for top, bottom in values) if all(bottom for _, bottom in values) else ()


@dataclass(frozen=True, slots=True)
class Tags:
    """By number: those of the first directory and EXIF's own together, and those of the place."""

    picture: Mapping[int, Tag] = field(default_factory=dict)
    place: Mapping[int, Tag] = field(default_factory=dict)

    def get_text(self, tag: int) -> str:
        """The text of a tag; empty when it is not there."""
        found = self.picture.get(tag)
        return found.text if found else ""

    def get_number(self, tag: int) -> float | None:
        """The first number of a tag; None when it is not there."""
        found = self.picture.get(tag)
        return next(iter(found.numbers), None) if found else None


def parse_tags(exif: bytes) -> Tags:
    """The tags of a block, with or without JPEG's prefix; none of a block that cannot be read."""
    data = memoryview(exif.removeprefix(_PREFIX))
    order = _ORDERS.get(bytes(data[:4]))
    if order is None or len(data) < 8:
        return Tags()
    first = _parse_directory(data, struct.unpack_from(f"{order}I", data, 4)[0], order)
    own, place = (
        _parse_directory(data, int(next(iter(first[pointer].numbers), 0)), order) if pointer in first else {}
        for pointer in (_EXIF_POINTER, _PLACE_POINTER)
    )
    return Tags({**first, **own}, place)


def _parse_directory(data: memoryview, start: int, order: str) -> dict[int, Tag]:
    if not 8 <= start <= len(data) - 2:
        return {}
    (count,) = struct.unpack_from(f"{order}H", data, start)
    entry = struct.Struct(f"{order}HHI4s")
    places = range(start + 2, len(data) - entry.size + 1, entry.size)[: min(count, _MAX_ENTRIES)]
    tags: dict[int, Tag] = {}
    for place in places:
        number, kind, length, inline = entry.unpack_from(data, place)
        size = _SIZES.get(kind, 0) * length
        where = place + 8 if size <= 4 else struct.unpack(f"{order}I", inline)[0]
        if 0 < size <= len(data) - where:
            tags[number] = Tag(kind, data[where : where + size], order)
    return tags
