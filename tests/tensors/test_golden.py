"""Payloads that others made, byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from drawthings_mcp.tensors import decode_image, encode_image
from drawthings_mcp.tensors.header import Codec, DataType, TensorFormat, TensorHeader, build_header, parse_header
from drawthings_mcp.tensors.mask import decode_mask, encode_mask
from drawthings_mcp.tensors.tensor import decode_tensor, encode_tensor


def test_the_raw_image_decodes_and_encodes(golden: Callable[[str], bytes]) -> None:
    payload = golden("image_2x2_f16_raw")
    tensor = np.array([[[[-1, 0, 1], [0.5, -0.5, 0.25]], [[0, 0, 0], [1, 1, 1]]]], np.float16)
    np.testing.assert_array_equal(decode_tensor(payload), tensor)
    assert encode_tensor(tensor) == payload
    np.testing.assert_array_equal(
        decode_image(payload), [[[0, 128, 255], [191, 64, 159]], [[128, 128, 128], [255, 255, 255]]]
    )


def test_the_fpzip_image_decodes_and_encodes(
    golden: Callable[[str], bytes], golden_digest: Callable[[str], str]
) -> None:
    payload = golden("image_64x64_black_f16_fpzip")
    black = np.zeros((64, 64, 3), np.uint8)
    np.testing.assert_array_equal(decode_image(payload), black)
    assert encode_image(black, codec=Codec.FPZIP) == payload
    raw = encode_tensor(decode_tensor(payload))
    assert len(raw) == 24_644
    assert hashlib.sha256(raw).hexdigest() == golden_digest("image_64x64_black_f16_raw")


def test_the_mask_decodes_and_encodes(golden: Callable[[str], bytes], golden_digest: Callable[[str], str]) -> None:
    classes = decode_mask(golden("mask_64x64_left_half_deflate"))
    np.testing.assert_array_equal(classes, np.repeat([[2, 0]], 32, axis=1).repeat(64, axis=0))
    raw = encode_mask(classes)
    assert len(raw) == 4164
    assert hashlib.sha256(raw).hexdigest() == golden_digest("mask_64x64_left_half_raw")
    np.testing.assert_array_equal(decode_mask(encode_mask(classes, codec=Codec.DEFLATE)), classes)


def test_the_audio_header_parses_and_builds(golden: Callable[[str], bytes]) -> None:
    header = TensorHeader(Codec.FPZIP, DataType.F32, TensorFormat.NCHW, (2, 48_000))
    assert parse_header(golden("audio_2x48000_header")) == header
    assert build_header(header) == golden("audio_2x48000_header")


def test_fpzip_streams_begin_as_servers_begin_them() -> None:
    ramp = np.linspace(-1, 1, 4096, dtype=np.float32).reshape(1, 64, 64, 1)
    half = encode_tensor(ramp.astype(np.float16), codec=Codec.FPZIP)
    full = encode_tensor(ramp, codec=Codec.FPZIP)
    assert half[68:76] == bytes.fromhex("66 70 79 29 87 0e f1 11")
    assert full[68:76] == bytes.fromhex("66 70 79 29 87 0e f1 1e")
