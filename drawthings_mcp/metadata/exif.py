"""The tags of an EXIF block, and what they say: when, with which camera and where a photo was taken (Exif 3.0, §4.6).

Pillow's reader warns about damaged blocks through the whole process and makes Latin-1 of every text; here what cannot
be read is left out.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

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

DESCRIPTION, MAKE, MODEL, SOFTWARE = 0x010E, 0x010F, 0x0110, 0x0131
MAKER_NOTE, _USER_COMMENT = 0x927C, 0x9286

_ORIENTATION = 0x0112
_TURNED = frozenset((5, 6, 7, 8))
_TIMES = ((0x9003, 0x9011), (0x9004, 0x9012), (0x0132, 0x9010))
"""When taken, digitised, changed; each with the tag of its offset from UTC."""
_LATITUDE, _LONGITUDE = (1, 2), (3, 4)
"""Tags of the hemisphere, and of degrees, minutes and seconds."""

_COMMENT_ENCODINGS: Mapping[bytes, str] = {b"UNICODE\0": "utf-16", b"ASCII\0\0\0": "utf-8", b"\0" * 8: "utf-8"}
"""Character code before a UserComment."""
_TIME_FORMAT = "%Y:%m:%d %H:%M:%S"
_OFFSET = re.compile(r"Z|[+-]\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class ExifTag:
    """One value as it stands; its order of bytes is ``<`` or ``>``, as in ``struct``."""

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
class ExifTags:
    """By number: those of the first directory and EXIF's own together, and those of the place."""

    picture: Mapping[int, ExifTag] = field(default_factory=dict)
    place: Mapping[int, ExifTag] = field(default_factory=dict)

    def get_text(self, tag: int) -> str:
        """The text of a tag; empty when it is not there."""
        found = self.picture.get(tag)
        return found.text if found else ""

    def get_number(self, tag: int) -> float | None:
        """The first number of a tag; None when it is not there."""
        found = self.picture.get(tag)
        return next(iter(found.numbers), None) if found else None


def parse_exif(exif: bytes) -> ExifTags:
    """The tags of a block, with or without JPEG's prefix; none of a block that cannot be read."""
    data = memoryview(exif.removeprefix(_PREFIX))
    order = _ORDERS.get(bytes(data[:4]))
    if order is None or len(data) < 8:
        return ExifTags()
    first = _parse_directory(data, struct.unpack_from(f"{order}I", data, 4)[0], order)
    own, place = (
        _parse_directory(data, int(next(iter(first[pointer].numbers), 0)), order) if pointer in first else {}
        for pointer in (_EXIF_POINTER, _PLACE_POINTER)
    )
    return ExifTags({**first, **own}, place)


def _parse_directory(data: memoryview, start: int, order: str) -> dict[int, ExifTag]:
    if not 8 <= start <= len(data) - 2:
        return {}
    (count,) = struct.unpack_from(f"{order}H", data, start)
    entry = struct.Struct(f"{order}HHI4s")
    places = range(start + 2, len(data) - entry.size + 1, entry.size)[: min(count, _MAX_ENTRIES)]
    tags: dict[int, ExifTag] = {}
    for place in places:
        number, kind, length, inline = entry.unpack_from(data, place)
        size = _SIZES.get(kind, 0) * length
        where = place + 8 if size <= 4 else struct.unpack(f"{order}I", inline)[0]
        if 0 < size <= len(data) - where:
            tags[number] = ExifTag(kind, data[where : where + size], order)
    return tags


def find_user_comment(tags: ExifTags) -> str:
    """The UserComment as text; many writers leave out what should stand before it (formats §4.1)."""
    tag = tags.picture.get(_USER_COMMENT)
    if tag is None:
        return ""
    data = bytes(tag.data)
    encoding = _COMMENT_ENCODINGS.get(data[:8])
    if encoding == "utf-16":
        return data[8:].decode(_find_byte_order(data[8:]), "replace").strip("\ufeff\0 ")
    return tag.text if encoding is None else data[8:].decode(encoding, "replace").strip("\ufeff\0 ")


def _find_byte_order(data: bytes) -> str:
    """Writers disagree, but digits and punctuation of any text have a zero byte, which shows it (formats §4.1)."""
    return "utf-16-be" if data[0::2].count(0) >= data[1::2].count(0) else "utf-16-le"


def is_turned(tags: ExifTags) -> bool:
    """Whether the picture is shown on its side, so that its width is what is stored as its height."""
    return tags.get_number(_ORIENTATION) in _TURNED


def find_time(tags: ExifTags) -> datetime | None:
    """When the picture was taken, else digitised, else changed; in this machine's zone where no offset is given."""
    for time, offset in _TIMES:
        if found := _parse_time(tags.get_text(time), tags.get_text(offset)):
            return found
    return None


def _parse_time(text: str, offset: str) -> datetime | None:
    with suppress(ValueError, OverflowError, OSError):
        if _OFFSET.fullmatch(offset):
            return datetime.strptime(text[:19] + offset, f"{_TIME_FORMAT}%z")
        return datetime.strptime(text[:19], _TIME_FORMAT).astimezone()
    return None


def find_position(tags: ExifTags) -> tuple[float, float] | None:
    """Latitude and longitude in degrees, north and east positive."""
    latitude, longitude = (_find_degrees(tags.place, *numbers) for numbers in (_LATITUDE, _LONGITUDE))
    if latitude is None or longitude is None or not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return None
    return latitude, longitude


def _find_degrees(place: Mapping[int, ExifTag], side: int, angle: int) -> float | None:
    if side not in place or angle not in place or not (parts := place[angle].numbers):
        return None
    degrees = float(sum(part / 60.0**power for power, part in enumerate(parts[:3])))
    return round(-degrees if place[side].text.upper() in ("S", "W") else degrees, 6)
