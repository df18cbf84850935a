"""The first 68 bytes of a tensor payload, and what they are allowed to say (protocol §3.1, §3.2, §3.5)."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import takewhile
from typing import Any, TypeAlias, TypeVar

import numpy as np

from drawthings_mcp.errors import InvalidInputError, TensorError, TensorTooLargeError

Payload: TypeAlias = bytes | bytearray | memoryview
"""Header and body of one tensor, contiguous."""

HEADER_SIZE = 68
MAX_RANK = 12
MAX_PIXELS = 8192 * 8192
"""The largest canvas, whether it was asked for or an upscaler made it; headers of few bytes may claim billions."""

_LAYOUT = struct.Struct("<I4i12i")  # identifier, memory kind, format, datatype, reserved, dims
_MEMORY_KIND_BITS = 3
_MEMORY_KIND_CPU = 1
_UNDECODABLE_DATATYPES: Mapping[int, str] = {0x00040000: "QX (palettized)", 0x00080000: "16BF"}


class Codec(IntEnum):
    """How the body is packed; the identifier of a payload (protocol §3.2)."""

    RAW = 0
    DEFLATE = 0x217
    FPZIP = 0xF7217


class DataType(IntEnum):
    """What one value is (protocol §3.1)."""

    U8 = 0x00001000
    S32 = 0x00002000
    F32 = 0x00004000
    S64 = 0x00008000
    F64 = 0x00010000
    F16 = 0x00020000

    @property
    def dtype(self) -> np.dtype[Any]:
        """The array type that holds such values as they stand on the wire."""
        return _DTYPES[self]

    @property
    def max_size(self) -> int:
        """How many bytes the unpacked values of one tensor may take."""
        return _MAX_SIZES[self]

    @property
    def is_float(self) -> bool:
        """Whether values are floating-point numbers, which fpzip can pack."""
        return self.dtype.kind == "f"


class TensorFormat(IntEnum):
    """The order of the axes (protocol §3.1)."""

    NCHW = 1
    NHWC = 2
    CHWN = 4


_DTYPES: Mapping[DataType, np.dtype[Any]] = {
    DataType.U8: np.dtype("u1"),
    DataType.S32: np.dtype("<i4"),
    DataType.F32: np.dtype("<f4"),
    DataType.S64: np.dtype("<i8"),
    DataType.F64: np.dtype("<f8"),
    DataType.F16: np.dtype("<f2"),
}
_MAX_SIZES: Mapping[DataType, int] = {
    DataType.F16: MAX_PIXELS * 4 * 2,  # 512 MiB: the largest image with alpha
    DataType.F32: MAX_PIXELS * 4 * 4,  # the same from an Intel Mac (protocol §3.4)
    DataType.U8: MAX_PIXELS,  # 64 MiB: the largest mask
    # No server sends the others, and no picture is made of them.
    DataType.S32: 64 << 20,
    DataType.S64: 64 << 20,
    DataType.F64: 64 << 20,
}


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """What a payload says of itself.

    The dims are 1 to 12 lengths, each at least 1, else it is a ``TensorError``, together no more values than fit into
    ``datatype.max_size`` bytes, else a ``TensorTooLargeError``.
    """

    codec: Codec
    datatype: DataType
    format: TensorFormat
    dims: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.dims) <= MAX_RANK:
            raise TensorError(f"A tensor has 1 to {MAX_RANK} dims, this one has {len(self.dims)}.")
        if min(self.dims) < 1:
            raise TensorError(f"Every dim of a tensor is at least 1, these are {list(self.dims)}.")
        self.check_size(self.datatype.max_size)

    @property
    def count(self) -> int:
        """How many values the tensor has."""
        return math.prod(self.dims)

    @property
    def size(self) -> int:
        """How many bytes the values take when they are not packed."""
        return self.count * self.datatype.dtype.itemsize

    def check_size(self, max_size: int, what: str = "tensor") -> None:
        """Raise a ``TensorTooLargeError`` if the unpacked values take more than some bytes."""
        if self.size > max_size:
            raise TensorTooLargeError(
                f"The {what} {list(self.dims)} of {self.datatype.name} takes {self.size:,} bytes; at most "
                f"{max_size:,} are decoded."
            )


def parse_header(payload: Payload) -> TensorHeader:
    """Read and check the header of a payload (protocol §3.5); what follows it is not read.

    Raises
    ------
    TensorError
        A field has a value that is unknown or cannot be decoded.
    TensorTooLargeError
        The values would take more than ``DataType.max_size`` bytes.
    """
    if len(payload) < HEADER_SIZE:
        raise TensorError(
            f"A tensor payload begins with {HEADER_SIZE} bytes of header, this one ends after {len(payload)}."
        )
    identifier, memory_kind, tensor_format, datatype, _, *dims = _LAYOUT.unpack_from(payload)
    if memory_kind & _MEMORY_KIND_BITS != _MEMORY_KIND_CPU:
        raise TensorError(
            f"Memory kind {memory_kind} is not CPU ({_MEMORY_KIND_CPU}), the only one that can be decoded."
        )
    if datatype in _UNDECODABLE_DATATYPES:
        raise TensorError(
            f"Tensors of {_UNDECODABLE_DATATYPES[datatype]} values are not decoded; known are {_names(DataType)}."
        )
    return TensorHeader(
        codec=_member(Codec, identifier, "codec"),
        datatype=_member(DataType, datatype, "datatype"),
        format=_member(TensorFormat, tensor_format, "format"),
        dims=tuple(takewhile(bool, dims)),
    )


def build_header(header: TensorHeader) -> bytes:
    """The 68 bytes of a header, always for CPU memory: a server crashes on any other kind (protocol §3.1)."""
    dims = header.dims + (0,) * (MAX_RANK - len(header.dims))
    return _LAYOUT.pack(header.codec, _MEMORY_KIND_CPU, header.format, header.datatype, 0, *dims)


def split_payload(payload: Payload) -> tuple[TensorHeader, memoryview]:
    """The checked header of a payload, and its body without a copy."""
    view = memoryview(payload).cast("B")
    return parse_header(view), view[HEADER_SIZE:]


def find_datatype(dtype: np.dtype[Any]) -> DataType:
    """The datatype that holds the values of an array; an ``InvalidInputError`` when the wire has none."""
    for datatype, known in _DTYPES.items():
        if known == dtype.newbyteorder("<"):
            return datatype
    raise InvalidInputError(
        f"Arrays of {dtype} cannot be sent; convert to {', '.join(known.name for known in _DTYPES.values())}."
    )


_Member = TypeVar("_Member", bound=IntEnum)


def _member(kind: type[_Member], value: int, what: str) -> _Member:
    try:
        return kind(value)
    except ValueError:
        raise TensorError(f"Unknown tensor {what} {value:#x}; known are {_names(kind)}.") from None


def _names(kind: type[IntEnum]) -> str:
    return ", ".join(f"{member.name} {member.value:#x}" for member in kind)
