"""The DEFLATE codec: a stream without any container around it (protocol §3.2)."""

from __future__ import annotations

import zlib

from drawthings_mcp.errors import TensorError
from drawthings_mcp.tensors.header import TensorHeader

_WINDOW_BITS = -15  # 32 KiB, no zlib header
_MAX_RATIO = 1032  # a match of 258 bytes costs at least two bits (RFC 1951)
_INPUT_STEP = 1 << 16  # bytes; zlib copies what it has not used of a step
_OUTPUT_STEP = 1 << 18  # bytes; what zlib has unpacked is copied once more, within the second-level cache


def pack_deflate(data: memoryview) -> bytes:
    """A DEFLATE stream of some bytes."""
    deflater = zlib.compressobj(wbits=_WINDOW_BITS)
    return deflater.compress(data) + deflater.flush()


class Inflater:
    """The values of a tensor, read piece by piece from a DEFLATE stream into memory that is already there.

    Parameters
    ----------
    header
        Of the payload; says how many bytes the stream holds.
    body
        The stream.

    Raises
    ------
    TensorError
        So few bytes cannot hold so many values.
    """

    def __init__(self, header: TensorHeader, body: memoryview) -> None:
        if header.size > len(body) * _MAX_RATIO:
            raise TensorError(
                f"A DEFLATE stream of {len(body):,} bytes cannot hold the {header.size:,} that it should."
            )
        self._size = header.size
        self._rest = body
        self._inflater = zlib.decompressobj(_WINDOW_BITS)

    def read_into(self, target: memoryview) -> None:
        """Fill some bytes with the next values.

        Raises
        ------
        TensorError
            The stream is damaged or ends too early.
        """
        while target:
            piece = self._inflate(min(len(target), _OUTPUT_STEP))
            if not piece:
                raise self._describe_shortage()
            target[: len(piece)] = piece
            target = target[len(piece) :]

    def finish(self) -> None:
        """Make sure that this was all.

        Raises
        ------
        TensorError
            The stream is damaged, goes on, or is followed by something.
        """
        if self._inflate(1) or self._inflater.unused_data or self._rest:
            raise TensorError("The DEFLATE stream holds more than the tensor's header says.")

    def _inflate(self, limit: int) -> bytes:
        """The next 1 to ``limit`` bytes; none at the end of the stream."""
        while not self._inflater.eof:
            data = self._inflater.unconsumed_tail or self._take_input()
            try:
                piece = self._inflater.decompress(data, limit)
            except zlib.error as exc:
                raise TensorError(f"The DEFLATE stream is damaged ({exc}).") from exc
            if piece:
                return piece
            if not data and not self._inflater.eof:
                raise self._describe_shortage()
        return b""

    def _take_input(self) -> memoryview:
        data, self._rest = self._rest[:_INPUT_STEP], self._rest[_INPUT_STEP:]
        return data

    def _describe_shortage(self) -> TensorError:
        return TensorError(
            f"The DEFLATE stream does not hold exactly the {self._size:,} bytes that the tensor's header says."
        )
