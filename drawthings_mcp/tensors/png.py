"""Pixels → the bytes of a PNG file, fast.

Notes
-----
Every row gets the Average filter, by arithmetic on many rows at once. What remains of a picture is mostly noise, in
which only near repetitions are worth looking for: ``isal`` with the smallest window gives the size of zlib's run
lengths in a quarter of the time (``benchmarks/saving.py``). Where there is no ``isal``, zlib does it. Two threads share
a large picture: they deflate its halves apart, and the two are joined to one stream.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    from isal import isal_zlib

    _isal: Any = isal_zlib
    _crc32: Callable[..., int] = isal_zlib.crc32
    _adler32: Callable[..., int] = isal_zlib.adler32
except ImportError:  # there are no wheels for some machines
    _isal, _crc32, _adler32 = None, zlib.crc32, zlib.adler32

if TYPE_CHECKING:
    from numpy.typing import NDArray

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_COLOUR_TYPES = {3: 2, 4: 6}
"""Channels → colour type of the header: RGB and RGBA (PNG 3, §11.2.1)."""
_BIT_DEPTH = 8
_XMP_KEYWORD = "XML:com.adobe.xmp"
_EXIF_PREFIX = b"Exif\0\0"
_AVERAGE_FILTER = 3
"""Predicts a byte as the mean of those to the left and above, rounded down (PNG 3, §9.2)."""
_PERCEPTUAL = b"\0"
"""Rendering intent of the sRGB chunk."""
_ROWS_AT_ONCE = 64
"""Rows that are filtered together: few enough to stay in the cache of a core."""
_LEVEL, _WINDOW_BITS, _MEMORY = 1, 9, 9
"""isal's level above Huffman codes alone, 512 bytes of window, the largest tables."""
_LEAST_SHARED = 1 << 20
"""Bytes from which on sharing the work is faster than doing it."""
_ADLER_MODULUS = 65521


def encode_png(
    pixels: NDArray[np.uint8], packet: str = "", *, texts: Mapping[str, str] | None = None, exif: bytes = b""
) -> bytes:
    """A PNG file; the same pixels always give the same bytes on the same machine.

    Parameters
    ----------
    pixels
        ``(H, W, 3)`` or ``(H, W, 4)`` uint8, sRGB, channels R, G, B, A.
    packet
        XMP packet; stored uncompressed before the pixels, in one ``iTXt`` (formats §3.4). Empty for none.
    texts
        Others, by keyword: 1 to 79 characters of Latin-1.
    exif
        A TIFF structure, with or without JPEG's prefix.
    """
    named = {**({_XMP_KEYWORD: packet} if packet else {}), **(texts or {})}
    chunks = [
        # Keyword, then: not compressed, no language, no translated keyword.
        *((b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode()) for keyword, text in named.items()),
        *([(b"eXIf", exif.removeprefix(_EXIF_PREFIX))] if exif else []),
        (b"IDAT", deflate_pixels(pixels)),
        (b"IEND", b""),
    ]
    return build_head(pixels) + b"".join(build_chunk(name, data) for name, data in chunks)


def build_head(pixels: NDArray[np.uint8]) -> bytes:
    """How a PNG file of such pixels begins: signature, size and colour space."""
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, _BIT_DEPTH, _COLOUR_TYPES[channels], 0, 0, 0)
    return PNG_SIGNATURE + build_chunk(b"IHDR", header) + build_chunk(b"sRGB", _PERCEPTUAL)


def deflate_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels as they stand in a PNG file, filtered and deflated."""
    if pixels.size < _LEAST_SHARED or len(pixels) == 1:
        deflater = _make_deflater()
        return b"".join([*(deflater.compress(rows.data) for rows in _filter_rows(pixels)), deflater.flush()])
    middle = len(pixels) // 2
    with ThreadPoolExecutor(1) as other:
        rest = other.submit(_deflate_half, pixels[middle:], pixels[middle - 1])
        begun, first_sum, _ = _deflate_half(pixels[:middle])
        ended, second_sum, size = rest.result()
    return b"".join([*begun, *ended, struct.pack(">I", _join_sums(first_sum, second_sum, size))])


def _deflate_half(pixels: NDArray[np.uint8], above: NDArray[np.uint8] | None = None) -> tuple[list[bytes], int, int]:
    """Pieces of a stream, the Adler-32 sum and the number of filtered bytes.

    The upper half begins a stream and ends at a whole byte; the lower one, ``above`` which there is a row, goes on from
    there to the end, without the sum.
    """
    deflater = _make_deflater(is_raw=above is not None)
    mode = zlib.Z_FULL_FLUSH if above is None else zlib.Z_FINISH
    pieces, adler, size = [], 1, 0
    for rows in _filter_rows(pixels, above):
        pieces.append(deflater.compress(rows.data))
        adler, size = _adler32(rows.data, adler), size + rows.size
    return [*pieces, deflater.flush(mode)], adler, size


def _join_sums(first: int, second: int, size: int) -> int:
    """The Adler-32 sum of two pieces of data by the sums of each (RFC 1950, §8.2); ``size`` bytes are in the second."""
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = (first >> 16) + (second >> 16) + size * ((first & 0xFFFF) - 1)
    return high % _ADLER_MODULUS << 16 | low % _ADLER_MODULUS


def build_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file, with its length and checksum."""
    return b"".join((struct.pack(">I", len(data)), name, data, struct.pack(">I", _crc32(data, _crc32(name)))))


def _make_deflater(*, is_raw: bool = False) -> Any:
    sign = -1 if is_raw else 1
    if _isal is not None:
        return _isal.compressobj(_LEVEL, _isal.DEFLATED, sign * _WINDOW_BITS, _MEMORY)
    # Z_RLE ignores the level but for 0.
    return zlib.compressobj(1, zlib.DEFLATED, sign * zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)


def _filter_rows(
    pixels: NDArray[np.uint8], first_above: NDArray[np.uint8] | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Blocks of filtered rows, each row behind the number of its filter; valid until the next block."""
    height, width, channels = pixels.shape
    length = width * channels
    filtered = np.empty((_ROWS_AT_ONCE, 1 + length), np.uint8)
    filtered[:, 0] = _AVERAGE_FILTER
    above = np.zeros((_ROWS_AT_ONCE, length), np.uint8)
    if first_above is not None:
        above[0] = first_above.reshape(-1)
    for top in range(0, height, _ROWS_AT_ONCE):
        rows = pixels[top : top + _ROWS_AT_ONCE].reshape(-1, length)
        count = len(rows)
        above[1:count] = rows[:-1]
        left, over, mean = rows[:, :-channels], above[:count, channels:], filtered[:count, 1 + channels :]
        # The mean of two bytes, without a sum that needs nine bits: what they share, and half of where they differ.
        np.bitwise_xor(over, left, out=mean)
        np.right_shift(mean, 1, out=mean)
        np.bitwise_and(over, left, out=over)
        np.add(mean, over, out=mean)
        np.right_shift(above[:count, :channels], 1, out=filtered[:count, 1 : 1 + channels])
        np.subtract(rows, filtered[:count, 1:], out=filtered[:count, 1:])
        yield filtered[:count]
        above[0] = rows[-1]
