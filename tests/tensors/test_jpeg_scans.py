"""JPEG files that would be decoded over and over are refused; others are read whatever bytes are in them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.tensors.picture_files import MAX_SCANS, check_picture
from drawthings_mcp.tensors.pixels import ensure_pixels

SCAN, END = b"\xff\xda", b"\xff\xd9"


def make_progressive(scans: int = 0) -> bytes:
    """A progressive file; with a number, so many scans: the last is repeated."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", progressive=True, quality=80)
    data = stream.getvalue()
    have, last = data.count(SCAN), data.rindex(SCAN)
    return data[:-2] + data[last:-2] * (scans - have) + END if scans else data


def add_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """With a segment right after the beginning."""
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.parametrize("scans", [MAX_SCANS + 1, 5000])
def test_too_many_scans_are_refused_before_anything_is_decoded(scans: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_progressive(scans)

    def load(_: object) -> None:
        raise AssertionError("the picture was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(InvalidImageError, match="JPEG of more than 100 scans"):
        ensure_pixels(data)
    with pytest.raises(InvalidImageError, match="JPEG of more than 100 scans"):
        check_picture(io.BytesIO(data), "The picture")


def test_as_many_scans_as_are_allowed_are_read() -> None:
    assert ensure_pixels(make_progressive(MAX_SCANS)).shape == (48, 64, 3)


@pytest.mark.parametrize(
    "data",
    [
        add_segment(make_progressive(), 0xE1, SCAN * 400),
        make_progressive() + SCAN * 400,
        add_segment(make_progressive(), 0xE2, (SCAN + b"\x00") * 20_000) + SCAN * 2_000_000,
    ],
    ids=["in metadata", "after the end", "in both, and large"],
)
def test_bytes_that_only_look_like_scans_do_not_count(data: bytes) -> None:
    assert np.array_equal(ensure_pixels(data), ensure_pixels(make_progressive()))


def test_a_file_of_nothing_but_segments_is_refused_at_once() -> None:
    data = make_progressive(MAX_SCANS + 1)
    with pytest.raises(InvalidImageError, match="scans"):
        ensure_pixels(data[:2] + b"\xff\xfe\x00\x02" * 1_000_000 + data[2:])
