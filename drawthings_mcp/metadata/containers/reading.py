"""Picture files → the texts they carry and their size, without decoding or even reading a pixel.

Notes
-----
Pillow and its like read a whole file for its metadata (WebP, AVIF), stop at the first pixel (PNG), or keep
whatever a hostile file asks for (JPEG, TIFF). An index of a hundred thousand files needs none of this, and the
containers are simple: a length, a name, the content. Formats that few people use for pictures worth searching go
through Pillow, which may read no more than ``BoundedFile`` allows.
"""

from __future__ import annotations

import io
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from PIL import Image, UnidentifiedImageError

from drawthings_mcp.errors import InvalidImageError, StorageError
from drawthings_mcp.faces import Text
from drawthings_mcp.metadata.containers.bounded import COMMENT_KEYWORD, MAX_TEXT, BoundedFile, RawMetadata, decode_text
from drawthings_mcp.metadata.containers.heif import is_heif, read_heif
from drawthings_mcp.metadata.containers.jpeg import JPEG_SIGNATURE, read_jpeg
from drawthings_mcp.metadata.containers.png import read_png
from drawthings_mcp.metadata.containers.webp import is_webp, read_webp
from drawthings_mcp.metadata.xmp import XMP_KEYWORD
from drawthings_mcp.tensors.picture_files import list_formats
from drawthings_mcp.tensors.png import PNG_SIGNATURE
from drawthings_mcp.validation import shorten

_OWN = frozenset(("PNG", "JPEG", "MPO", "WEBP", "AVIF", "HEIF"))
"""Formats that have readers of their own here."""


def _read_by_pillow(file: BoundedFile) -> RawMetadata:
    """Texts, EXIF and size of any other format; errors are Pillow's."""
    formats = [name for name in list_formats() if name not in _OWN]
    with Image.open(cast(IO[bytes], _Stream(file)), formats=formats) as image:
        texts = {XMP_KEYWORD: image.info.get("xmp"), COMMENT_KEYWORD: image.info.get("comment")}
        exif = image.info.get("exif")
        found = {key: decode_text(v) if isinstance(v, bytes) else str(v) for key, v in texts.items() if v}
        return RawMetadata(found, exif if isinstance(exif, bytes) else b"", *image.size)


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


_READERS = (
    (lambda head: head.startswith(PNG_SIGNATURE), read_png),
    (lambda head: head.startswith(JPEG_SIGNATURE), read_jpeg),
    (is_webp, read_webp),
    (is_heif, read_heif),
    (lambda _: True, _read_by_pillow),
)
"""Whether a file that begins so is of a format, and the format's reader."""
_SIGNATURE_SIZE = 16


@contextmanager
def translate_picture_errors(name: object) -> Iterator[None]:
    """Errors of the file system and of Pillow as this package's.

    Parameters
    ----------
    name
        What the sentences call the file, usually its path.
    """
    try:
        yield
    except (InvalidImageError, StorageError):
        raise
    except UnidentifiedImageError as error:
        raise InvalidImageError(f"{name} is not a picture in a format that can be read. Try PNG or JPEG.") from error
    except OSError as error:
        # Pillow raises OSError without a number for broken pictures.
        if error.errno is None:
            raise InvalidImageError(f"{name} is a damaged picture: {shorten(str(error))}.") from error
        raise StorageError(f"{name} cannot be read: {error.strerror}. Check the path and its permissions.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidImageError(f"{name} has too many pixels to be opened safely: {shorten(str(error))}") from error
    except (
        *(SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, AttributeError, MemoryError),
        *(struct.error, zlib.error, Warning),
    ) as error:
        raise InvalidImageError(f"{name} is a damaged picture: {shorten(str(error))}.") from error


def read_raw_metadata(path: Path, max_text: int = MAX_TEXT) -> RawMetadata:
    """The texts of a picture file.

    Parameters
    ----------
    max_text
        Bytes of text, after inflating, that it may carry.

    Raises
    ------
    InvalidImageError
        The file is not a picture, is damaged before its pixels, or carries too much.
    StorageError
        The file cannot be read.
    """
    with translate_picture_errors(path):
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidImageError(f"{path} is not a file. Give the path of a picture.")
        with path.open("rb", buffering=0) as file:
            return _read(file, str(path), max_text)


def read_raw_metadata_from(stream: BinaryIO, *, name: str = "The picture", max_text: int = MAX_TEXT) -> RawMetadata:
    """The same of a file that is open; it must be seekable and is read from its beginning."""
    with translate_picture_errors(name):
        return _read(stream, name, max_text)


def _read(stream: BinaryIO, name: str, max_text: int) -> RawMetadata:
    file = BoundedFile(stream, max_text)
    head = file.read_at(0, _SIGNATURE_SIZE)
    read = next(read for fits, read in _READERS if fits(head))
    try:
        return read(file)
    except InvalidImageError as error:
        raise InvalidImageError(Text("{name}: {error}", name=name, error=error)) from error
