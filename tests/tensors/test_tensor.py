"""Arrays through payloads and back, by every codec."""

from __future__ import annotations

import zlib
from typing import Any

import fpzip
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidInputError, TensorError, TensorTooLargeError
from drawthings_mcp.tensors.header import (
    HEADER_SIZE,
    Codec,
    DataType,
    TensorFormat,
    TensorHeader,
    build_header,
    parse_header,
)
from drawthings_mcp.tensors.tensor import decode_tensor, encode_tensor

FLOATS = (np.float16, np.float32, np.float64)
shapes = hnp.array_shapes(min_dims=1, max_dims=6, max_side=6)


@given(hnp.arrays(st.sampled_from([*FLOATS, np.uint8, np.int32, np.int64]), shapes), st.sampled_from(Codec))
@settings(max_examples=300)
def test_an_array_comes_back_from_every_codec(array: NDArray[Any], codec: Codec) -> None:
    if codec is Codec.FPZIP and array.dtype.kind != "f":
        codec = Codec.DEFLATE
    if codec is Codec.FPZIP:
        array = np.nan_to_num(array)
    decoded = decode_tensor(encode_tensor(array, codec=codec))
    assert decoded.dtype == array.dtype
    np.testing.assert_array_equal(decoded, array)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(4096,), (64, 64), (16, 16, 16), (2, 16, 16, 8), (2, 2, 16, 16, 4)])
def test_fpzip_keeps_every_shape_and_float_type(dtype: Any, shape: tuple[int, ...]) -> None:
    array = np.linspace(-1, 1, 4096).astype(dtype).reshape(shape)
    payload = encode_tensor(array, codec=Codec.FPZIP)
    assert parse_header(payload).codec is Codec.FPZIP
    decoded = decode_tensor(payload)
    assert decoded.dtype == dtype
    np.testing.assert_array_equal(decoded, array)


def test_fpzip_keeps_every_finite_half() -> None:
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    finite = np.stack([halves[np.isfinite(halves)]] * 2)
    payload = encode_tensor(finite, codec=Codec.FPZIP)
    assert parse_header(payload).codec is Codec.FPZIP
    np.testing.assert_array_equal(decode_tensor(payload).view(np.uint16), finite.view(np.uint16))


def test_a_finer_stream_is_rounded_to_the_half_floats_that_the_header_says() -> None:
    values = np.linspace(-1, 1, 4096, dtype=np.float32).reshape(1, 64, 64, 1)
    full = encode_tensor(values, codec=Codec.FPZIP)
    header = TensorHeader(Codec.FPZIP, DataType.F16, TensorFormat.NHWC, values.shape)
    decoded = decode_tensor(build_header(header) + full[HEADER_SIZE:])
    np.testing.assert_array_equal(decoded, values.astype(np.float16))


@pytest.mark.parametrize("precision", [19, 32])
def test_a_long_stream_is_narrowed_to_the_half_floats_that_the_header_says(precision: int) -> None:
    values = np.sin(np.arange(300_000, dtype=np.float32)).reshape(1, 300, 1000, 1)
    if precision == 19:
        values = values.astype(np.float16).astype(np.float32)
    body = fpzip.compress(values, precision=precision, order="C")
    header = TensorHeader(Codec.FPZIP, DataType.F16, TensorFormat.NHWC, values.shape)
    np.testing.assert_array_equal(decode_tensor(build_header(header) + body), values.astype(np.float16))


def test_a_long_deflate_stream_is_unpacked_in_order() -> None:
    values = np.random.default_rng(3).integers(0, 16, 2_000_000).astype(np.uint8)
    payload = encode_tensor(values, codec=Codec.DEFLATE)
    assert 500_000 < len(payload) < values.nbytes
    np.testing.assert_array_equal(decode_tensor(payload), values)


@pytest.mark.parametrize("codec", [Codec.DEFLATE, Codec.FPZIP])
def test_what_cannot_be_packed_is_sent_raw(codec: Codec) -> None:
    noise = np.frombuffer(np.random.default_rng(1).bytes(8192), np.float16)
    payload = encode_tensor(noise, codec=codec)
    assert parse_header(payload).codec is Codec.RAW
    assert len(payload) == HEADER_SIZE + noise.nbytes


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((4,), TensorFormat.NCHW), ((4, 4), TensorFormat.NCHW), ((2, 2, 3), TensorFormat.NHWC)],
)
def test_the_format_follows_the_rank_unless_it_is_given(shape: tuple[int, ...], expected: TensorFormat) -> None:
    array = np.zeros(shape, np.float32)
    assert parse_header(encode_tensor(array)).format is expected
    assert parse_header(encode_tensor(array, tensor_format=TensorFormat.CHWN)).format is TensorFormat.CHWN


def test_strided_and_big_endian_arrays_are_sent_in_order() -> None:
    array = np.arange(24, dtype=">f4").reshape(2, 3, 4)[:, ::-1, ::2]
    np.testing.assert_array_equal(decode_tensor(encode_tensor(array)), array)


def test_a_raw_payload_is_not_copied() -> None:
    payload = encode_tensor(np.arange(8, dtype=np.float32))
    assert np.shares_memory(decode_tensor(payload), np.frombuffer(payload, np.uint8))


def test_bytes_after_a_raw_body_are_allowed() -> None:
    array = np.arange(8, dtype=np.float32)
    np.testing.assert_array_equal(decode_tensor(encode_tensor(array) + b"more"), array)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda data: memoryview(b"x" + data)[1:]])
def test_any_contiguous_bytes_are_decoded(wrap: Any) -> None:
    array = np.arange(4096, dtype=np.float64).reshape(64, 64)
    for codec in Codec:
        np.testing.assert_array_equal(decode_tensor(wrap(encode_tensor(array, codec=codec))), array)


@pytest.mark.parametrize(
    ("array", "codec", "text"),
    [
        (np.zeros((2, 2), np.uint16), Codec.RAW, "Arrays of uint16 cannot be sent; convert to uint8, int32"),
        (np.zeros((2, 2), bool), Codec.RAW, "Arrays of bool"),
        (np.zeros((2, 2), complex), Codec.RAW, "Arrays of complex128"),
        (np.zeros((2, 2), np.uint8), Codec.FPZIP, "use Codec.DEFLATE or Codec.RAW"),
        (np.zeros((2, 0), np.uint8), Codec.RAW, "none empty"),
        (np.float32(1), Codec.RAW, r"shape \(\)"),
        (np.zeros((1,) * 13, np.uint8), Codec.RAW, "1 to 12 axes"),
    ],
)
def test_an_array_that_the_wire_has_no_form_for_is_refused(array: Any, codec: Codec, text: str) -> None:
    with pytest.raises(InvalidInputError, match=text):
        encode_tensor(array, codec=codec)


def test_an_array_beyond_the_limit_is_not_sent() -> None:
    with pytest.raises(TensorTooLargeError):
        encode_tensor(np.broadcast_to(np.uint8(0), (8193, 8192, 4)))


def test_a_raw_body_that_is_too_short_is_refused() -> None:
    payload = encode_tensor(np.arange(8, dtype=np.float32))
    with pytest.raises(TensorError, match="needs 32 bytes, the payload has 31"):
        decode_tensor(payload[:-1])


def deflate_payload(values: bytes, count: int, suffix: bytes = b"") -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    body = deflater.compress(values) + deflater.flush() + suffix
    return build_header(TensorHeader(Codec.DEFLATE, DataType.U8, TensorFormat.NCHW, (count,))) + body


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (deflate_payload(b"x" * 100, 101), "exactly the 101 bytes"),
        (deflate_payload(b"x" * 100, 99), "exactly the 99 bytes|holds more"),
        (deflate_payload(b"x" * 100, 100, b"!"), "holds more"),
        (deflate_payload(b"x" * 100, 100)[:-2], "exactly the 100 bytes"),
        (deflate_payload(b"x" * 100, 100, b"")[:HEADER_SIZE], "cannot hold"),
        (deflate_payload(b"", 1)[:HEADER_SIZE] + b"\xff\xff\xff\xff", "damaged"),
        (deflate_payload(b"x", 1)[:HEADER_SIZE] + zlib.compress(b"x"), "damaged|exactly"),
        (deflate_payload(b"x" * 10, 60_000_000), "cannot hold"),
    ],
)
def test_a_deflate_stream_of_another_size_is_refused(payload: bytes, text: str) -> None:
    with pytest.raises(TensorError, match=text):
        decode_tensor(payload)
