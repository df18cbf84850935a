"""The segments of a JPEG file before its pixels: size, EXIF, XMP, IPTC's caption, comment.

Pillow keeps every segment in memory, however many there are; a hostile file has gigabytes of them.
"""

from __future__ import annotations

import struct

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.metadata.containers.bounded import (
    CAPTION_KEYWORD,
    COMMENT_KEYWORD,
    MAX_PARTS,
    BoundedFile,
    RawMetadata,
    decode_text,
    describe_crowd,
)
from drawthings_mcp.metadata.xmp import XMP_KEYWORD

JPEG_SIGNATURE = b"\xff\xd8\xff"


_EXIF = b"Exif\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_APP1, _APP13, _COMMENT, _START_OF_SCAN, _END = 0xE1, 0xED, 0xFE, 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers behind which precision, height and width stand (ITU T.81, B.2.2)."""
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))
"""Markers without a length."""


def read_jpeg(file: BoundedFile) -> RawMetadata:
    """Texts, EXIF and size; refuses a file that is damaged or carries too much."""
    texts: dict[str, str] = {}
    exif = b""
    width = height = 0
    place = 2
    for _ in range(MAX_PARTS):
        head = file.read_at(place, 4)
        if len(head) < 4 or head[0] != 0xFF or head[1] in (_START_OF_SCAN, _END):
            break
        marker = head[1]
        if marker == 0xFF or marker in _ALONE:
            place += 1 if marker == 0xFF else 2  # bytes before a marker may be filled
            continue
        length = int.from_bytes(head[2:])
        content = (place + 4, max(length - 2, 0))
        if marker in _FRAMES:
            frame = file.read_at(content[0], 5)
            height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
        elif marker == _APP1:
            data = file.read_at(*content)
            if data.startswith(_EXIF):
                exif = exif or data
            elif data.startswith(_XMP):
                texts.setdefault(XMP_KEYWORD, decode_text(data[len(_XMP) :]))
        elif marker == _APP13:
            data = file.read_at(*content)
            if caption := _find_caption(data.removeprefix(_PHOTOSHOP)) if data.startswith(_PHOTOSHOP) else "":
                texts.setdefault(CAPTION_KEYWORD, caption)
        elif marker == _COMMENT:
            texts.setdefault(COMMENT_KEYWORD, decode_text(file.read_at(*content)))
        place += 2 + max(length, 2)
    else:
        raise describe_crowd()
    if not width:
        raise InvalidImageError("The JPEG file is damaged: no size stands before its pixels.")
    return RawMetadata(texts, exif, width, height)


_RESOURCE = struct.Struct(">4sHB")
_IPTC, _DATASET, _CAPTION = 0x0404, 0x1C, (2, 120)


def _find_caption(data: bytes) -> str:
    """The caption in Photoshop's resources (IPTC-IIM 4.2, dataset 2:120); empty where there is none, or half of one."""
    place = 0
    while place + _RESOURCE.size <= len(data):
        signature, number, name = _RESOURCE.unpack_from(data, place)
        place += _RESOURCE.size + name + (name + 1) % 2
        size = int.from_bytes(data[place : place + 4])
        if signature != b"8BIM":
            break
        if number == _IPTC:
            return _find_dataset(data[place + 4 : place + 4 + size])
        place += 4 + size + size % 2
    return ""


def _find_dataset(data: bytes) -> str:
    place = 0
    while place + 5 <= len(data) and data[place] == _DATASET:
        size = int.from_bytes(data[place + 3 : place + 5])
        if (data[place + 1], data[place + 2]) == _CAPTION:
            return decode_text(data[place + 5 : place + 5 + size])
        place += 5 + size
    return ""
