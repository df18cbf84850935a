"""Pixels and tensor values: the tables against the formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from drawthings_mcp.tensors.layout import ALPHA, pixels_to_tensor, tensor_to_pixels

BYTES = np.arange(256, dtype=np.uint8)
HALVES = np.arange(65536, dtype=np.uint16).view(np.float16)
any_floats = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=40))


def expected_pixels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """The formula of the protocol, value by value."""
    with np.errstate(all="ignore"):
        levels = np.rint((values.astype(np.float32) + np.float32(1)) * np.float32(127.5))
    levels = np.where(np.isfinite(values), np.clip(levels, 0, 255), 0)
    return levels.astype(np.uint8)


def test_every_byte_has_the_value_of_the_formula() -> None:
    expected = (BYTES.astype(np.float32) / np.float32(127.5) - np.float32(1)).astype(np.float16)
    np.testing.assert_array_equal(pixels_to_tensor(BYTES), expected)
    assert pixels_to_tensor(BYTES)[[0, 255]].tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_byte_comes_back(dtype: Any) -> None:
    np.testing.assert_array_equal(tensor_to_pixels(pixels_to_tensor(BYTES).astype(dtype)), BYTES)
    np.testing.assert_array_equal(tensor_to_pixels(pixels_to_tensor(BYTES, ALPHA).astype(dtype), ALPHA), BYTES)


def test_every_half_has_the_byte_of_the_formula() -> None:
    np.testing.assert_array_equal(tensor_to_pixels(HALVES), expected_pixels(HALVES))


@given(any_floats)
@settings(max_examples=200)
def test_every_float_has_the_byte_of_the_formula(values: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(tensor_to_pixels(values), expected_pixels(values))


def test_floats_near_the_steps_have_the_byte_of_the_formula() -> None:
    steps = (np.arange(-2, 260, dtype=np.float64) + 0.5) / 127.5 - 1
    values = (steps[:, np.newaxis] + np.linspace(-3e-7, 3e-7, 501)).astype(np.float32)
    np.testing.assert_array_equal(tensor_to_pixels(values), expected_pixels(values))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_not_finite_is_black_and_what_is_beyond_is_clamped(dtype: Any) -> None:
    values = np.array([np.nan, np.inf, -np.inf, 9.0, -9.0, 60000.0], dtype)
    assert tensor_to_pixels(values).tolist() == [0, 0, 0, 255, 0, 255]


def test_a_double_beyond_all_floats_is_clamped() -> None:
    assert tensor_to_pixels(np.array([1e300, -1e300])).tolist() == [255, 0]


def test_strided_arrays_of_many_blocks_keep_their_shape() -> None:
    pixels = np.arange(300 * 400 * 4, dtype=np.uint32).astype(np.uint8).reshape(300, 400, 4)[::-1, :, 1:]
    tensor = pixels_to_tensor(pixels)
    assert tensor.shape == pixels.shape
    np.testing.assert_array_equal(tensor_to_pixels(tensor[:, ::2]), pixels[:, ::2])
    np.testing.assert_array_equal(tensor_to_pixels(tensor.astype(np.float32)[:, ::2]), pixels[:, ::2])
