"""Previews: small, upright, without metadata, the same every time."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from drawthings_mcp.attachments import Preview, encode_preview
from drawthings_mcp.attachments.preview import count_characters, encode_rung, list_rungs
from drawthings_mcp.errors import InvalidImageError, InvalidInputError

MakePixels = Callable[..., Any]
LARGE = 10_000_000


def _open(preview: Preview) -> Image.Image:
    image = Image.open(io.BytesIO(preview.data))
    assert image.size == (preview.width, preview.height)
    assert image.get_format_mimetype() == preview.mime_type
    return image


@pytest.mark.parametrize(
    ("size", "shown"),
    [((2048, 1024), (1024, 512)), ((600, 1200), (512, 1024)), ((40, 30), (40, 30)), ((5000, 1), (1024, 1))],
)
def test_the_longer_side_is_limited_and_nothing_is_enlarged(
    make_pixels: MakePixels, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    assert _open(encode_preview(make_pixels(*size, "flat"), max_bytes=LARGE)).size == shown


def test_opaque_pictures_are_jpeg_and_transparent_ones_png(make_pixels: MakePixels) -> None:
    assert encode_preview(make_pixels(20, 20), max_bytes=LARGE).mime_type == "image/jpeg"
    holes = make_pixels(20, 20, "holes")
    transparent = encode_preview(holes, max_bytes=LARGE)
    assert transparent.mime_type == "image/png"
    assert np.array_equal(np.asarray(_open(transparent)), holes)
    holes[..., 3] = 255
    assert encode_preview(holes, max_bytes=LARGE).mime_type == "image/jpeg"


def test_a_preview_looks_like_its_picture(make_pixels: MakePixels) -> None:
    ramp = np.tile(np.linspace(0, 255, 256).astype(np.uint8)[None, :, None], (256, 1, 3))
    shown = np.asarray(_open(encode_preview(ramp, max_bytes=LARGE))).astype(int)
    assert np.abs(shown - ramp).max() <= 6


def test_metadata_and_orientation_of_a_file_are_not_passed_on(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    exif[0x010E] = "private words"
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif, comment=b"private words", xmp=b"private words")
    preview = encode_preview(tmp_path / "a.jpg", max_bytes=LARGE)
    assert (preview.width, preview.height) == (20, 40)
    assert b"private" not in preview.data
    assert not _open(preview).getexif()


@pytest.mark.parametrize("look", ["noise", "holes"])
@pytest.mark.parametrize("max_bytes", [150_000, 40_000, 15_000])
def test_a_preview_goes_down_the_ladder_until_it_fits(make_pixels: MakePixels, look: str, max_bytes: int) -> None:
    pixels = make_pixels(600, 500, look)
    preview = encode_preview(pixels, max_bytes=max_bytes)
    assert len(preview.data) <= max_bytes
    rungs = list(list_rungs(1024, 85))
    sizes = [len(encode_rung(pixels, rung).data) for rung in rungs]
    assert len(preview.data) == next(size for size in sizes if size <= max_bytes)


def test_the_same_picture_gives_the_same_bytes(make_pixels: MakePixels) -> None:
    pixels = make_pixels(300, 200)
    assert encode_preview(pixels, max_bytes=9000) == encode_preview(pixels.copy(), max_bytes=9000)


def test_a_limit_that_nothing_meets_is_refused_with_the_least_size(make_pixels: MakePixels) -> None:
    with pytest.raises(InvalidInputError, match="smallest preview has"):
        encode_preview(make_pixels(500, 500), max_bytes=100)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(InvalidImageError):
        encode_preview(tmp_path / "a.png", max_bytes=LARGE)


@given(st.integers(64, 4096), st.integers(1, 95))
def test_no_rung_is_larger_or_better_than_the_one_before(max_edge: int, quality: int) -> None:
    rungs = list(list_rungs(max_edge, quality))
    assert rungs[0] == (max_edge, quality)
    for upper, lower in pairwise(rungs):
        assert lower != upper
        assert lower.max_edge <= upper.max_edge
        assert lower.quality <= upper.quality
    assert rungs[-1].max_edge == 64


@given(st.binary(max_size=50))
def test_characters_are_those_of_base64(data: bytes) -> None:
    assert count_characters(len(data)) == len(base64.b64encode(data))
