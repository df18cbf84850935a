"""Which size is rendered and which is kept."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.params import ImageFormat
from drawthings_mcp.planning.sizes import Size, resolve_size

SIDES = st.integers(128, 8192)


@given(SIDES, SIDES)
def test_a_canvas_is_the_next_multiple_of_64_and_the_crop_its_centre(width: int, height: int) -> None:
    size = Size(width, height)
    left, top, right, bottom = size.crop_box
    for asked, rendered, low, high in zip((width, height), size.rendered, (left, top), (right, bottom), strict=True):
        assert rendered % 64 == 0
        assert 0 <= rendered - asked < 64
        assert high - low == asked
        assert 0 <= low <= rendered - high <= low + 1


@pytest.mark.parametrize("image_format", get_args(ImageFormat))
@pytest.mark.parametrize("side", [512, 768, 1024, 1536])
def test_a_format_keeps_the_native_area_and_its_shape(image_format: ImageFormat, side: int) -> None:
    size = resolve_size((side, side), side, image_format)
    assert (size.width, size.height) == size.rendered
    assert 0.85 < size.width * size.height / side**2 < 1.15
    turned = {"landscape": "portrait", "portrait": "landscape", "square": "square"}
    other = turned.get(image_format, ":".join(reversed(image_format.split(":"))))
    mirrored = resolve_size((side, side), side, other)  # type: ignore[arg-type]
    assert (mirrored.height, mirrored.width) == (size.width, size.height)


def test_one_side_alone_keeps_the_shape() -> None:
    assert resolve_size((832, 448), 768, None, 416, None) == Size(416, 224)
    assert resolve_size((832, 448), 768, None, None, 896) == Size(1664, 896)
    assert resolve_size((1024, 1024), 1024, "16:9", 672) == Size(672, 384)


def test_a_side_that_follows_from_the_other_must_be_in_range_too() -> None:
    with pytest.raises(InvalidInputError, match="height: would be"):
        resolve_size((1024, 1024), 1024, "9:16", 8000)
