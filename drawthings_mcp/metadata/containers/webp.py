"""The chunks of a WebP file: size, EXIF and XMP, which stand behind the pixels.

Pillow reads the whole file to get them.
"""

from __future__ import annotations

import struct

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.metadata.containers.bounded import MAX_PARTS, BoundedFile, RawMetadata, decode_text, describe_crowd
from drawthings_mcp.metadata.xmp import XMP_KEYWORD

_CHUNK = struct.Struct("<4sI")
_FIRST = 12
"""Behind ``RIFF``, a length and ``WEBP``."""
_SIZE_BYTES = 10
"""From the beginning of any chunk that has a size."""


def is_webp(head: bytes) -> bool:
    """Whether a file that begins so is WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def read_webp(file: BoundedFile) -> RawMetadata:
    """Texts, EXIF and size; refuses a file that is damaged or carries too much."""
    texts: dict[str, str] = {}
    exif = b""
    size = (0, 0)
    place = _FIRST
    for _ in range(MAX_PARTS):
        head = file.read_at(place, 8)
        if len(head) < 8:
            break
        name, length = _CHUNK.unpack(head)
        if name in _SIZES and not size[0]:
            size = _parse_size(name, file.read_at(place + 8, _SIZE_BYTES))
        elif name in (b"EXIF", b"XMP "):
            if length > file.max_text:
                raise file.describe_excess()
            data = file.read_at(place + 8, length)
            if name == b"EXIF":
                exif = exif or data
            else:
                texts.setdefault(XMP_KEYWORD, decode_text(data))
        place += 8 + length + length % 2
    else:
        raise describe_crowd()
    if not size[0]:
        raise InvalidImageError("The WebP file is damaged: no part of it has its size.")
    return RawMetadata(texts, exif, *size)


def _parse_size(name: bytes, data: bytes) -> tuple[int, int]:
    return _SIZES[name](data) if len(data) == _SIZE_BYTES else (0, 0)


def _parse_extended(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1


def _parse_lossy(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width & 0x3FFF, height & 0x3FFF


def _parse_lossless(data: bytes) -> tuple[int, int]:
    bits = int.from_bytes(data[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


_SIZES = {b"VP8X": _parse_extended, b"VP8 ": _parse_lossy, b"VP8L": _parse_lossless}
"""Chunks that have the size (RFC 9649, §2.5 to §2.7)."""
