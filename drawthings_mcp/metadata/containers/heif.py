"""The boxes of a HEIC or AVIF file: size, EXIF and XMP.

Pillow opens no HEIC, the libraries that do bring a decoder under a licence of its own, and all of them read the whole
file. The boxes alone need no decoder (ISO/IEC 14496-12 §8.11, ISO/IEC 23008-12 §6.5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.metadata.containers.bounded import BoundedFile, RawMetadata, decode_text
from drawthings_mcp.metadata.xmp import XMP_KEYWORD

_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"))
_MAX_BOXES = 64
"""At the top of a file, where there are three or four."""
_MAX_META = 1024 * 1024
"""Bytes of the box that describes everything; a panorama of a thousand tiles takes 40 KB."""
_MAX_ITEMS = 65_536
_MAX_EXTENTS = 64
"""Of one item; a description may say that each takes no bytes, so that nothing else would bound them."""
_XMP_TYPE = b"application/rdf+xml"


@dataclass(slots=True)
class _HeifItem:
    kind: bytes = b""
    content_type: bytes = b""
    in_file: bool = True
    extents: list[tuple[int, int]] = field(default_factory=list)
    properties: list[int] = field(default_factory=list)


def is_heif(head: bytes) -> bool:
    """Whether a file that begins so is HEIC or AVIF."""
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS


def read_heif(file: BoundedFile) -> RawMetadata:
    """Texts, EXIF and size; refuses a file that is damaged or carries too much."""
    boxes = dict(_list_boxes(_read_meta(file)[4:]))
    items = _list_items(boxes)
    width, height = _find_size(boxes, items)
    texts: dict[str, str] = {}
    exif = b""
    for item in items.values():
        if item.kind == b"Exif" and not exif:
            data = _read_item(file, item, boxes)
            exif = data[4 + int.from_bytes(data[:4]) :]
        elif item.content_type == _XMP_TYPE:
            texts.setdefault(XMP_KEYWORD, decode_text(_read_item(file, item, boxes)))
    return RawMetadata(texts, exif, width, height, is_upright=True)


def _read_meta(file: BoundedFile) -> bytes:
    place = 0
    for _ in range(_MAX_BOXES):
        head = file.read_at(place, 16)
        if len(head) < 8:
            break
        length, start = int.from_bytes(head[:4]), 8
        if length == 1:
            length, start = int.from_bytes(head[8:16]), 16
        if head[4:8] == b"meta" and start <= length <= _MAX_META:
            return file.read_at(place + start, length - start)
        if length < start:
            break
        place += length
    raise InvalidImageError("The HEIC or AVIF file is damaged: nothing describes its picture.")


def _list_boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the boxes that follow each other in some bytes."""
    place = 0
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4])
        if length < 8:
            return
        yield data[place + 4 : place + 8], data[place + 8 : place + length]
        place += length


class _Numbers:
    """Big-endian numbers one after another; those behind the end are refused."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def take(self, size: int) -> int:
        return int.from_bytes(self.take_bytes(size))

    def take_bytes(self, size: int) -> bytes:
        data = self._data[self._place : self._place + size]
        if len(data) < size:
            raise InvalidImageError("The HEIC or AVIF file is damaged: a description ends too early.")
        self._place += size
        return data

    def take_rest(self) -> bytes:
        return self._data[self._place :]


def _list_items(boxes: Mapping[bytes, bytes]) -> dict[int, _HeifItem]:
    items: dict[int, _HeifItem] = {}
    _parse_kinds(boxes.get(b"iinf", b""), items)
    _parse_places(boxes.get(b"iloc", b""), items)
    for kind, data in _list_boxes(boxes.get(b"iprp", b"")):
        if kind == b"ipma":
            _parse_associations(data, items)
    return items


def _parse_kinds(data: bytes, items: dict[int, _HeifItem]) -> None:
    entries = data[6 if data[:1] == b"\0" else 8 :]
    for kind, entry in _list_boxes(entries):
        numbers = _Numbers(entry)
        version = numbers.take(1)
        numbers.take(3)
        if kind != b"infe" or version < 2:
            continue
        number = numbers.take(2 if version == 2 else 4)
        numbers.take(2)
        item = items.setdefault(number, _HeifItem())
        item.kind = numbers.take_bytes(4)
        if item.kind == b"mime":
            _name, _, rest = numbers.take_rest().partition(b"\0")
            item.content_type = rest.partition(b"\0")[0]
        if len(items) > _MAX_ITEMS:
            raise InvalidImageError("The HEIC or AVIF file has too many parts and is not read.")


def _parse_places(data: bytes, items: Mapping[int, _HeifItem]) -> None:
    if not data:
        return
    numbers = _Numbers(data)
    version = numbers.take(4) >> 24
    sizes = numbers.take(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 0xF for shift in (12, 8, 4, 0))
    for _ in range(numbers.take(2 if version < 2 else 4)):
        item = items.get(numbers.take(2 if version < 2 else 4), _HeifItem())
        item.in_file = version == 0 or numbers.take(2) & 0xF == 0
        numbers.take(2)
        base = numbers.take(base_size)
        extents = numbers.take(2)
        if extents > _MAX_EXTENTS:
            raise InvalidImageError("The HEIC or AVIF file has too many parts and is not read.")
        for _ in range(extents):
            if version > 0:
                numbers.take(index_size)
            offset = base + numbers.take(offset_size)
            item.extents.append((offset, numbers.take(length_size)))


def _parse_associations(data: bytes, items: Mapping[int, _HeifItem]) -> None:
    numbers = _Numbers(data)
    head = numbers.take(4)
    version, wide = head >> 24, head & 1
    for _ in range(numbers.take(4)):
        item = items.get(numbers.take(2 if version < 1 else 4), _HeifItem())
        for _ in range(numbers.take(1)):
            # The first bit says whether a reader must understand the property.
            item.properties.append(numbers.take(2) & 0x7FFF if wide else numbers.take(1) & 0x7F)


def _find_size(boxes: Mapping[bytes, bytes], items: Mapping[int, _HeifItem]) -> tuple[int, int]:
    """Of the picture that is shown, turned as it is shown."""
    data = boxes.get(b"pitm", b"")
    primary = items.get(int.from_bytes(data[4:]), _HeifItem())
    containers = dict(_list_boxes(boxes.get(b"iprp", b"")))
    properties = list(_list_boxes(containers.get(b"ipco", b"")))
    size, turns = (0, 0), 0
    for index in primary.properties:
        kind, value = properties[index - 1] if 0 < index <= len(properties) else (b"", b"")
        if kind == b"ispe" and len(value) >= 12:
            size = int.from_bytes(value[4:8]), int.from_bytes(value[8:12])
        elif kind == b"irot" and value:
            turns = value[0] & 3
    return (size[1], size[0]) if turns % 2 else size


def _read_item(file: BoundedFile, item: _HeifItem, boxes: Mapping[bytes, bytes]) -> bytes:
    if sum(length for _, length in item.extents) > file.max_text:
        raise file.describe_excess()
    inside = boxes.get(b"idat", b"")
    return b"".join(
        file.read_at(offset, length) if item.in_file else inside[offset : offset + length]
        for offset, length in item.extents
    )
