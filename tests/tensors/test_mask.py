"""Masks: from black and white, from alpha, to the wire and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidImageError, InvalidInputError, TensorError
from drawthings_mcp.tensors.header import Codec, DataType, TensorFormat, parse_header
from drawthings_mcp.tensors.mask import alpha_classes, decode_mask, encode_mask, mask_classes
from drawthings_mcp.tensors.tensor import encode_tensor

GREYS = np.array([[0, 127, 128, 255]], np.uint8)
CLASSES = [[0, 0, 2, 2]]


def with_alpha(grey: NDArray[np.uint8], alpha: Any) -> NDArray[np.uint8]:
    return np.stack([grey, grey, grey, np.broadcast_to(np.uint8(alpha), grey.shape)], axis=-1)


@pytest.mark.parametrize(
    "mask",
    [
        GREYS,
        GREYS[..., np.newaxis],
        np.stack([GREYS] * 3, axis=-1),
        with_alpha(GREYS, 255),
        with_alpha(GREYS, 1),
        GREYS >= 128,
        (GREYS >= 128)[..., np.newaxis],
    ],
    ids=["HW", "HW1", "HW3", "HW4", "HW4 nearly clear", "bool HW", "bool HW1"],
)
def test_white_is_repainted_and_black_is_kept(mask: Any) -> None:
    classes = mask_classes(mask)
    assert classes.dtype == np.uint8
    assert classes.tolist() == CLASSES


def test_clear_pixels_are_kept_whatever_their_colour() -> None:
    assert mask_classes(with_alpha(np.full((1, 3), 255, np.uint8), [0, 1, 255])).tolist() == [[0, 2, 2]]


def test_colours_count_by_their_luminance() -> None:
    red, green, blue, yellow = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]
    assert mask_classes(np.array([[red, green, blue, yellow]], np.uint8)).tolist() == [[0, 2, 0, 2]]


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((4, 4), np.uint8),
        np.full((4, 4, 3), 127, np.uint8),
        np.zeros((4, 4), bool),
        with_alpha(np.full((4, 4), 255, np.uint8), 0),
    ],
)
def test_a_mask_without_white_is_refused(mask: Any) -> None:
    with pytest.raises(InvalidImageError, match="leave the mask away to change the whole picture"):
        mask_classes(mask)


@pytest.mark.parametrize(
    "mask",
    [
        np.ones((4, 4), np.float32),
        np.ones((4, 4, 2), np.uint8),
        np.ones((4,), np.uint8),
        np.ones((1, 4, 4, 3), np.uint8),
        np.ones((0, 4), np.uint8),
    ],
)
def test_an_array_that_is_no_mask_is_refused(mask: Any) -> None:
    with pytest.raises(InvalidInputError, match="A mask is"):
        mask_classes(mask)


def test_alpha_becomes_keep_or_generate_with_what_is_visible() -> None:
    alpha = np.array([[0, 7, 8, 128, 254, 255]], np.uint8)
    classes = alpha_classes(alpha)
    assert classes.dtype == np.uint8
    assert classes.tolist() == [[1, 1, 9, 129, 249, 3]]


@pytest.mark.parametrize("codec", [Codec.RAW, Codec.DEFLATE])
def test_classes_come_back(codec: Codec) -> None:
    classes = np.tile(np.array([0, 1, 2, 3], np.uint8), (64, 16))
    payload = encode_mask(classes, codec=codec)
    header = parse_header(payload)
    assert (header.codec, header.datatype, header.format, header.dims) == (
        codec,
        DataType.U8,
        TensorFormat.NCHW,
        (64, 64),
    )
    np.testing.assert_array_equal(decode_mask(payload), classes)


def test_fpzip_and_other_arrays_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="fpzip"):
        encode_mask(np.zeros((4, 4), np.uint8), codec=Codec.FPZIP)
    with pytest.raises(InvalidInputError, match="Mask classes are"):
        encode_mask(np.zeros((4, 4, 1), np.uint8))
    with pytest.raises(InvalidInputError, match="of int64"):
        encode_mask(np.zeros((4, 4), np.int64))


@pytest.mark.parametrize("tensor", [np.zeros((4, 4), np.float16), np.zeros((1, 4, 4), np.uint8)])
def test_a_tensor_that_is_no_mask_is_refused(tensor: Any) -> None:
    with pytest.raises(TensorError, match="A mask has two dims of U8"):
        decode_mask(encode_tensor(tensor))
