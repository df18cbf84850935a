"""Sound that comes with a video: two planes of samples (protocol §3.6). The sample rate is the model's concern."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidInputError, TensorError
from drawthings_mcp.tensors.header import Codec, DataType, Payload, TensorFormat, split_payload
from drawthings_mcp.tensors.tensor import decode_body, encode_tensor

CHANNELS = 2
MAX_SIZE = 64 << 20
"""Bytes: almost three minutes at 48 kHz; the longest clips last half a minute."""


def encode_audio(samples: NDArray[np.float32], *, codec: Codec = Codec.RAW) -> bytes:
    """The payload of some sound.

    Parameters
    ----------
    samples
        ``(2, samples)``, float32 in [-1, 1], left before right.
    codec
        Any; packed only where that makes it smaller.

    Raises
    ------
    InvalidInputError
        This is no such array.
    """
    if samples.ndim != 2 or len(samples) != CHANNELS or samples.dtype != np.float32:
        raise InvalidInputError(f"Audio is ({CHANNELS}, samples) of float32, not {samples.shape} of {samples.dtype}.")
    return encode_tensor(samples, codec=codec, tensor_format=TensorFormat.NCHW)


def decode_audio(payload: Payload) -> NDArray[np.float32]:
    """The sound in a payload, ``(2, samples)`` float32 in [-1, 1], left before right.

    Raises
    ------
    TensorError
        The payload is not well-formed, or no sound.
    TensorTooLargeError
        It takes more than ``MAX_SIZE`` bytes.
    """
    header, body = split_payload(payload)
    if header.datatype is not DataType.F32 or len(header.dims) != 2 or header.dims[0] != CHANNELS:
        raise TensorError(f"Audio is ({CHANNELS}, samples) of F32, not {list(header.dims)} of {header.datatype.name}.")
    header.check_size(MAX_SIZE, "sound")
    return decode_body(header, body)
