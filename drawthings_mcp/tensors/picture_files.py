"""Picture files → opened pictures, whatever stands in them: what is accepted, its limits, and one kind of error.

Pillow's decoders were not written for hostile files and raise nearly anything. The type goes by content, never by
name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.tensors.header import MAX_PIXELS
from drawthings_mcp.tensors.pixel_budget import DECODING
from drawthings_mcp.validation import shorten

MAX_FILE_SIZE = 512 << 20
"""Bytes; twice what the largest picture takes when it is not packed at all."""
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "HEIF", "GIF", "TIFF", "BMP", "MPO", "JPEG2000", "PPM", "TGA", "ICO", "QOI")
"""What people have as pictures. Others of Pillow's run programs (EPS) or need another file."""

_SIDEWAYS = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""
_HEAD_SIZE = 2048
_CHUNK = 1 << 20
MAX_SCANS = 100
"""Of a JPEG file. Programs write ten; a hostile file of some megabytes could have a decoder work for hours."""
_SCANNED = ("JPEG", "MPO")
_SCAN = b"\xff\xda"
_END_OF_IMAGE = 0xD9
_BARE_MARKERS = frozenset((0x01, 0xD8))
"""Markers of JPEG without a length after them, except those within a scan."""
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What is no byte of a picture, no restart of a scan and no filling."""
_MAX_SEGMENTS = 4096
_FIRST_STEP = 4096
_IS_LINK = (errno.ELOOP, errno.ENOTDIR)
"""What the system says of a link where a file or a folder is wanted."""
_SHOWN = 240
"""Characters of a path in an error."""
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What a picture's header tells; width and height are those of the upright picture."""

    format: str
    """Pillow's name: ``PNG``, ``JPEG`` …."""
    width: int
    height: int
    mode: str
    """Pillow's name of how its pixels are stored: ``RGB``, ``CMYK``, ``I;16`` …."""
    is_animated: bool
    """Whether there are frames or pages after the first."""


def name_file(path: Path) -> str:
    """How a file is called in a sentence; of a very long path the end is what tells files apart."""
    text = str(path)
    return f"The file {text if len(text) <= _SHOWN else f'…{text[-_SHOWN:]}'!r}"


@dataclass(frozen=True, slots=True)
class PictureFile(os.PathLike[str]):
    """A file of which is known what it is: it is opened as that or not at all.

    Attributes
    ----------
    sha256
        Of its bytes, in hexadecimal digits; empty when any bytes will do.
    follows_links
        Whether a link may lead to it; see ``open_regular_file``.
    """

    path: Path
    sha256: str = ""
    follows_links: bool = True

    def __fspath__(self) -> str:
        return str(self.path)

    def open(self) -> BinaryIO:
        """The file, open for reading.

        Raises
        ------
        InvalidImageError
            It cannot be opened, or is another one by now.
        """
        file = open_regular_file(self.path, follows_links=self.follows_links)
        try:
            if self.sha256 and hash_file(file) != self.sha256:
                raise InvalidImageError(f"{name_file(self.path)} has changed since it was looked up; try again.")
        except BaseException:
            file.close()
            raise
        return file


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """The file at a path, as it is opened by ``PictureFile.open`` or ``open_regular_file``."""
    return path.open() if isinstance(path, PictureFile) else open_regular_file(Path(path))


def hash_file(file: BinaryIO) -> str:
    """SHA-256 of a stream, in hexadecimal digits; it is at its beginning afterwards."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()


def open_regular_file(path: Path, max_size: int = MAX_FILE_SIZE, *, follows_links: bool = True) -> BinaryIO:
    """A file opened for reading; neither a folder nor a device nor a pipe is ever opened or waited for.

    Parameters
    ----------
    follows_links
        Without them the path must be the place itself, with links resolved. A link that stands there now, also one
        instead of a folder on the way, was put there since and is refused: whoever checked the path gets the file that
        was checked, whatever is moved meanwhile.

    Raises
    ------
    InvalidImageError
        It does not exist, is no regular file, cannot be read or is larger than ``max_size`` bytes.
    """
    name = name_file(path)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        _check_regular(path.stat(), name, max_size)
        descriptor = os.open(path, flags) if follows_links else _open_without_links(path, flags)
        file = os.fdopen(descriptor, "rb")
        try:
            # Asked again of what was really opened: the name may have changed hands in between.
            _check_regular(os.fstat(file.fileno()), name, max_size)
        except BaseException:
            file.close()
            raise
    except InvalidImageError:
        raise
    except FileNotFoundError as exc:
        raise InvalidImageError(f"{name} does not exist; check the path.") from exc
    except OSError as exc:
        if not follows_links and exc.errno in _IS_LINK:
            raise InvalidImageError(f"{name} was replaced by a link while it was opened; try again.") from exc
        raise InvalidImageError(f"{name} cannot be read ({exc.strerror}); check the path.") from exc
    except ValueError as exc:  # a NUL character in the path
        raise InvalidImageError(f"{name} cannot be read ({shorten(str(exc))}); check the path.") from exc
    return file


def _open_without_links(path: Path, flags: int) -> int:
    """A descriptor of a file at an absolute path in which no name is a link."""
    if sys.platform == "darwin":
        return os.open(path, flags | os.O_NOFOLLOW_ANY)
    folder = os.open(path.anchor, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in path.parts[1:-1]:
            below = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(path.name, flags | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)


def _check_regular(info: os.stat_result, name: str, max_size: int) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise InvalidImageError(f"{name} is a folder or a device; give the path of a picture.")
    if info.st_size > max_size:
        raise InvalidImageError(f"{name} is larger than {max_size / 1e6:.0f} MB; give a smaller copy.")


@contextmanager
def open_picture(file: BinaryIO, name: str, formats: Collection[str] = FORMATS) -> Iterator[Image.Image]:
    """The picture in a stream that can be sought in, with its size checked and nothing decoded yet.

    While it is open its pixels count as decoded: another one that is opened meanwhile may wait; see ``pixel_budget``.

    Parameters
    ----------
    name
        What the errors call it.

    Raises
    ------
    InvalidImageError
        It is empty, no picture in one of the formats, too large, or damaged; also for what the body of the
        ``with`` does with it.
    """
    head = file.read(_HEAD_SIZE)
    file.seek(0)
    if not head:
        raise InvalidImageError(f"{name} is empty; give a picture with content.")
    with translate_errors(name, head), Image.open(file, formats=_list_formats(formats)) as picture:
        check_size(picture.width, picture.height)
        if picture.format in _SCANNED:
            _check_scans(file, name)
        with DECODING.hold(picture.width * picture.height):
            yield picture


def _check_scans(file: BinaryIO, name: str) -> None:
    """Raise an ``InvalidImageError`` for a JPEG file whose every pixel would be gone through hundreds of times."""
    place = file.tell()
    try:
        # Nearly all files have a few of these bytes; only others are looked through by their structure.
        if _count_bytes(file, _SCAN) > MAX_SCANS and not _has_few_scans(file):
            raise InvalidImageError(
                f"{name} is a JPEG of more than {MAX_SCANS} scans, which would take minutes to decode; save it again "
                "without progressive scans, or as PNG."
            )
    finally:
        file.seek(place)


def _count_bytes(file: BinaryIO, wanted: bytes) -> int:
    file.seek(0)
    count, last = 0, b""
    while chunk := file.read(_CHUNK):
        count += (last + chunk).count(wanted)
        last = chunk[1 - len(wanted) :]
    return count


def _has_few_scans(file: BinaryIO) -> bool:
    """Whether a JPEG file ends before it has too many scans; one of thousands of segments counts as such too."""
    place, scans = 2, 0
    for _ in range(_MAX_SEGMENTS):
        found = _find_marker(file, place)
        if found is None or found[1] == _END_OF_IMAGE:
            return True
        place, marker = found
        scans += marker == _SCAN[1]
        if scans > MAX_SCANS:
            return False
        file.seek(place + 2)
        place += 2 if marker in _BARE_MARKERS else 2 + max(2, int.from_bytes(file.read(2), "big"))
    return False


def _find_marker(file: BinaryIO, place: int) -> tuple[int, int] | None:
    """Where the next marker of a JPEG file stands, and its second byte; None at the end."""
    size = _FIRST_STEP
    file.seek(place)
    while len(chunk := file.read(size)) > 1:
        if match := _MARKER.search(chunk):
            return place + match.start(), chunk[match.start() + 1]
        place += len(chunk) - 1
        file.seek(place)
        size = _CHUNK
    return None


def check_picture(
    file: BinaryIO,
    name: str,
    *,
    formats: Collection[str] = FORMATS,
    max_side: int = MAX_PIXELS,
    max_pixels: Mapping[str, int] | None = None,
) -> PictureInfo:
    """Make sure that the first picture of a stream can be decoded, and tell what it is.

    Parameters
    ----------
    max_side
        Longest side in pixels.
    max_pixels
        By format, where decoding takes so much memory that ``MAX_PIXELS`` would be too many.

    Raises
    ------
    InvalidImageError
        It cannot; sizes are judged by the header, before anything is decoded.
    """
    with open_picture(file, name, formats) as picture:
        info = describe_picture(picture)
        if max(info.width, info.height) > max_side:
            raise InvalidImageError(
                f"{name} is {info.width}x{info.height} pixels; scale it down to at most {max_side} on its longest side."
            )
        most = (max_pixels or {}).get(info.format, MAX_PIXELS)
        if info.width * info.height > most:
            raise InvalidImageError(
                f"{name} has more than {most / 1e6:.0f} megapixels, too many for {info.format}; scale it down."
            )
        # JPEG can be read through at an eighth of its size; all others ignore this.
        picture.draft(None, (max(1, picture.width // 8), max(1, picture.height // 8)))
        picture.load()
    return info


def describe_picture(picture: Image.Image) -> PictureInfo:
    """What the header of an opened picture tells."""
    width, height = picture.size
    if get_orientation(picture) in _SIDEWAYS:
        width, height = height, width
    is_animated = bool(getattr(picture, "is_animated", False))
    if picture.format == "MPO":  # a JPEG file with another view of the same scene behind it
        return PictureInfo("JPEG", width, height, picture.mode, False)
    return PictureInfo(picture.format or "", width, height, picture.mode, is_animated)


def get_orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) when there is none or it cannot be read."""
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # what Pillow raises on broken metadata is not documented; the picture itself is sound
        return 1


def check_size(width: int, height: int) -> None:
    """Raise an ``InvalidImageError`` for a picture without pixels or with more than ``MAX_PIXELS``."""
    if not width or not height:
        raise InvalidImageError(f"The picture is {width}x{height} pixels; give one with content.")
    if width * height > MAX_PIXELS:
        raise InvalidImageError(_describe_limit("The picture"))


def _describe_limit(name: str) -> str:
    return f"{name} has more than {MAX_PIXELS / 1e6:.0f} megapixels; scale it down to at most 8192x8192."


@contextmanager
def translate_errors(name: str, head: bytes = b"") -> Iterator[None]:
    """Make one clear error of whatever Pillow raises; ``head`` is how the file begins."""
    try:
        yield
    except InvalidImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise InvalidImageError(_describe_limit(name)) from exc
    except UnidentifiedImageError as exc:
        raise InvalidImageError(f"{name} {_explain_unknown(head)}") from exc
    except Exception as exc:
        raise InvalidImageError(f"{name} is damaged ({shorten(str(exc))}); export or download it again.") from exc


def _explain_unknown(head: bytes) -> str:
    if b"<svg" in head.lower() and b"<html" not in head.lower():
        return "is an SVG drawing, which is not a picture of pixels; export it as PNG."
    if head.startswith(_GZIP):
        return "is compressed with gzip, as SVG drawings may be; unpack it or export it as PNG."
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS and not _register_heif():
        return "is a HEIC picture, for which a library is missing: pip install pillow-heif, or export it as JPEG."
    return "is not a picture in a known format; convert it to PNG, JPEG or WebP."


def list_formats() -> list[str]:
    """The formats that can be read here."""
    return _list_formats(FORMATS)


def _list_formats(wanted: Collection[str]) -> list[str]:
    Image.init()
    _register_heif()
    return [name for name in wanted if name in Image.OPEN]


@cache
def _register_heif() -> bool:
    """Whether HEIC can be read: the user's choice, since the binaries of that library are under the GPL."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False)
    return True
