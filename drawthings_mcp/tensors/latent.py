"""Latents: what a model works on, ``(N, h, w, C)`` (protocol §7.4). How to look at one is not known here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidInputError, TensorError
from drawthings_mcp.tensors.header import Codec, Payload, TensorFormat, split_payload
from drawthings_mcp.tensors.tensor import decode_body, encode_tensor

MAX_SIZE = 128 << 20
"""Bytes: twice what the largest canvas takes in 16 channels of float32, and more than any video's."""


def encode_latent(latent: NDArray[np.float16], *, codec: Codec = Codec.RAW) -> bytes:
    """The payload of a latent.

    Parameters
    ----------
    latent
        ``(N, h, w, C)``, float16, VAE space.
    codec
        Any; packed only where that makes it smaller.

    Raises
    ------
    InvalidInputError
        This is no such array.
    """
    if latent.ndim != 4 or latent.dtype != np.float16:
        raise InvalidInputError(f"A latent is (N, h, w, C) of float16, not {latent.shape} of {latent.dtype}.")
    return encode_tensor(latent, codec=codec, tensor_format=TensorFormat.NHWC)


def decode_latent(payload: Payload) -> NDArray[np.floating[Any]]:
    """The latent in a payload, ``(N, h, w, C)``: float16, or float32 from an Intel Mac (protocol §3.4).

    Raises
    ------
    TensorError
        The payload is not well-formed, or no latent.
    TensorTooLargeError
        It takes more than ``MAX_SIZE`` bytes.
    """
    header, body = split_payload(payload)
    if not header.datatype.is_float or len(header.dims) != 4 or header.format is not TensorFormat.NHWC:
        raise TensorError(
            f"A latent is (N, h, w, C) of floats in the order NHWC, not {list(header.dims)} of {header.datatype.name} "
            f"in the order {header.format.name}."
        )
    header.check_size(MAX_SIZE, "latent")
    return decode_body(header, body)
