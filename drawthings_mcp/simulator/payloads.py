"""Tensors as they come in: references resolved, fatal headers told from undecodable ones (protocol §3.4, §6.1)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from drawthings_mcp.errors import TensorError
from drawthings_mcp.simulator.journal import CrashError, Journal
from drawthings_mcp.tensors.tensor import decode_tensor

_HEADER = struct.Struct("<I4i12i")
_REFERENCE_SIZE = 32
_CPU = 1
_MEMORY_KIND_BITS = 3
_DATATYPES: Mapping[int, str] = {
    0x00001000: "8U",
    0x00002000: "32S",
    0x00004000: "32F",
    0x00008000: "64S",
    0x00010000: "64F",
    0x00020000: "16F",
    0x00040000: "QX",
    0x00080000: "16BF",
}


@dataclass(frozen=True)
class Tensor:
    """A decoded tensor: its datatype's name in the protocol, and its values in the shape of its dims."""

    datatype: str
    values: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The dims."""
        return self.values.shape


class Contents:
    """The content-addressed blobs of one request."""

    def __init__(self, blobs: Iterable[bytes], journal: Journal) -> None:
        self._blobs = {hashlib.sha256(blob).digest(): blob for blob in blobs}
        self._journal = journal

    def read(self, value: bytes, what: str) -> Tensor | None:
        """The tensor behind a field: a payload or a reference to one.

        None when there is nothing, the reference is unknown, or the payload cannot be decoded: the server goes on
        as if the field were not there.

        Raises
        ------
        CrashError
            The header names an unknown datatype or memory that is not the CPU's.
        """
        payload = self._resolve(value, what)
        if not payload:
            return None
        datatype = _check_header(payload, what)
        try:
            values = decode_tensor(payload)
        except TensorError as exc:
            self._journal.degrade(f"{what} cannot be decoded and is ignored: {exc}")
            return None
        return Tensor(datatype, values)

    def _resolve(self, value: bytes, what: str) -> bytes:
        """The blob that 32 bytes refer to; anything of another length is the blob itself."""
        if len(value) != _REFERENCE_SIZE:
            return value
        if value not in self._blobs:
            self._journal.degrade(f"{what} refers to {value.hex()[:12]}…, which is not among the contents: ignored")
        return self._blobs.get(value, b"")


def _check_header(payload: bytes, what: str) -> str:
    """The datatype of a payload; too short a payload is left to the decoder."""
    if len(payload) < _HEADER.size:
        return ""
    _, memory_kind, _, datatype, *_ = _HEADER.unpack_from(payload)
    if memory_kind & _MEMORY_KIND_BITS != _CPU:
        raise CrashError(f"{what} names memory kind {memory_kind}, not {_CPU} (CPU)")
    if datatype not in _DATATYPES:
        raise CrashError(f"{what} has the unknown datatype {datatype:#x}")
    return _DATATYPES[datatype]
