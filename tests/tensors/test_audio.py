"""Sound to the wire and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drawthings_mcp.errors import InvalidInputError, TensorError, TensorTooLargeError
from drawthings_mcp.tensors.audio import decode_audio, encode_audio
from drawthings_mcp.tensors.header import Codec, DataType, TensorFormat, TensorHeader, build_header, parse_header
from drawthings_mcp.tensors.tensor import encode_tensor


@pytest.mark.parametrize("codec", Codec)
def test_both_channels_come_back(codec: Codec) -> None:
    time = np.arange(4800) / 48_000
    samples = np.stack([np.sin(time * 2765), np.cos(time * 4000)]).astype(np.float32)
    payload = encode_audio(samples, codec=codec)
    header = parse_header(payload)
    assert (header.dims, header.format) == ((2, 4800), TensorFormat.NCHW)
    decoded = decode_audio(payload)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, samples)


@pytest.mark.parametrize("samples", [np.zeros((1, 9), np.float32), np.zeros(9, np.float32), np.zeros((2, 9))])
def test_an_array_that_is_no_sound_is_refused(samples: Any) -> None:
    with pytest.raises(InvalidInputError, match="Audio is"):
        encode_audio(samples)


@pytest.mark.parametrize("tensor", [np.zeros((3, 9), np.float32), np.zeros((2, 9), np.float16)])
def test_a_tensor_that_is_no_sound_is_refused(tensor: Any) -> None:
    with pytest.raises(TensorError, match="Audio is"):
        decode_audio(encode_tensor(tensor))


def test_a_sound_of_many_minutes_is_refused_by_its_header() -> None:
    header = build_header(TensorHeader(Codec.DEFLATE, DataType.F32, TensorFormat.NCHW, (2, (8 << 20) + 1)))
    with pytest.raises(
        TensorTooLargeError, match=r"The sound .* of F32 takes 67,108,872 bytes; at most 67,108,864 are"
    ):
        decode_audio(header + bytes(1 << 20))
