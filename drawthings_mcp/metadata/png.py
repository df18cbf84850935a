"""Pixels and an XMP packet → the bytes of a PNG file.

Owns the PNG encoding of originals. Knows nothing of what the packet says nor of where the file goes.

Notes
-----
Every row gets the Average filter, by arithmetic on many rows at once, and is deflated by run lengths and
Huffman codes only. For pictures with grain this beats trying every filter on every row and searching for
repetitions, in bytes as in time (``benchmarks/saving.py``).
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from PIL import Image, ImageChops

from drawthings_mcp.metadata.xmp import XMP_KEYWORD

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_COLOUR_TYPES = {3: 2, 4: 6}
"""Channels → colour type of the header: RGB and RGBA (PNG 3, §11.2.1)."""
_BIT_DEPTH = 8
_AVERAGE_FILTER = 3
"""Predicts a byte as the mean of those to the left and above, rounded down (PNG 3, §9.2)."""
_PERCEPTUAL = b"\0"
"""Rendering intent of the sRGB chunk."""
_ROWS_AT_ONCE = 256
"""Rows that are filtered together: it takes several times their bytes."""


def encode_png(pixels: NDArray[np.uint8], packet: str) -> bytes:
    """A PNG file with its metadata before the pixels.

    Parameters
    ----------
    pixels
        ``(H, W, 3)`` or ``(H, W, 4)`` uint8, sRGB, channels R, G, B, A.
    packet
        XMP packet; stored uncompressed in one ``iTXt`` (formats §3.4).
    """
    # Keyword, then: not compressed, no language, no translated keyword.
    text = f"{XMP_KEYWORD}\0\0\0\0\0{packet}".encode()
    chunks = ((b"iTXt", text), (b"IDAT", deflate_pixels(pixels)), (b"IEND", b""))
    return build_head(pixels) + b"".join(build_chunk(name, data) for name, data in chunks)


def build_head(pixels: NDArray[np.uint8]) -> bytes:
    """How a PNG file of such pixels begins: signature, size and colour space."""
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, _BIT_DEPTH, _COLOUR_TYPES[channels], 0, 0, 0)
    return PNG_SIGNATURE + build_chunk(b"IHDR", header) + build_chunk(b"sRGB", _PERCEPTUAL)


def deflate_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels as they stand in a PNG file, filtered and deflated."""
    # Z_RLE ignores the level but for 0.
    deflater = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    blocks = [deflater.compress(_filter_rows(pixels, top)) for top in range(0, len(pixels), _ROWS_AT_ONCE)]
    return b"".join([*blocks, deflater.flush()])


def build_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file, with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def _filter_rows(pixels: NDArray[np.uint8], top: int) -> bytes:
    """A block of rows of filtered bytes, each behind the number of its filter."""
    block = pixels[top : top + _ROWS_AT_ONCE]
    length = block.shape[1] * block.shape[2]
    rows = Image.fromarray(block.reshape(-1, length))
    left, above = Image.new("L", rows.size), Image.new("L", rows.size)
    left.paste(rows, (block.shape[2], 0))
    above.paste(rows, (0, 1))
    if top:
        above.paste(Image.fromarray(pixels[top - 1].reshape(1, length)), (0, 0))
    filtered = Image.new("L", (length + 1, len(block)), _AVERAGE_FILTER)
    filtered.paste(ImageChops.subtract_modulo(rows, ImageChops.add(left, above, scale=2)), (1, 0))
    return filtered.tobytes()
