"""The 68-byte header: what is written, what is read, what is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawthings_mcp.errors import TensorError, TensorTooLargeError
from drawthings_mcp.tensors.header import (
    HEADER_SIZE,
    MAX_RANK,
    Codec,
    DataType,
    TensorFormat,
    TensorHeader,
    build_header,
    parse_header,
)

IMAGE = TensorHeader(Codec.FPZIP, DataType.F16, TensorFormat.NHWC, (1, 1024, 768, 3))

headers = st.builds(
    TensorHeader,
    codec=st.sampled_from(Codec),
    datatype=st.sampled_from(DataType),
    format=st.sampled_from(TensorFormat),
    dims=st.lists(st.integers(1, 4), min_size=1, max_size=MAX_RANK).map(tuple),
)


def patch(offset: int, value: int) -> bytes:
    data = bytearray(build_header(IMAGE))
    struct.pack_into("<I", data, offset, value & 0xFFFFFFFF)
    return bytes(data)


@given(headers)
def test_a_header_comes_back_as_it_was_written(header: TensorHeader) -> None:
    data = build_header(header)
    assert len(data) == HEADER_SIZE
    assert parse_header(data) == header


@given(st.binary(max_size=100))
@settings(max_examples=300)
def test_any_bytes_give_a_header_or_a_tensor_error(data: bytes) -> None:
    try:
        parse_header(data)
    except TensorError:
        return
    assert len(data) >= HEADER_SIZE


def test_the_memory_kind_is_always_cpu() -> None:
    assert struct.unpack_from("<i", build_header(IMAGE), 4) == (1,)


def test_the_size_is_that_of_the_unpacked_values() -> None:
    assert IMAGE.count == 1024 * 768 * 3
    assert IMAGE.size == 1024 * 768 * 3 * 2


def test_what_follows_the_first_zero_is_no_dim() -> None:
    assert parse_header(patch(20 + 4 * 5, 77)) == IMAGE


def test_unused_bits_of_the_memory_kind_and_the_reserved_word_do_not_matter() -> None:
    assert parse_header(patch(4, 0xF0F0F0F1)) == IMAGE
    assert parse_header(patch(16, 123)) == IMAGE


@pytest.mark.parametrize(
    ("offset", "value", "text"),
    [
        (0, 0x511, "Unknown tensor codec 0x511; known are RAW 0x0, DEFLATE 0x217, FPZIP 0xf7217"),
        (0, 0x8A1E4B, "codec"),
        (4, 2, "CPU"),
        (4, 3, "CPU"),
        (4, 0, "CPU"),
        (8, 0, "Unknown tensor format"),
        (8, 3, "Unknown tensor format"),
        (12, 0, "Unknown tensor datatype"),
        (12, 0x00040000, "QX"),
        (12, 0x00080000, "16BF"),
        (12, 0x00024000, "Unknown tensor datatype"),
        (20, 0, "1 to 12 dims"),
        (24, -1, "at least 1"),
        (24, -(1 << 31), "at least 1"),
    ],
)
def test_an_unknown_field_is_refused_by_name(offset: int, value: int, text: str) -> None:
    with pytest.raises(TensorError, match=text):
        parse_header(patch(offset, value))


@pytest.mark.parametrize("size", [0, 1, 4, 67])
def test_less_than_a_header_is_refused(size: int) -> None:
    with pytest.raises(TensorError, match=f"ends after {size}"):
        parse_header(build_header(IMAGE)[:size])


def test_twelve_dims_are_read() -> None:
    header = TensorHeader(Codec.RAW, DataType.U8, TensorFormat.NCHW, (1,) * 11 + (5,))
    assert parse_header(build_header(header)) == header


LARGEST = [
    (DataType.F16, (1, 8192, 8192, 4)),
    (DataType.F32, (1, 8192, 8192, 4)),
    (DataType.U8, (8192, 8192)),
    (DataType.S32, (4096, 4096)),
    (DataType.S64, (4096, 2048)),
    (DataType.F64, (4096, 2048)),
]


@pytest.mark.parametrize(("datatype", "dims"), LARGEST, ids=lambda value: getattr(value, "name", ""))
def test_the_largest_tensor_of_every_datatype_is_allowed_and_one_row_more_is_not(
    datatype: DataType, dims: tuple[int, ...]
) -> None:
    header = TensorHeader(Codec.RAW, datatype, TensorFormat.NHWC, dims)
    assert header.size == datatype.max_size
    longer = (*dims[:-2], dims[-2] + 1, dims[-1])
    text = rf"of {datatype.name} takes .* bytes; at most {datatype.max_size:,} are decoded"
    with pytest.raises(TensorTooLargeError, match=text):
        TensorHeader(Codec.RAW, datatype, TensorFormat.NHWC, longer)


def test_only_what_pictures_are_made_of_may_take_more_than_64_mib() -> None:
    large = {datatype for datatype in DataType if datatype.max_size > 64 << 20}
    assert large == {DataType.F16, DataType.F32}


def test_a_product_that_would_overflow_is_too_large() -> None:
    data = build_header(IMAGE)[:20] + struct.pack("<12i", *[0x7FFFFFFF] * 12)
    with pytest.raises(TensorTooLargeError):
        parse_header(data)
