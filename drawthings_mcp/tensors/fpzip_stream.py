"""What an fpzip stream says of itself, read without the fpzip library (protocol §3.3).

The library allocates whatever a stream claims, so claims are compared with the tensor's header first. Owns the
stream's own header and the limits that follow from the coder; knows nothing of how values are packed behind it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from drawthings_mcp.errors import TensorError, TensorTooLargeError
from drawthings_mcp.tensors.header import DataType, TensorHeader

_MAGIC = (ord("f"), ord("p"), ord("z"), 0)
_VERSION = (0x0110, 1)
_WORD = 0xFFFFFFFF
_MODEL_TOTAL = 1 << 16
_MAX_PLAIN_PRECISION = 8
MAX_FRONT_VALUES = 1 << 25
"""The library keeps up to twice ``(nx + 1) * (ny + 1)`` values beside the result: 330,000 for the widest picture,
2**25 for the longest sound. At the limit that is 256 MiB, a quarter of what the largest result takes."""


@dataclass(frozen=True, slots=True)
class FpzipHeader:
    """The header of an fpzip stream.

    Attributes
    ----------
    is_double
        Whether the values are 64 instead of 32 bits wide.
    precision
        Bits kept of every value; 0 means all.
    shape
        ``(nf, nz, ny, nx)``: the order of axes of an array, last axis fastest.
    """

    is_double: bool
    precision: int
    shape: tuple[int, int, int, int]

    @property
    def bits(self) -> int:
        """Bits kept of every value."""
        return self.precision or (64 if self.is_double else 32)


def parse_stream(body: memoryview) -> FpzipHeader:
    """Read the header of an fpzip stream.

    Raises
    ------
    TensorError
        This is no fpzip stream, or one of another version, or it ends too early.
    """
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
        The library would need too much memory beside the result.
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
