"""The process that decodes fpzip payloads, one after another, until its input ends.

Owns the layout of the frames that go in and out, and the child's side of them; ``fpzip_process`` is the other
side. Run as ``python -m drawthings_mcp.tensors.fpzip_worker``; importing it does nothing.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import TensorError
from drawthings_mcp.tensors.fpzip_codec import unpack_fpzip, unpack_wide
from drawthings_mcp.tensors.header import HEADER_SIZE, TensorHeader, parse_header
from drawthings_mcp.tensors.layout import fill_picture

_STDIN, _STDOUT, _STDERR = 0, 1, 2
GREETING = b"fpzip ready\n"
"""Sent once, when everything is imported."""
REQUEST = struct.Struct(f"<B{HEADER_SIZE}sQ")
"""Operation, header of the payload, size of its body in bytes; the body follows."""
REPLY = struct.Struct("<BQ")
"""Status, size in bytes; the values follow, or the text of the error in UTF-8."""


class Operation(IntEnum):
    """What to make of a payload."""

    TENSOR = 0
    """Values of its own datatype."""
    PIXELS = 1
    """uint8, channels last; half the bytes to send, and no float array on the other side."""


class Status(IntEnum):
    """How a request went."""

    DONE = 0
    REFUSED = 1


def unpack_pixels(header: TensorHeader, body: bytes) -> NDArray[np.uint8]:
    """The pixels of an fpzip image payload, decoded in this process.

    Notes
    -----
    Values labelled float16 are not rounded to it first; only streams that no server writes show a difference.
    The pixels take the memory of the values: the library needs four bytes for each, and nothing comes on top.
    """
    values = unpack_wide(header, body)
    pixels = values.reshape(-1).view(np.uint8)[: values.size]
    fill_picture(values, pixels)
    return pixels.reshape(values.shape[1:])


_OPERATIONS: Mapping[int, Callable[[TensorHeader, bytes], NDArray[Any]]] = {
    Operation.TENSOR: unpack_fpzip,
    Operation.PIXELS: unpack_pixels,
}


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until they end."""
    _write(replies, GREETING)
    while len(frame := requests.read(REQUEST.size)) == REQUEST.size:
        operation, data, size = REQUEST.unpack(frame)
        header = parse_header(data)
        try:
            result = _OPERATIONS[operation](header, requests.read(size))
        except TensorError as exc:
            _reply(replies, Status.REFUSED, str(exc).encode())
        else:
            _reply(replies, Status.DONE, result.reshape(-1).view(np.uint8).data)
            del result  # before the next body takes its memory


def _reply(replies: BinaryIO, status: Status, data: bytes | memoryview) -> None:
    _write(replies, REPLY.pack(status, len(data)))
    _write(replies, data)


def _write(replies: BinaryIO, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[replies.write(rest) :]


def main() -> None:
    """Serve over the process's own input and output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent; the end of the input ends this process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected here, and pictures are private
    replies = os.fdopen(os.dup(_STDOUT), "wb", buffering=0)
    os.dup2(_STDERR, _STDOUT)  # nothing else may write between the frames
    requests = os.fdopen(_STDIN, "rb", closefd=False)
    try:
        serve(requests, cast(BinaryIO, replies))
    except BrokenPipeError:
        return  # the parent is gone


if __name__ == "__main__":
    main()
