"""Payloads ↔ arrays of any shape, by any codec: raw, DEFLATE, fpzip (protocol §3.2).

What a tensor means is up to ``image``, ``mask``, ``latent`` and ``audio``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidInputError, TensorError
from drawthings_mcp.tensors.fpzip_codec import WorkerTask, check_stream, pack_fpzip
from drawthings_mcp.tensors.fpzip_pool import decode_fpzip
from drawthings_mcp.tensors.header import (
    MAX_RANK,
    Codec,
    Payload,
    TensorFormat,
    TensorHeader,
    build_header,
    find_datatype,
    split_payload,
)

_WINDOW_BITS = -15  # 32 KiB, no zlib header
_MAX_RATIO = 1032  # a match of 258 bytes costs at least two bits (RFC 1951)
_INPUT_STEP = 1 << 16  # bytes; zlib copies what it has not used of a step
_OUTPUT_STEP = 1 << 18  # bytes; what zlib has unpacked is copied once more, within the second-level cache


def decode_tensor(payload: Payload) -> NDArray[Any]:
    """The array in a payload.

    An fpzip payload is decoded in another process; the call blocks, but without holding the interpreter lock.

    Parameters
    ----------
    payload
        Header and body, as the server sent them.

    Returns
    -------
    NDArray[Any]
        Its shape are the header's dims, its type the header's datatype. May be a read-only view of the payload.

    Raises
    ------
    TensorError
        The payload is not well-formed (protocol §3.5).
    TensorTooLargeError
        Its values take more than ``DataType.max_size`` bytes.
    DecoderCrashedError
        It crashed the decoder's process.
    """
    return decode_body(*split_payload(payload))


def encode_tensor(array: NDArray[Any], *, codec: Codec = Codec.RAW, tensor_format: TensorFormat | None = None) -> bytes:
    """The payload of an array, raw where packing does not make it smaller, as servers do (protocol §3.2).

    Parameters
    ----------
    array
        float16, float32, float64, uint8, int32 or int64; 1 to 12 dims, none of them 0.
    codec
        ``Codec.FPZIP`` packs floating-point numbers only. It keeps every finite value; NaN may become another NaN.
    tensor_format
        The order of the axes; by default NHWC from three dims on, else NCHW, which stands for "none" on the wire.

    Raises
    ------
    InvalidInputError
        There is no payload for such an array, or not with that codec.
    TensorTooLargeError
        Its values take more than ``DataType.max_size`` bytes.
    """
    array = np.asarray(array)
    datatype = find_datatype(array.dtype)
    if not 1 <= array.ndim <= MAX_RANK or array.size == 0:
        raise InvalidInputError(
            f"An array of the shape {array.shape} cannot be sent; 1 to {MAX_RANK} axes, none empty."
        )
    if codec is Codec.FPZIP and not datatype.is_float:
        raise InvalidInputError(
            f"fpzip packs floating-point numbers, not {array.dtype}; use Codec.DEFLATE or Codec.RAW."
        )
    if tensor_format is None:
        tensor_format = TensorFormat.NHWC if array.ndim >= 3 else TensorFormat.NCHW
    header = TensorHeader(codec, datatype, tensor_format, array.shape)
    values = np.ascontiguousarray(array, datatype.dtype)
    body = _PACKERS[codec](values)
    if len(body) >= header.size:
        header = TensorHeader(Codec.RAW, datatype, tensor_format, array.shape)
        body = view_bytes(values)
    return b"".join((build_header(header), body))


def decode_body(header: TensorHeader, body: memoryview) -> NDArray[Any]:
    """The array behind a header that was parsed before; otherwise as ``decode_tensor``."""
    return _UNPACKERS[header.codec](header, body)


def view_bytes(values: NDArray[Any]) -> memoryview:
    """The memory of a C-contiguous array."""
    return values.reshape(-1).view(np.uint8).data


def decode_fpzip_pixels(header: TensorHeader, body: memoryview) -> tuple[NDArray[np.uint8], bool]:
    """The pixels behind the header of an fpzip image, and whether some values were no numbers.

    The other process makes them, for they are less to transfer.
    """
    check_stream(header, body)
    pixels = np.empty(header.dims[1:], np.uint8)
    return pixels, decode_fpzip(WorkerTask.PIXELS, header, body, pixels)


def _unpack_raw(header: TensorHeader, body: memoryview) -> NDArray[Any]:
    if len(body) < header.size:
        raise TensorError(f"The tensor {list(header.dims)} needs {header.size:,} bytes, the payload has {len(body):,}.")
    # Servers may send more than is needed (protocol §3.5).
    return np.frombuffer(body, header.datatype.dtype, header.count).reshape(header.dims)


def _unpack_deflate(header: TensorHeader, body: memoryview) -> NDArray[Any]:
    inflater = Inflater(header, body)
    array = np.empty(header.dims, header.datatype.dtype)
    inflater.read_into(view_bytes(array))
    inflater.finish()
    return array


def _unpack_fpzip(header: TensorHeader, body: memoryview) -> NDArray[Any]:
    check_stream(header, body)
    array = np.empty(header.dims, header.datatype.dtype)
    decode_fpzip(WorkerTask.TENSOR, header, body, array)
    return array


_UNPACKERS: Mapping[Codec, Callable[[TensorHeader, memoryview], NDArray[Any]]] = {
    Codec.RAW: _unpack_raw,
    Codec.DEFLATE: _unpack_deflate,
    Codec.FPZIP: _unpack_fpzip,
}


_PACKERS: Mapping[Codec, Callable[[NDArray[Any]], bytes | memoryview]] = {
    Codec.RAW: view_bytes,
    Codec.DEFLATE: lambda values: pack_deflate(view_bytes(values)),
    Codec.FPZIP: pack_fpzip,
}


def pack_deflate(data: memoryview) -> bytes:
    """A DEFLATE stream of some bytes."""
    deflater = zlib.compressobj(wbits=_WINDOW_BITS)
    return deflater.compress(data) + deflater.flush()


class Inflater:
    """The values of a tensor, read piece by piece from a DEFLATE stream into memory that is already there.

    The header says how many bytes the stream holds; a ``TensorError`` when it cannot, or does not.
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
        """Fill some bytes with the next values."""
        while target:
            piece = self._inflate(min(len(target), _OUTPUT_STEP))
            if not piece:
                raise self._describe_shortage()
            target[: len(piece)] = piece
            target = target[len(piece) :]

    def finish(self) -> None:
        """Make sure that this was all: the stream neither goes on nor is followed by something."""
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
