"""The DEFLATE codec: a stream without any container around it (protocol §3.2)."""

from __future__ import annotations

import zlib

from drawthings_mcp.errors import TensorError
from drawthings_mcp.tensors.header import TensorHeader

_WINDOW_BITS = -15  # 32 KiB, no zlib header
_MAX_RATIO = 1032  # a match of 258 bytes costs at least two bits (RFC 1951)


def pack_deflate(data: memoryview) -> bytes:
    """A DEFLATE stream of some bytes."""
    deflater = zlib.compressobj(wbits=_WINDOW_BITS)
    return deflater.compress(data) + deflater.flush()


def unpack_deflate(header: TensorHeader, body: memoryview) -> bytes:
    """The values of a tensor from a DEFLATE stream, as bytes.

    Raises
    ------
    TensorError
        The stream is damaged, or does not hold exactly as many bytes as the header says, or is followed by more.
    """
    if header.size > len(body) * _MAX_RATIO:
        raise TensorError(f"A DEFLATE stream of {len(body):,} bytes cannot hold the {header.size:,} that it should.")
    inflater = zlib.decompressobj(_WINDOW_BITS)
    try:
        values = inflater.decompress(body, header.size)
        surplus = inflater.decompress(inflater.unconsumed_tail, 1)
    except zlib.error as exc:
        raise TensorError(f"The DEFLATE stream is damaged ({exc}).") from exc
    if len(values) < header.size or not inflater.eof:
        raise TensorError(
            f"The DEFLATE stream does not hold exactly the {header.size:,} bytes that the tensor's header says."
        )
    if surplus or inflater.unused_data:
        raise TensorError("The DEFLATE stream holds more than the tensor's header says.")
    return values
