"""Latents to the wire and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drawthings_mcp.errors import InvalidInputError, TensorError, TensorTooLargeError
from drawthings_mcp.tensors.header import Codec, DataType, TensorFormat, TensorHeader, build_header, parse_header
from drawthings_mcp.tensors.latent import decode_latent, encode_latent
from drawthings_mcp.tensors.tensor import encode_tensor


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("shape", [(1, 128, 128, 16), (2, 32, 32, 4), (5, 4, 4, 128)])
def test_a_latent_comes_back(codec: Codec, shape: tuple[int, ...]) -> None:
    latent = np.sin(np.arange(np.prod(shape)) / 99).reshape(shape).astype(np.float16)
    payload = encode_latent(latent, codec=codec)
    assert parse_header(payload).format is TensorFormat.NHWC
    decoded = decode_latent(payload)
    assert decoded.dtype == np.float16
    np.testing.assert_array_equal(decoded, latent)


def test_a_raw_preview_of_1024_pixels_has_the_known_size() -> None:
    assert len(encode_latent(np.zeros((1, 128, 128, 16), np.float16))) == 524_356


def test_a_float32_latent_of_an_intel_mac_is_decoded() -> None:
    latent = np.linspace(-3, 3, 64, dtype=np.float32).reshape(1, 4, 4, 4)
    np.testing.assert_array_equal(decode_latent(encode_tensor(latent)), latent)


@pytest.mark.parametrize("latent", [np.zeros((4, 4, 4), np.float16), np.zeros((1, 4, 4, 4), np.float32)])
def test_an_array_that_is_no_latent_is_refused(latent: Any) -> None:
    with pytest.raises(InvalidInputError, match="A latent is"):
        encode_latent(latent)


@pytest.mark.parametrize(
    ("tensor", "tensor_format"),
    [
        (np.zeros((4, 4, 4), np.float16), None),
        (np.zeros((1, 4, 4, 4), np.uint8), None),
        (np.zeros((1, 4, 4, 4), np.float16), TensorFormat.NCHW),
    ],
)
def test_a_tensor_that_is_no_latent_is_refused(tensor: Any, tensor_format: TensorFormat | None) -> None:
    with pytest.raises(TensorError, match="A latent is"):
        decode_latent(encode_tensor(tensor, tensor_format=tensor_format))


def test_a_latent_larger_than_that_of_any_canvas_is_refused_by_its_header() -> None:
    header = build_header(TensorHeader(Codec.DEFLATE, DataType.F16, TensorFormat.NHWC, (1, 2049, 1024, 32)))
    with pytest.raises(TensorTooLargeError, match=r"The latent .* of F16 takes .* bytes; at most 134,217,728 are"):
        decode_latent(header + bytes(1 << 20))
