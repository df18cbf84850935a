"""What every container reader uses: a file of which only so many bytes are ever read, and what is found in it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from drawthings_mcp.errors import InvalidImageError

MAX_TEXT = 8 * 1024 * 1024
"""Bytes of text, after inflating, that one picture may carry: deflated text can grow a thousandfold (formats §4.1)."""
MAX_PARTS = 65_536
"""Chunks, segments or boxes that are walked over; a picture of 512 MiB in pieces of 8 KiB, the smallest that common
writers make, has as many."""

_HEAD = 16 * 1024
"""Read at once: text stands before the pixels in most files, and fits."""
_OVERHEAD = 1024 * 1024
"""What may be read in addition to texts: the heads of the parts."""
_FARTHEST = 2**62

COMMENT_KEYWORD = "Comment"
"""Under which the comments of JPEG and others stand."""
CAPTION_KEYWORD = "Caption"
"""Under which the caption of IPTC stands."""


class BoundedFile:
    """Reads parts of a file within a budget.

    Parameters
    ----------
    stream
        Seekable; best without a buffer of its own, for most reads are of eight bytes far apart.
    max_text
        Bytes of text that may be read from it.
    """

    __slots__ = ("_head", "_left", "_read", "_stream", "max_text")

    def __init__(self, stream: BinaryIO, max_text: int = MAX_TEXT) -> None:
        self.max_text = max_text
        self._stream = stream
        self._left = max_text + _OVERHEAD
        self._read = _find_reader(stream)
        self._head = self._read(_HEAD, 0)

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes from a place of the file, fewer at its end; refuses to read more than is allowed."""
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        if size > self._left:
            raise self.describe_excess()
        if offset > _FARTHEST:
            return b""
        self._left -= size
        return self._read(size, offset)

    def measure(self) -> int:
        """Bytes of the whole file."""
        return self._stream.seek(0, io.SEEK_END)

    def describe_excess(self) -> InvalidImageError:
        """The error for a file that carries too much."""
        return InvalidImageError(
            f"The picture carries more than {self.max_text // 1024**2} MiB of text and is not read."
        )


def _find_reader(stream: BinaryIO) -> Callable[[int, int], bytes]:
    """What reads so many bytes from a place: one call of the system where there is a file behind the stream."""
    try:
        return partial(os.pread, stream.fileno())
    except (AttributeError, OSError):
        return partial(_seek_and_read, stream)


def _seek_and_read(stream: BinaryIO, size: int, offset: int) -> bytes:
    stream.seek(offset)
    return stream.read(size)


def describe_crowd() -> InvalidImageError:
    """The error for a file of too many parts."""
    return InvalidImageError(f"The picture has more than {MAX_PARTS:,} parts and is not read.")


@dataclass(frozen=True, slots=True)
class RawMetadata:
    """What a picture file carries besides its pixels.

    Attributes
    ----------
    texts
        By PNG keyword; the XMP packet of other formats stands under the keyword it has in PNG.
    exif
        A TIFF structure, with or without the ``Exif`` prefix of JPEG.
    width, height
        Pixels as stored, 0 when unknown.
    is_upright
        Whether width and height are those of the picture as it is shown, whatever EXIF says of its orientation.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    exif: bytes = b""
    width: int = 0
    height: int = 0
    is_upright: bool = False


def decode_text(data: bytes) -> str:
    """Text of a PNG; many writers put UTF-8 where the format says Latin-1 (formats §4.1)."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
