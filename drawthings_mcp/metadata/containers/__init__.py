"""Picture files → the texts they carry and their size, without decoding or even reading a pixel.

Owns the containers and the limits on hostile files, one format per file. Knows no dialect.

Notes
-----
Pillow and its like read a file whole to tell its metadata (WebP, AVIF), stop at the first pixel (PNG), or keep
whatever a hostile file asks for (JPEG, TIFF). An index of a hundred thousand files needs none of this, and the
containers are simple: a length, a name, the content. Formats without a reader of their own go through Pillow, on a
leash.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from drawthings_mcp.errors import InvalidImageError, StorageError
from drawthings_mcp.metadata.containers.bounded import MAX_TEXT, BoundedFile
from drawthings_mcp.metadata.containers.by_pillow import read_by_pillow
from drawthings_mcp.metadata.containers.carried import Carried
from drawthings_mcp.metadata.containers.heif_boxes import is_heif, read_heif
from drawthings_mcp.metadata.containers.jpeg_segments import JPEG_SIGNATURE, read_jpeg
from drawthings_mcp.metadata.containers.png_chunks import read_png
from drawthings_mcp.metadata.containers.webp_chunks import is_webp, read_webp
from drawthings_mcp.tensors.png import PNG_SIGNATURE

__all__ = ["MAX_TEXT", "Carried", "read_carried", "read_carried_from", "translate_picture_errors"]

_READERS = (
    (lambda head: head.startswith(PNG_SIGNATURE), read_png),
    (lambda head: head.startswith(JPEG_SIGNATURE), read_jpeg),
    (is_webp, read_webp),
    (is_heif, read_heif),
    (lambda _: True, read_by_pillow),
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
            raise InvalidImageError(f"{name} is a damaged picture: {error}.") from error
        raise StorageError(f"{name} cannot be read: {error.strerror}. Check the path and its permissions.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidImageError(f"{name} has too many pixels to be opened safely: {error}") from error
    except (
        *(SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, AttributeError, MemoryError),
        *(struct.error, zlib.error, Warning),
    ) as error:
        raise InvalidImageError(f"{name} is a damaged picture: {error}.") from error


def read_carried(path: Path, max_text: int = MAX_TEXT) -> Carried:
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


def read_carried_from(stream: BinaryIO, *, name: str = "The picture", max_text: int = MAX_TEXT) -> Carried:
    """The same of a file that is open; it must be seekable and is read from its beginning."""
    with translate_picture_errors(name):
        return _read(stream, name, max_text)


def _read(stream: BinaryIO, name: str, max_text: int) -> Carried:
    file = BoundedFile(stream, max_text)
    head = file.read_at(0, _SIGNATURE_SIZE)
    read = next(read for fits, read in _READERS if fits(head))
    try:
        return read(file)
    except InvalidImageError as error:
        raise InvalidImageError(f"{name}: {error}") from error
