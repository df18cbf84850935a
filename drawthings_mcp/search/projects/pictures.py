"""Rows of a project's pictures → thumbnails and pixels (formats §5.6, §5.7)."""

from __future__ import annotations

import struct
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidImageError, TensorError
from drawthings_mcp.search.projects.flatbuffer import Table
from drawthings_mcp.tensors.header import Codec, DataType, TensorFormat, TensorHeader, build_header
from drawthings_mcp.tensors.image import decode_image

_START, _END = b"\xff\xd8\xff", b"\xff\xd9"
_DATA = 1
_CODEC_SHIFT = 32


def read_jpeg(data: bytes) -> bytes | None:
    """The JPEG file in a row of a thumbnail; searched for where the row cannot be read otherwise."""
    jpeg = bytes(Table(data).get_bytes(_DATA))
    if jpeg.startswith(_START):
        return jpeg
    start, end = data.find(_START), data.rfind(_END)
    return data[start : end + len(_END)] if 0 <= start < end else None


def decode_row(kind: int, axes: int, datatype: int, dims: bytes, body: bytes) -> NDArray[np.uint8]:
    """The pixels of a row of ``tensors``.

    Parameters
    ----------
    kind
        The codec in the upper 32 bits.
    axes, datatype
        The numbers of ``TensorFormat`` and ``DataType``.
    dims
        Lengths of the axes, 32 bits each, up to the first 0.
    body
        As packed.

    Returns
    -------
    NDArray[np.uint8]
        ``(H, W, 3)`` or ``(H, W, 4)``, sRGB, channels R, G, B, A.

    Raises
    ------
    InvalidImageError
        The row is damaged, or packed in a way that is not known.
    """
    try:
        lengths = tuple(takewhile(bool, (length for (length,) in struct.iter_unpack("<i", dims[: len(dims) // 4 * 4]))))
        shape = lengths if len(lengths) != 3 else (1, *lengths)
        header = TensorHeader(Codec(kind >> _CODEC_SHIFT), DataType(datatype), TensorFormat(axes), shape)
        return decode_image(build_header(header) + body)
    except (TensorError, ValueError) as error:
        raise InvalidImageError(
            f"The picture cannot be decoded ({error}); it is damaged, or from a newer Draw Things than is known here."
        ) from error
