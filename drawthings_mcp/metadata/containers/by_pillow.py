"""The formats that few people use for pictures worth searching: as far as Pillow tells, without decoding."""

from __future__ import annotations

import io
from typing import IO, Any, cast

from PIL import Image

from drawthings_mcp.metadata.containers.bounded import BoundedFile
from drawthings_mcp.metadata.containers.carried import Carried, decode_text
from drawthings_mcp.metadata.containers.jpeg_segments import COMMENT_KEYWORD
from drawthings_mcp.metadata.xmp import XMP_KEYWORD
from drawthings_mcp.tensors.picture_files import list_formats

_OWN = frozenset(("PNG", "JPEG", "MPO", "WEBP", "AVIF", "HEIF"))
"""Formats that have readers of their own here."""


def read_by_pillow(file: BoundedFile) -> Carried:
    """Texts, EXIF and size of any other format; errors are Pillow's."""
    formats = [name for name in list_formats() if name not in _OWN]
    with Image.open(cast(IO[bytes], _Stream(file)), formats=formats) as image:
        texts = {XMP_KEYWORD: image.info.get("xmp"), COMMENT_KEYWORD: image.info.get("comment")}
        exif = image.info.get("exif")
        found = {keyword: _ensure_text(value) for keyword, value in texts.items() if value}
        return Carried(found, exif if isinstance(exif, bytes) else b"", *image.size)


def _ensure_text(value: Any) -> str:
    return decode_text(value) if isinstance(value, bytes) else str(value)


class _Stream(io.RawIOBase):
    """A bounded file as Pillow wants it. There is no buffer: one would be as large as a hostile file asks for."""

    def __init__(self, file: BoundedFile) -> None:
        super().__init__()
        self._file = file
        self._place = 0

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = self._file.max_text
        data = self._file.read_at(self._place, size)
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: lambda: 0, io.SEEK_CUR: self.tell, io.SEEK_END: self._file.measure}
        self._place = max(starts[whence]() + offset, 0)
        return self._place

    def tell(self) -> int:
        return self._place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
