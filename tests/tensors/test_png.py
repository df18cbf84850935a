"""The PNG encoding of originals."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from drawthings_mcp.tensors import png
from drawthings_mcp.tensors.png import encode_png


@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 4])), elements=st.integers(0, 255)
    )
)
def test_pixels_survive_encoding_unchanged(pixels: np.ndarray) -> None:
    with Image.open(io.BytesIO(encode_png(pixels, ""))) as image:
        assert image.mode == {3: "RGB", 4: "RGBA"}[pixels.shape[2]]
        assert np.array_equal(np.asarray(image), pixels)


def test_a_view_into_a_larger_picture_is_encoded_as_seen() -> None:
    whole = np.arange(20 * 20 * 3, dtype=np.uint8).reshape(20, 20, 3)
    view = whole[3:11, 5:18]
    with Image.open(io.BytesIO(encode_png(view, ""))) as image:
        assert np.array_equal(np.asarray(image), view)


def test_the_file_is_well_formed_and_its_metadata_stand_before_the_pixels() -> None:
    data = encode_png(np.zeros((2, 2, 3), np.uint8), "packet")
    with Image.open(io.BytesIO(data)) as image:
        image.verify()  # checks every checksum
        assert image.info["srgb"] == 0
    assert data.count(b"iTXt") == 1
    assert data.index(b"iTXtXML:com.adobe.xmp\0\0\0\0\0packet") < data.index(b"IDAT")


def test_a_picture_with_grain_is_hardly_larger_than_by_default() -> None:
    edge = 256
    random = np.random.default_rng(7)
    ramp = np.linspace(40, 200, edge)[:, None, None] + np.linspace(-30, 30, edge)[None, :, None]
    pixels = np.clip(ramp + random.normal(0, 4, (edge, edge, 3)), 0, 255).astype(np.uint8)
    default = io.BytesIO()
    Image.fromarray(pixels).save(default, "PNG")
    assert len(encode_png(pixels, "")) <= 1.35 * default.tell()


def test_pictures_of_more_rows_than_are_filtered_at_once_survive() -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (700, 9, 4), np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels, ""))) as image:
        assert np.array_equal(np.asarray(image), pixels)


def test_machines_without_isal_write_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (70, 9, 3), np.uint8)
    fast = encode_png(pixels)
    monkeypatch.setattr(png, "_isal", None)
    plain = encode_png(pixels)
    assert plain != fast
    for data in (plain, fast):
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(np.asarray(image), pixels)


def test_the_same_pixels_always_give_the_same_bytes() -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (130, 9, 3), np.uint8)
    assert len({encode_png(pixels.copy(), "packet") for _ in range(3)}) == 1
