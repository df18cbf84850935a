"""The fpzip codec (protocol §3.3), and the program of the processes that run it.

A damaged stream can make the library read and write where it should not: what comes from a server is decoded in
another process, through ``fpzip_pool``. The library also allocates whatever a stream claims, so the claims are read
without it first and compared with the tensor's header.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, BinaryIO, cast

import fpzip
import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import TensorError, TensorTooLargeError
from drawthings_mcp.memory import keep_freed_memory
from drawthings_mcp.tensors.header import HEADER_SIZE, DataType, TensorHeader, parse_header
from drawthings_mcp.tensors.layout import fill_looked_up, fill_picture

_MAGIC = (ord("f"), ord("p"), ord("z"), 0)
_VERSION = (0x0110, 1)
_WORD = 0xFFFFFFFF
_MODEL_TOTAL = 1 << 16
_MAX_PLAIN_PRECISION = 8
MAX_FRONT_VALUES = 1 << 25
"""The library keeps up to twice ``(nx + 1) * (ny + 1)`` values in addition to the result: 330,000 for the widest
picture, 2**25 for the longest sound. At the limit that is 256 MiB, a quarter of what the largest result takes."""
_HALF_PRECISION = 19  # sign, 8 bits of exponent, 10 of mantissa: every finite float16, widened
_DROPPED_BITS = 32 - _HALF_PRECISION
_BLOCK_VALUES = 65536
_PRECISIONS: Mapping[int, int] = {2: _HALF_PRECISION, 4: 32, 8: 64}  # by bytes per value
_STDIN, _STDOUT, _STDERR = 0, 1, 2
GREETING = b"fpzip ready\n"
"""Sent once, when everything is imported."""
REQUEST = struct.Struct(f"<B{HEADER_SIZE}sQ")
"""Task, header of the payload, size of its body in bytes; the body follows."""
REPLY = struct.Struct("<BQ")
"""Status, size in bytes; the values follow, or the text of the error in UTF-8."""


@dataclass(frozen=True, slots=True)
class FpzipHeader:
    """The header of an fpzip stream."""

    is_double: bool
    """Whether the values are 64 instead of 32 bits wide."""
    precision: int
    """Bits kept of every value; 0 means all."""
    shape: tuple[int, int, int, int]
    """``(nf, nz, ny, nx)``: the order of axes of an array, last axis fastest."""

    @property
    def bits(self) -> int:
        """Bits kept of every value."""
        return self.precision or (64 if self.is_double else 32)


def parse_stream(body: memoryview) -> FpzipHeader:
    """Read the header of an fpzip stream; a ``TensorError`` when it is none, of another version, or cut off."""
    coder = _RangeDecoder(body)
    if tuple(coder.decode(8) for _ in _MAGIC) != _MAGIC:
        raise TensorError("The body is not an fpzip stream.")
    if (coder.decode(16), coder.decode(8)) != _VERSION:
        raise TensorError("The fpzip stream has another version than 1.1.0, the only one that is known.")
    is_double, precision = bool(coder.decode(1)), coder.decode(7)
    nx, ny, nz, nf = (coder.decode(16) | coder.decode(16) << 16 for _ in range(4))
    return FpzipHeader(is_double, precision, (nf, nz, ny, nx))


def check_stream(header: TensorHeader, body: memoryview) -> FpzipHeader:
    """Read the header of an fpzip stream and compare it with the header of its payload (protocol §3.5).

    Raises
    ------
    TensorError
        The two do not agree, or so few bytes cannot hold so many values.
    TensorTooLargeError
        The library would need too much memory in addition to the result.
    """
    stream = parse_stream(body)
    if not header.datatype.is_float or stream.is_double != (header.datatype is DataType.F64):
        kind = "64-bit" if stream.is_double else "32-bit"
        raise TensorError(f"An fpzip stream of {kind} floats cannot be a tensor of {header.datatype.name} values.")
    if stream.shape != fold_dims(header.dims):
        raise TensorError(
            f"The fpzip stream has the shape {list(stream.shape)}, the tensor's header says {list(header.dims)}."
        )
    if not 2 <= stream.bits <= (64 if stream.is_double else 32) or (stream.is_double and stream.bits % 2):
        raise TensorError(f"The fpzip stream keeps {stream.bits} bits of each value, which no fpzip decoder can read.")
    if header.count > len(body) * find_density(stream):
        raise TensorError(f"An fpzip stream of {len(body):,} bytes cannot hold {header.count:,} values.")
    if (stream.shape[2] + 1) * (stream.shape[3] + 1) > MAX_FRONT_VALUES:
        raise TensorTooLargeError(f"The last two dims of the fpzip tensor {list(header.dims)} are too large together.")
    return stream


def fold_dims(dims: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Dims as the four axes ``(nf, nz, ny, nx)`` of fpzip (protocol §3.3)."""
    nz, ny, nx = (1, 1, 1, *dims)[-3:]
    return math.prod(dims[:-3]), nz, ny, nx


def find_density(stream: FpzipHeader) -> float:
    """The most values that one byte of a stream can stand for.

    Notes
    -----
    Every value costs one symbol of an adaptive model whose frequencies add up to 2**16 and never fall below 1, so
    the likeliest of ``n`` symbols has a probability of at most ``1 - (n - 1) / 2**16``. Up to 8 bits every
    difference is a symbol of its own; above, a symbol is the length of a difference. Pictures of one colour reach
    half of this.
    """
    symbols = 2 * (1 << stream.bits) - 1 if stream.bits <= _MAX_PLAIN_PRECISION else 2 * stream.bits + 1
    return 8 / -math.log2(1 - (symbols - 1) / _MODEL_TOTAL)


class _RangeDecoder:
    """The range coder of fpzip, for plain numbers only: 32-bit words that wrap around and never carry."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0
        self._low = 0
        self._range = _WORD
        self._code = 0
        self._shift_in(4)

    def decode(self, bits: int) -> int:
        """The next number of 1 to 16 bits."""
        self._range >>= bits
        number = (self._code - self._low & _WORD) // self._range
        if number >> bits:
            raise TensorError("The fpzip stream is damaged.")
        self._low = self._low + self._range * number & _WORD
        self._normalise()
        return number

    def _normalise(self) -> None:
        while not (self._low ^ self._low + self._range & _WORD) >> 24:
            self._shift_in(1)
            self._range = self._range << 8 & _WORD
        if not self._range >> 16:
            self._shift_in(2)
            self._range = -self._low & _WORD

    def _shift_in(self, count: int) -> None:
        data = self._data[self._position : self._position + count]
        if len(data) < count:
            raise TensorError("The fpzip stream ends within its own header.")
        self._position += count
        self._code = (self._code << 8 * count | int.from_bytes(data)) & _WORD
        self._low = self._low << 8 * count & _WORD


def pack_fpzip(values: NDArray[np.floating[Any]]) -> bytes:
    """An fpzip stream of an array, without loss for every finite value.

    It holds the interpreter lock: a tenth of a second for 1024×1024×3 values.
    """
    floats = values.astype(np.float64 if values.dtype.itemsize == 8 else np.float32, copy=False)
    folded = np.ascontiguousarray(floats).reshape(fold_dims(values.shape))
    return cast(bytes, fpzip.compress(folded, precision=_PRECISIONS[values.dtype.itemsize], order="C"))


def unpack_fpzip(header: TensorHeader, body: bytes) -> NDArray[np.floating[Any]]:
    """The values of a tensor, of its own datatype; a ``TensorError`` when the stream is refused."""
    stream = check_stream(header, memoryview(body))
    values = _decompress(header, body)
    if header.datatype is not DataType.F16:
        return values
    halves = values.reshape(-1).view(np.float16)[: values.size]  # in the memory that the wide values no longer need
    if stream.bits > _HALF_PRECISION:
        _narrow(values.reshape(-1), halves)
    else:
        fill_looked_up(_list_halves(), values.view(np.uint32), halves, shift=_DROPPED_BITS)
    return halves.reshape(values.shape)


def _decompress(header: TensorHeader, body: bytes) -> NDArray[np.floating[Any]]:
    """Float64 for ``DataType.F64``, float32 for all others; the library takes nothing but bytes."""
    try:
        values = fpzip.decompress(body, order="C")
    except fpzip.FpzipError as exc:
        raise TensorError(f"The fpzip stream cannot be decoded ({exc}).") from exc
    return cast(NDArray[np.floating[Any]], values.reshape(header.dims))


def _narrow(values: NDArray[np.floating[Any]], halves: NDArray[np.float16]) -> None:
    with np.errstate(over="ignore"):
        for start in range(0, values.size, _BLOCK_VALUES):
            halves[start : start + _BLOCK_VALUES] = values[start : start + _BLOCK_VALUES]


@cache
def _list_halves() -> NDArray[np.float16]:
    """The float16 of each of the 2**19 float32 whose last 13 bits are 0: three times as fast as a conversion."""
    words = np.arange(1 << _HALF_PRECISION, dtype=np.uint32) << _DROPPED_BITS
    with np.errstate(over="ignore"):
        return words.view(np.float32).astype(np.float16)


class WorkerTask(IntEnum):
    """What to make of a payload."""

    TENSOR = 0
    """Values of its own datatype."""
    PIXELS = 1
    """uint8, channels last; half the bytes to send, and no float array on the other side."""


class ReplyStatus(IntEnum):
    """How a request went."""

    DONE = 0
    REFUSED = 1
    DONE_WITH_GAPS = 2
    """Some values of an image were no numbers."""


def unpack_pixels(header: TensorHeader, body: bytes) -> tuple[NDArray[np.uint8], bool]:
    """The pixels of an fpzip image payload, decoded in this process, and whether some values were no numbers.

    Notes
    -----
    Values labelled float16 are not rounded to it first; only streams that no server writes show a difference.
    The pixels take the memory of the values: the library needs four bytes for each, and nothing comes on top.
    """
    check_stream(header, memoryview(body))
    values = _decompress(header, body)
    pixels = values.reshape(-1).view(np.uint8)[: values.size]
    has_gaps = fill_picture(values, pixels)
    return pixels.reshape(values.shape[1:]), has_gaps


_TASKS: Mapping[int, Callable[[TensorHeader, bytes], tuple[NDArray[Any], bool]]] = {
    WorkerTask.TENSOR: lambda header, body: (unpack_fpzip(header, body), False),
    WorkerTask.PIXELS: unpack_pixels,
}


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until they end."""
    _write(replies, GREETING)
    while len(frame := requests.read(REQUEST.size)) == REQUEST.size:
        task, data, size = REQUEST.unpack(frame)
        header = parse_header(data)
        try:
            result, has_gaps = _TASKS[task](header, requests.read(size))
        except TensorError as exc:
            _reply(replies, ReplyStatus.REFUSED, str(exc).encode())
        else:
            status = ReplyStatus.DONE_WITH_GAPS if has_gaps else ReplyStatus.DONE
            _reply(replies, status, result.reshape(-1).view(np.uint8).data)
            del result  # before the next body takes its memory


def _reply(replies: BinaryIO, status: ReplyStatus, data: bytes | memoryview) -> None:
    _write(replies, REPLY.pack(status, len(data)))
    _write(replies, data)


def _write(replies: BinaryIO, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[replies.write(rest) :]


def main() -> None:
    """Decode payloads over the process's own input and output, one after another, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent; the end of the input ends this process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected here, and pictures are private
    keep_freed_memory()
    replies = os.fdopen(os.dup(_STDOUT), "wb", buffering=0)
    os.dup2(_STDERR, _STDOUT)  # nothing else may write between the frames
    requests = os.fdopen(_STDIN, "rb", closefd=False)
    try:
        serve(requests, cast(BinaryIO, replies))
    except BrokenPipeError:
        return  # the parent is gone
