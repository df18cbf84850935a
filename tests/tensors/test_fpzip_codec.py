"""The header of an fpzip stream, read without the library that wrote it."""

from __future__ import annotations

from typing import Any

import fpzip
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawthings_mcp.errors import TensorError, TensorTooLargeError
from drawthings_mcp.tensors.fpzip_codec import check_stream, find_density, fold_dims, parse_stream
from drawthings_mcp.tensors.header import Codec, DataType, TensorFormat, TensorHeader

sides = st.integers(1, 9)
long_sides = st.integers(1, 70_000)


def compress(shape: tuple[int, ...], dtype: Any, precision: int) -> bytes:
    values = np.linspace(-1, 1, int(np.prod(shape)), dtype=dtype).reshape(shape)
    return bytes(fpzip.compress(values, precision=precision, order="C"))


def header(dims: tuple[int, ...], datatype: DataType = DataType.F16) -> TensorHeader:
    return TensorHeader(Codec.FPZIP, datatype, TensorFormat.NHWC, dims)


@given(st.tuples(sides, sides, sides, sides), st.integers(0, 32), st.booleans())
@settings(max_examples=300)
def test_the_header_says_what_the_library_wrote(shape: Any, precision: int, is_double: bool) -> None:
    if precision == 1:
        precision = 2
    precision *= 2 if is_double else 1
    stream = parse_stream(memoryview(compress(shape, np.float64 if is_double else np.float32, precision)))
    assert (stream.is_double, stream.precision, stream.shape) == (is_double, precision, shape)


@given(long_sides, st.permutations(range(4)))
@settings(max_examples=60)
def test_long_axes_are_read(side: int, order: list[int]) -> None:
    sizes = (side, 2, 1, 1)
    shape = tuple(sizes[place] for place in order)
    assert parse_stream(memoryview(compress(shape, np.float32, 19))).shape == shape


@given(st.binary(max_size=64), st.integers(0, 40))
@settings(max_examples=500)
def test_any_bytes_give_a_header_or_a_tensor_error(noise: bytes, kept: int) -> None:
    try:
        stream = parse_stream(memoryview(compress((1, 4, 4, 3), np.float32, 19)[:kept] + noise))
    except TensorError:
        return
    assert len(stream.shape) == 4


@pytest.mark.parametrize(
    ("dims", "folded"),
    [
        ((5,), (1, 1, 1, 5)),
        ((4, 5), (1, 1, 4, 5)),
        ((3, 4, 5), (1, 3, 4, 5)),
        ((2, 3, 4, 5), (2, 3, 4, 5)),
        ((6, 2, 3, 4, 5), (12, 3, 4, 5)),
    ],
)
def test_dims_are_folded_into_four_axes(dims: tuple[int, ...], folded: tuple[int, ...]) -> None:
    assert fold_dims(dims) == folded


@pytest.mark.parametrize(
    ("dims", "datatype", "text"),
    [
        ((1, 8, 8, 4), DataType.F16, r"shape \[1, 8, 8, 3\], the tensor's header says \[1, 8, 8, 4\]"),
        ((8, 8, 3), DataType.F64, "32-bit floats cannot be a tensor of F64"),
        ((8, 8, 3), DataType.U8, "cannot be a tensor of U8"),
        ((3, 8, 8), DataType.F16, "shape"),
    ],
)
def test_a_stream_that_does_not_fit_its_payload_is_refused(
    dims: tuple[int, ...], datatype: DataType, text: str
) -> None:
    body = memoryview(compress((1, 8, 8, 3), np.float32, 19))
    with pytest.raises(TensorError, match=text):
        check_stream(header(dims, datatype), body)


def test_a_stream_of_doubles_is_no_tensor_of_halves() -> None:
    with pytest.raises(TensorError, match="64-bit floats cannot be a tensor of F16"):
        check_stream(header((1, 8, 8, 3)), memoryview(compress((1, 8, 8, 3), np.float64, 64)))


@pytest.mark.parametrize("size", [0, 3, 4, 10, 20])
def test_a_stream_that_ends_within_its_header_is_refused(size: int) -> None:
    with pytest.raises(TensorError, match="ends within its own header"):
        parse_stream(memoryview(compress((1, 8, 8, 3), np.float32, 19)[:size]))


def test_bytes_that_no_encoder_writes_are_refused() -> None:
    with pytest.raises(TensorError, match="damaged"):
        parse_stream(memoryview(b"\xff" * 40))


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(TensorError, match="not an fpzip stream"):
        parse_stream(memoryview(b"PNG" * 20))


@pytest.mark.parametrize("precision", [2, 3, 8, 9, 16, 19, 32])
def test_no_stream_is_denser_than_the_limit(precision: int) -> None:
    body = bytes(fpzip.compress(np.zeros((1, 512, 512, 4), np.float32), precision=precision, order="C"))
    stream = parse_stream(memoryview(body))
    assert 0.1 < 512 * 512 * 4 / len(body) / find_density(stream) < 1


def test_a_few_bytes_cannot_claim_many_values() -> None:
    body = compress((1, 8, 8, 3), np.float32, 19)
    large = fpzip.compress(np.zeros((1, 4096, 1024, 3), np.float32), precision=19, order="C")[: len(body)]
    with pytest.raises(TensorError, match="cannot hold 12,582,912 values"):
        check_stream(header((1, 4096, 1024, 3)), memoryview(bytes(large)))


def test_dims_that_need_a_large_work_area_are_refused() -> None:
    shape = (1, 1, 1, 1 << 25)
    body = bytes(fpzip.compress(np.zeros(shape, np.float32), precision=8, order="C"))
    with pytest.raises(TensorTooLargeError, match="last two dims"):
        check_stream(header(shape), memoryview(body))
