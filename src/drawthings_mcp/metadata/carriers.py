"""Picture files → the texts they carry, without decoding a pixel.

Owns the containers (PNG, and those that Pillow opens) and the limits on hostile files. Knows no dialect.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from drawthings_mcp.errors import InvalidImageError, StorageError
from drawthings_mcp.metadata.png import PNG_SIGNATURE
from drawthings_mcp.metadata.xmp import XMP_KEYWORD
from drawthings_mcp.tensors.picture_files import list_formats

MAX_TEXT = 8 * 1024 * 1024
"""Bytes of text, after inflating, that one picture may carry: deflated text can grow a thousandfold (formats §4.1)."""

_TOO_MUCH = f"The picture carries more than {MAX_TEXT // 1024**2} MiB of text and is not read."

_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286
_COMMENT_ENCODINGS: Mapping[bytes, tuple[str, ...]] = {
    # Writers disagree on the byte order; only one of the two yields an object (formats §4.1).
    b"UNICODE\0": ("utf-16-be", "utf-16-le"),
    b"ASCII\0\0\0": ("utf-8",),
    b"\0" * 8: ("utf-8",),
}
"""Character code before a UserComment → encodings to try."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What a picture file carries beside its pixels.

    Attributes
    ----------
    texts
        By PNG keyword; the XMP packet of other formats stands under the keyword it has in PNG.
    exif
        A TIFF structure, with or without the ``Exif`` prefix of JPEG.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    exif: bytes = b""


@contextmanager
def translate_picture_errors(path: Path) -> Iterator[None]:
    """Errors of the file system and of Pillow as this package's."""
    try:
        yield
    except (InvalidImageError, StorageError):
        raise
    except UnidentifiedImageError as error:
        raise InvalidImageError(f"{path} is not a picture in a format that can be read. Try PNG or JPEG.") from error
    except OSError as error:
        # Pillow raises OSError without a number for broken pictures.
        if error.errno is None:
            raise InvalidImageError(f"{path} is a damaged picture: {error}.") from error
        raise StorageError(f"{path} cannot be read: {error.strerror}. Check the path and its permissions.") from error
    except Image.DecompressionBombError as error:
        raise InvalidImageError(f"{path} has too many pixels to be opened safely: {error}") from error
    except (SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error, zlib.error) as error:
        raise InvalidImageError(f"{path} is a damaged picture: {error}.") from error


def read_carried(path: Path) -> Carried:
    """The texts of a picture file.

    Raises
    ------
    InvalidImageError
        The file is not a picture, is damaged before its pixels, or carries more than ``MAX_TEXT``.
    StorageError
        The file cannot be read.
    """
    with translate_picture_errors(path):
        if path.exists() and not path.is_file():
            raise InvalidImageError(f"{path} is not a file. Give the path of a picture.")
        with path.open("rb") as file:
            is_png = file.read(len(PNG_SIGNATURE)) == PNG_SIGNATURE
            return _read_png(file) if is_png else _read_other(file)


def find_user_comment(exif: bytes) -> str | None:
    """The UserComment of an EXIF block as text; None when there is none that can be read."""
    block = Image.Exif()
    try:
        block.load(exif)
        value = block.get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error):
        return None
    if isinstance(value, str):
        return value
    return _decode_user_comment(value) if isinstance(value, bytes) else None


def _decode_user_comment(value: bytes) -> str:
    encodings = _COMMENT_ENCODINGS.get(value[:8])
    if encodings is None:
        return value.decode("utf-8", "replace")
    texts = [value[8:].decode(encoding, "replace").strip("\ufeff\0 ") for encoding in encodings]
    return next((text for text in texts if text.startswith("{")), texts[0])


def _read_other(file: BinaryIO) -> Carried:
    file.seek(0)
    with Image.open(file, formats=list_formats()) as image:
        xmp, exif = image.info.get("xmp", b""), image.info.get("exif", b"")
    if len(xmp) + len(exif) > MAX_TEXT:
        raise InvalidImageError(_TOO_MUCH)
    return Carried({XMP_KEYWORD: _decode(xmp)} if xmp else {}, exif)


def _read_png(file: BinaryIO) -> Carried:
    texts: dict[str, str] = {}
    exif = b""
    left = MAX_TEXT
    for name, data in _list_chunks(file):
        if name == b"eXIf":
            exif = data
            left -= len(data)
        else:
            keyword, text = _parse_text(name, data, left)
            texts.setdefault(keyword, _decode(text))
            left -= len(text)
        if left < 0:
            raise InvalidImageError(_TOO_MUCH)
    return Carried(texts, exif)


def _list_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The chunks that can carry text, wherever they stand; all others are skipped unread."""
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name not in (*_TEXT_CHUNKS, b"eXIf"):
            file.seek(length + 4, 1)
            continue
        if length > MAX_TEXT:
            raise InvalidImageError(_TOO_MUCH)
        data = file.read(length)
        if len(data) < length:
            raise InvalidImageError(f"The PNG file ends within its {name.decode()} chunk: copy it again.")
        file.seek(4, 1)
        yield name, data


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
    return zlib.decompressobj().decompress(data, limit + 1)


def _decode(data: bytes) -> str:
    """Many writers put UTF-8 where the format says Latin-1 (formats §4.1)."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
