"""The chunks of a PNG file that carry text, wherever they stand; those of pixels are stepped over unread.

Pillow stops at the first pixels and misses what follows them; to look further it reads them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.metadata.containers.bounded import MAX_PARTS, BoundedFile, RawMetadata, decode_text, describe_crowd
from drawthings_mcp.tensors.png import PNG_SIGNATURE

_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt", b"comf"))
"""``comf`` is ComfyUI's own chunk in animations: keyword, NUL, text (formats §4.1)."""
_WANTED = _TEXTS | {b"eXIf"}
_HEAD = struct.Struct(">I4s")
_SIZE = struct.Struct(">II")
_HEADER_AT = len(PNG_SIGNATURE)
_HEADER = b"\0\0\0\rIHDR"
_CHECKSUM = 4


def read_png(file: BoundedFile) -> RawMetadata:
    """Texts, EXIF and size; refuses a file that is damaged or carries too much."""
    header = file.read_at(_HEADER_AT, len(_HEADER) + _SIZE.size)
    if not header.startswith(_HEADER) or len(header) < len(_HEADER) + _SIZE.size:
        raise InvalidImageError("The PNG file is damaged: it does not begin with its size.")
    width, height = _SIZE.unpack_from(header, len(_HEADER))
    texts: dict[str, str] = {}
    exif = b""
    left = file.max_text
    for name, data in _list_chunks(file):
        if name == b"eXIf":
            exif = exif or data
            left -= len(data)
        else:
            keyword, text = _parse_text(name, data, left)
            texts.setdefault(keyword, decode_text(text))
            left -= len(text)
        if left < 0:
            raise file.describe_excess()
    return RawMetadata(texts, exif, width, height)


def _list_chunks(file: BoundedFile) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of the chunks that can carry text."""
    place = _HEADER_AT
    read, unpack = file.read_at, _HEAD.unpack
    for _ in range(MAX_PARTS):
        head = read(place, 8)
        if len(head) < 8:
            return
        length, name = unpack(head)
        if name in _WANTED:
            yield name, _read_chunk(file, place + 8, length, name)
        elif name == b"IEND":
            return
        place += 8 + length + _CHECKSUM
    raise describe_crowd()


def _read_chunk(file: BoundedFile, place: int, length: int, name: bytes) -> bytes:
    if length > file.max_text:
        raise file.describe_excess()
    data = file.read_at(place, length)
    if len(data) < length:
        raise InvalidImageError(f"The PNG file ends within its {name.decode()} chunk: copy it again.")
    return data


def _parse_text(name: bytes, data: bytes, limit: int) -> tuple[str, bytes]:
    """Keyword and inflated text of a text chunk (PNG 3, §11.3.3)."""
    keyword, _, rest = data.partition(b"\0")
    compressed = name == b"zTXt"
    if name == b"iTXt":
        compressed = rest[:1] == b"\1"
        _language, _, rest = rest[2:].partition(b"\0")
        _translated, _, rest = rest.partition(b"\0")
    elif compressed:
        rest = rest[1:]
    return keyword.decode("latin-1"), _inflate(rest, limit) if compressed else rest


def _inflate(data: bytes, limit: int) -> bytes:
    # One byte more than allowed is enough to know that it is too much.
    return zlib.decompressobj().decompress(data, max(limit, 0) + 1)
