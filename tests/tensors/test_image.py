"""Image payloads: pixels through the wire's order of axes and channels, and files."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from drawthings_mcp.errors import (
    DrawThingsWarning,
    InvalidImageError,
    InvalidInputError,
    StorageError,
    TensorError,
    TensorTooLargeError,
)
from drawthings_mcp.tensors import decode_image, encode_image, encode_image_to_tensor, save_tensor_image
from drawthings_mcp.tensors.header import Codec, DataType, TensorFormat, TensorHeader, build_header, parse_header
from drawthings_mcp.tensors.layout import pixels_to_tensor, tensor_to_pixels
from drawthings_mcp.tensors.tensor import decode_tensor, encode_tensor

CLEAR, GREY = 0, 0.0


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("channels", [3, 4])
def test_every_level_of_every_channel_comes_back(codec: Codec, channels: int) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = np.stack([levels, levels.T, levels[::-1], levels[:, ::-1]], axis=-1)[..., :channels]
    payload = encode_image(pixels, codec=codec)
    assert parse_header(payload).dims == (1, 16, 16, channels)
    decoded = decode_image(payload)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


def test_a_picture_for_a_request_is_packed_on_request() -> None:
    pixels = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 4, (1, 64, 3))
    raw, packed = encode_image_to_tensor(pixels), encode_image_to_tensor(pixels, compress=True)
    assert (parse_header(raw).codec, parse_header(packed).codec) == (Codec.RAW, Codec.FPZIP)
    assert len(packed) < len(raw)
    np.testing.assert_array_equal(decode_image(packed), pixels)


@pytest.mark.parametrize("codec", [Codec.DEFLATE, Codec.FPZIP])
@pytest.mark.parametrize("channels", [3, 4])
def test_packed_pictures_are_really_packed(pixels: NDArray[np.uint8], codec: Codec, channels: int) -> None:
    smooth = np.repeat(np.repeat(pixels[:8, :8], 32, axis=0), 32, axis=1)
    smooth = np.concatenate([smooth, smooth[..., :1]], axis=2)[..., :channels]
    payload = encode_image(smooth, codec=codec)
    assert parse_header(payload).codec is codec
    np.testing.assert_array_equal(decode_image(payload), smooth)


def test_alpha_comes_first_on_the_wire_and_ranges_from_0_to_1() -> None:
    tensor = decode_tensor(encode_image(np.array([[[255, 0, 255, 51]]], np.uint8)))
    np.testing.assert_allclose(tensor, [[[[0.2, 1, -1, 1]]]], atol=1e-3)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_pixels_are_those_of_the_tensor(pixels: NDArray[np.uint8], codec: Codec, dtype: Any) -> None:
    tensor = pixels_to_tensor(pixels).astype(dtype)[np.newaxis] * dtype(1.1)
    payload = encode_tensor(tensor, codec=codec)
    np.testing.assert_array_equal(decode_image(payload), tensor_to_pixels(decode_tensor(payload))[0])


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_picture_of_many_blocks_comes_back(codec: Codec, channels: int, dtype: Any) -> None:
    y, x = np.mgrid[0:301, 0:277]
    pixels = np.stack([x // 2, y // 2, (x + y) // 4, 255 - y // 2], axis=-1)[..., :channels].astype(np.uint8)
    tensor = decode_tensor(encode_image(pixels)).astype(dtype)
    payload = encode_tensor(tensor, codec=codec)
    assert parse_header(payload).codec is codec
    np.testing.assert_array_equal(decode_image(payload), pixels)


def claim_image(codec: Codec, height: int, width: int) -> bytes:
    """The header of a picture, and as many bytes behind it as make the claim believable to a codec."""
    return build_header(TensorHeader(codec, DataType.F16, TensorFormat.NHWC, (1, height, width, 3))) + bytes(1 << 20)


@pytest.mark.parametrize("codec", Codec)
def test_a_picture_larger_than_expected_is_refused_before_anything_is_allocated(codec: Codec) -> None:
    payload = claim_image(codec, 8192, 4096)
    tracemalloc.start()
    try:
        with pytest.raises(TensorTooLargeError, match=r"4096x8192, that is 33,554,432 pixels; at most 1,048,576 were"):
            decode_image(payload, max_pixels=1024 * 1024)
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", Codec)
def test_a_picture_of_the_expected_size_is_decoded(pixels: NDArray[np.uint8], codec: Codec) -> None:
    payload = encode_image(pixels, codec=codec)
    np.testing.assert_array_equal(decode_image(payload, max_pixels=48 * 64), pixels)
    with pytest.raises(TensorTooLargeError, match="64x48, that is 3,072 pixels; at most 3,071 were"):
        decode_image(payload, max_pixels=48 * 64 - 1)


@pytest.mark.parametrize("max_pixels", [None, 1 << 40])
def test_no_picture_is_larger_than_the_largest_canvas(max_pixels: int | None) -> None:
    with pytest.raises(TensorTooLargeError, match=r"8192x8193, that is .*; at most 67,108,864 were"):
        decode_image(claim_image(Codec.RAW, 8193, 8192), max_pixels=max_pixels)


def test_no_side_is_longer_than_the_longest_one_four_times_enlarged() -> None:
    row = encode_image(np.zeros((1, 32768, 3), np.uint8))
    assert decode_image(row).shape == (1, 32768, 3)
    with pytest.raises(TensorTooLargeError, match="1x32769 pixels; no side may be longer than 32,768"):
        decode_image(claim_image(Codec.RAW, 32769, 1))


@pytest.mark.parametrize(
    ("tensor", "tensor_format", "text"),
    [
        (np.zeros((2, 4, 4, 3), np.float16), None, r"dims \[1, height, width, 3 or 4\], not \[2, 4, 4, 3\]"),
        (np.zeros((1, 4, 4, 1), np.float16), None, "not .1, 4, 4, 1."),
        (np.zeros((1, 4, 4, 16), np.float16), None, "not .1, 4, 4, 16."),
        (np.zeros((4, 4, 3), np.float16), None, "not .4, 4, 3."),
        (np.zeros((1, 1, 4, 4, 3), np.float16), None, "not .1, 1, 4, 4, 3."),
        (np.zeros((1, 4, 4, 3), np.uint8), None, "not U8 in NHWC"),
        (np.zeros((1, 4, 4, 3), np.float64), None, "not F64 in NHWC"),
        (np.zeros((1, 4, 4, 3), np.float16), TensorFormat.NCHW, "not F16 in NCHW"),
    ],
)
def test_a_tensor_that_is_no_image_is_refused(tensor: Any, tensor_format: TensorFormat | None, text: str) -> None:
    with pytest.raises(TensorError, match=text):
        decode_image(encode_tensor(tensor, tensor_format=tensor_format))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_an_array_that_is_no_pixels_is_refused(array: Any) -> None:
    with pytest.raises(InvalidImageError, match="ensure_pixels"):
        encode_image(array)


def test_a_picture_becomes_a_three_channel_raw_tensor(pixels: NDArray[np.uint8]) -> None:
    payload = encode_image_to_tensor(pixels)
    assert payload == encode_image(pixels)
    assert parse_header(payload).codec is Codec.RAW


def test_clear_pixels_are_middle_grey_in_a_request(pixels: NDArray[np.uint8]) -> None:
    alpha = np.full((48, 64, 1), 200, np.uint8)
    alpha[:10] = CLEAR
    tensor = decode_tensor(encode_image_to_tensor(np.concatenate([pixels, alpha], axis=2)))
    assert tensor.shape == (1, 48, 64, 3)
    assert (tensor[0, :10] == GREY).all()
    np.testing.assert_array_equal(tensor[0, 10:], pixels_to_tensor(pixels[10:]))


def test_a_picture_is_stretched_to_the_size_that_is_asked_for(pixels: NDArray[np.uint8]) -> None:
    assert parse_header(encode_image_to_tensor(pixels, size=(128, 64))).dims == (1, 64, 128, 3)
    assert encode_image_to_tensor(pixels, size=(64, 48)) == encode_image(pixels)


@pytest.mark.parametrize("size", [(0, 64), (64, -1), (1 << 20, 1 << 20)])
def test_an_impossible_size_is_refused(pixels: NDArray[np.uint8], size: tuple[int, int]) -> None:
    with pytest.raises(InvalidInputError, match="1x1 to 8192x8192"):
        encode_image_to_tensor(pixels, size=size)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_payload_is_saved_as_png(pixels: NDArray[np.uint8], tmp_path: Path, channels: int) -> None:
    picture = np.concatenate([pixels, pixels[..., :1]], axis=2)[..., :channels]
    path = save_tensor_image(encode_image(picture, codec=Codec.FPZIP), str(tmp_path / "new folder" / "a.PNG"))
    assert path == tmp_path / "new folder" / "a.PNG"
    with Image.open(path) as saved:
        assert saved.format == "PNG"
        np.testing.assert_array_equal(np.asarray(saved), picture)


def test_a_file_that_exists_is_left_alone(pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(StorageError, match="exists already"):
        save_tensor_image(encode_image(pixels), path)
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.txt"])
def test_a_name_that_promises_another_format_is_refused(pixels: NDArray[np.uint8], tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"name it .*\.png"):
        save_tensor_image(encode_image(pixels), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written_is_a_storage_error(pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file" / "a.png", tmp_path / "a\0b.png"):
        with pytest.raises(StorageError):
            save_tensor_image(encode_image(pixels), path)


def test_a_broken_payload_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TensorError):
        save_tensor_image(b"nothing", tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_saved_picture_is_encoded_again_from_its_file(pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    path = save_tensor_image(encode_image(pixels), tmp_path / "a.png")
    buffer = io.BytesIO(path.read_bytes())
    with Image.open(buffer) as picture:
        for source in (path, str(path), path.read_bytes(), picture):
            assert encode_image_to_tensor(source) == encode_image(pixels)


def build_with(value: float, channels: int, dtype: type[np.floating[Any]], codec: Codec) -> bytes:
    """The payload of a grey picture in which one value is another."""
    tensor = np.zeros((1, 64, 64, channels), dtype)
    tensor[0, 5, 7, channels - 1] = value
    return encode_tensor(tensor, codec=codec, tensor_format=TensorFormat.NHWC)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("channels", [3, 4])
def test_values_that_are_no_numbers_are_replaced_and_said(
    codec: Codec, dtype: type[np.floating[Any]], channels: int
) -> None:
    notes: list[str] = []
    for value in (np.nan, -np.nan, np.inf):
        pixels = decode_image(build_with(value, channels, dtype, codec), report=notes.append)
        assert pixels[5, 7, 2] == 0
        assert [note.partition(" and ")[0] for note in notes] == ["Some values of the picture are no numbers (NaN)"]
        notes.clear()
    for number in (0.5, -3.0, 6e4):
        decode_image(build_with(number, channels, dtype, codec), report=notes.append)
    assert notes == []


def test_without_anybody_to_tell_it_is_a_warning() -> None:
    with pytest.warns(DrawThingsWarning, match=r"no numbers \(NaN\)"):
        decode_image(build_with(np.nan, 3, np.float16, Codec.RAW))
