"""HEIC files without pixels, written box by box (ISO/IEC 14496-12, ISO/IEC 23008-12)."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def full_box(kind: bytes, version: int, *parts: bytes) -> bytes:
    return box(kind, bytes((version, 0, 0, 0)), *parts)


def build_heic(
    size: tuple[int, int], exif: bytes = b"", xmp: bytes = b"", *, turns: int = 0, large: bool = False
) -> bytes:
    """A file as a phone writes it: a picture, its EXIF and its XMP; sizes of 64 bits when ``large``."""
    items: Sequence[tuple[bytes, bytes]] = (
        (b"hvc1\0", b""),
        (b"Exif\0", struct.pack(">I", 6) + b"Exif\0\0" + exif if exif else b""),
        (b"mime\0application/rdf+xml\0", xmp),
    )
    kinds = full_box(
        b"iinf",
        0,
        struct.pack(">H", len(items)),
        *(full_box(b"infe", 2, struct.pack(">HH", n, 0), kind) for n, (kind, _) in enumerate(items, 1)),
    )
    properties = [
        full_box(b"ispe", 0, struct.pack(">II", 512, 512)),  # of a tile, which nobody asks for
        full_box(b"ispe", 0, struct.pack(">II", *size)),
        box(b"irot", bytes([turns])),
    ]
    associations = full_box(b"ipma", 0, struct.pack(">IHBBB", 1, 1, 2, 0x02, 0x83))
    described = [
        full_box(b"hdlr", 0, b"\0\0\0\0pict" + b"\0" * 13),
        full_box(b"pitm", 0, struct.pack(">H", 1)),
        kinds,
        box(b"iprp", box(b"ipco", *properties), associations),
    ]
    start = box(b"ftyp", b"heic\0\0\0\0mif1heic")
    place = len(start) + len(_meta(described, _places(items, 0, large))) + 8
    return start + _meta(described, _places(items, place, large)) + box(b"mdat", *(data for _, data in items))


def _meta(described: list[bytes], places: bytes) -> bytes:
    return full_box(b"meta", 0, *described, places)


def _places(items: Sequence[tuple[bytes, bytes]], place: int, large: bool) -> bytes:
    entries = []
    for number, (_, data) in enumerate(items, 1):
        form = ">HHHHQQ" if large else ">HHHHII"
        entries.append(struct.pack(form, number, 0, 0, 1, place, len(data)))
        place += len(data)
    sizes = b"\x88\x00" if large else b"\x44\x00"
    return full_box(b"iloc", 1, sizes, struct.pack(">H", len(items)), *entries)
