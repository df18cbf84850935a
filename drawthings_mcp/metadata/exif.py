"""What EXIF tells: when, with which camera and where a photo was taken, and the comments that generators leave there.

Owns the meaning of tags (Exif 3.0, §4.6.5 and §4.6.6). The position is told only to those who ask for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

from drawthings_mcp.metadata.facts import ImageFacts
from drawthings_mcp.metadata.tiff import Tag, Tags, parse_tags

MAKE, MODEL, SOFTWARE = 0x010F, 0x0110, 0x0131
MAKER_NOTE, USER_COMMENT = 0x927C, 0x9286

_ORIENTATION = 0x0112
_TURNED = frozenset((5, 6, 7, 8))
_TIMES = ((0x9003, 0x9011), (0x9004, 0x9012), (0x0132, 0x9010))
"""When taken, digitised, changed; each with the tag of its offset from UTC."""
_LATITUDE, _LONGITUDE = (1, 2), (3, 4)
"""Tags of the hemisphere, and of degrees, minutes and seconds."""

_COMMENT_ENCODINGS: Mapping[bytes, str] = {b"UNICODE\0": "utf-16", b"ASCII\0\0\0": "utf-8", b"\0" * 8: "utf-8"}
"""Character code before a UserComment."""


def find_user_comment(exif: bytes) -> str | None:
    """The UserComment of an EXIF block as text; None when there is none that can be read."""
    tag = parse_tags(exif).picture.get(USER_COMMENT)
    return None if tag is None else decode_user_comment(tag)


def decode_user_comment(tag: Tag) -> str:
    """The text of a UserComment; many writers leave out what should stand before it (formats §4.1)."""
    data = bytes(tag.data)
    encoding = _COMMENT_ENCODINGS.get(data[:8])
    if encoding == "utf-16":
        return data[8:].decode(_find_byte_order(data[8:]), "replace").strip("\ufeff\0 ")
    return tag.text if encoding is None else data[8:].decode(encoding, "replace").strip("\ufeff\0 ")


def _find_byte_order(data: bytes) -> str:
    """Writers disagree, but digits and punctuation of any text have a zero byte, which tells (formats §4.1)."""
    return "utf-16-be" if data[0::2].count(0) >= data[1::2].count(0) else "utf-16-le"


def is_turned(tags: Tags) -> bool:
    """Whether the picture is shown on its side, so that its width is what is stored as its height."""
    return tags.get_number(_ORIENTATION) in _TURNED


def find_time(tags: Tags) -> datetime | None:
    """When the picture was taken, else digitised, else changed; in this machine's zone where no offset is told."""
    for time, offset in _TIMES:
        if found := _parse_time(tags.get_text(time), tags.get_text(offset)):
            return found
    return None


def _parse_time(text: str, offset: str) -> datetime | None:
    try:
        time = datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S")
        zone = _parse_offset(offset)
        return time.replace(tzinfo=zone) if zone else time.astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def _parse_offset(text: str) -> timezone | None:
    if text in ("Z", "+00:00"):
        return UTC
    sign = {"+": 1, "-": -1}.get(text[:1])
    hours, _, minutes = text[1:].partition(":")
    if sign is None or not (hours.isdecimal() and minutes.isdecimal()):
        return None
    return timezone(sign * timedelta(hours=int(hours), minutes=int(minutes)))


def find_position(tags: Tags) -> tuple[float, float] | None:
    """Latitude and longitude in degrees, north and east positive."""
    latitude, longitude = (_find_degrees(tags.place, *numbers) for numbers in (_LATITUDE, _LONGITUDE))
    if latitude is None or longitude is None or not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return None
    return latitude, longitude


def _find_degrees(place: Mapping[int, Tag], side: int, angle: int) -> float | None:
    if side not in place or angle not in place or not (parts := place[angle].numbers):
        return None
    degrees = float(sum(part / 60.0**power for power, part in enumerate(parts[:3])))
    return round(-degrees if place[side].text.upper() in ("S", "W") else degrees, 6)


def parse_photo(tags: Tags, *, with_position: bool = False) -> ImageFacts | None:
    """The facts of a photo, without its size; None when nothing tells of a camera, a time or a place."""
    make, model = tags.get_text(MAKE), tags.get_text(MODEL)
    camera = model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()
    created = find_time(tags)
    if not (camera or created or tags.place):
        return None
    return ImageFacts(
        dialect="exif",
        width=0,
        height=0,
        created=created,
        camera=camera,
        position=find_position(tags) if with_position else None,
        software=tags.get_text(SOFTWARE),
    )
