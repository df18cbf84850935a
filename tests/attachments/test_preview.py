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
from PIL import Image, ImageCms, PngImagePlugin

from drawthings_mcp.attachments.preview import (
    Preview,
    SizeStep,
    encode_preview,
    encode_step,
    list_size_steps,
    open_small,
)
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
    shown = np.asarray(_open(transparent))
    assert np.array_equal(shown[..., 3], holes[..., 3])
    assert np.array_equal(shown[shown[..., 3] > 0], holes[holes[..., 3] > 0])
    holes[..., 3] = 255
    assert encode_preview(holes, max_bytes=LARGE).mime_type == "image/jpeg"


def test_what_is_transparent_loses_colours_before_size_and_never_its_alpha(make_pixels: MakePixels) -> None:
    holes = make_pixels(300, 300, "holes")
    best = encode_preview(holes, max_bytes=LARGE)
    smaller = encode_preview(holes, max_bytes=len(best.data) - 1, max_edge=1024)
    image = _open(encode_step(open_small(holes, 1024), SizeStep(1024, 75)))
    assert (smaller.width, smaller.data) == (300, encode_step(open_small(holes, 1024), SizeStep(1024, 75)).data)
    shown, visible = np.asarray(image).astype(int), holes[..., 3] > 0
    assert np.array_equal(shown[..., 3], holes[..., 3])
    assert np.abs(shown[visible] - holes[visible]).max() == 2


def test_a_preview_looks_like_its_picture(make_pixels: MakePixels) -> None:
    ramp = np.tile(np.linspace(0, 255, 256).astype(np.uint8)[None, :, None], (256, 1, 3))
    shown = np.asarray(_open(encode_preview(ramp, max_bytes=LARGE))).astype(int)
    assert np.abs(shown - ramp).max() <= 6


def test_a_cut_out_takes_a_palette_where_that_is_smaller_and_keeps_its_outline(make_pixels: MakePixels) -> None:
    ramp = np.zeros((300, 300, 4), np.uint8)
    ramp[..., 0] = np.arange(300)[:, None] * 0.8 + make_pixels(300, 300)[..., 0] // 16
    ramp[..., 1] = np.arange(300) * 0.8
    ramp[50:250, 50:250, 3] = 255
    preview = encode_preview(ramp, max_bytes=LARGE)
    image = _open(preview)
    assert image.mode == "P"
    shown = np.asarray(image.convert("RGBA"))
    assert np.array_equal(shown[..., 3], ramp[..., 3])
    visible = ramp[..., 3] > 0
    assert np.abs(shown[visible].astype(int) - ramp[visible]).mean() < 5


def test_a_cut_out_with_hard_edges_keeps_them_when_it_gets_smaller(make_pixels: MakePixels) -> None:
    pixels = np.dstack([make_pixels(400, 400) // 4, np.zeros((400, 400), np.uint8)])
    pixels[100:300, 100:300, 3] = 255
    preview = encode_preview(pixels, max_bytes=LARGE, max_edge=100)
    shown = np.asarray(_open(preview).convert("RGBA"))
    expected = np.zeros((100, 100), np.uint8)
    expected[25:75, 25:75] = 255
    assert np.array_equal(shown[..., 3], expected)


def _list_segments(data: bytes) -> list[str]:
    """What a JPEG file is made of, up to its pixels, or a PNG file: markers and chunk names."""
    if data.startswith(b"\x89PNG"):
        names, at = [], 8
        while at < len(data):
            names.append(data[at + 4 : at + 8].decode())
            at += 12 + int.from_bytes(data[at : at + 4], "big")
        return names
    names, at = [], 2
    while data[at + 1] != 0xDA:
        names.append(f"{data[at + 1]:02X}")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return names


_PIXELS_ONLY = {"IHDR", "sRGB", "PLTE", "tRNS", "IDAT", "IEND", "E0", "DB", "C0", "C4"}
"""Chunks of PNG, its colour space among them; JFIF header (which says no more than the aspect of a pixel), tables and
frame of JPEG."""


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "transparent.png", "cut-out.png"])
def test_nothing_but_pixels_is_in_a_preview(kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    exif[0x010E] = "private words"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 0.0)  # where it was taken
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "private words")
    text.add_text("parameters", "private words")
    options: dict[str, Any] = {"exif": exif, "icc_profile": profile}
    if kind.endswith("png"):
        options |= {"pnginfo": text}
    else:
        options |= {"xmp": b"private words"} | ({"comment": b"private words"} if kind == "jpg" else {})
    alpha = {"transparent.png": 100, "cut-out.png": 0}.get(kind, 255)
    image = Image.new("RGBA", (40, 20), (9, 99, 200, 255))
    image.paste((0, 0, 0, alpha), (0, 0, 10, 10))
    (image if kind.endswith("png") else image.convert("RGB")).save(tmp_path / f"a.{kind}", **options)
    assert b"private" in (tmp_path / f"a.{kind}").read_bytes()
    preview = encode_preview(tmp_path / f"a.{kind}", max_bytes=LARGE)
    assert (preview.width, preview.height) == (20, 40)
    assert set(_list_segments(preview.data)) <= _PIXELS_ONLY
    assert b"private" not in preview.data
    assert _open(preview).info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "transparency", "srgb"}


@pytest.mark.parametrize("look", ["noise", "holes"])
@pytest.mark.parametrize("max_bytes", [150_000, 40_000, 15_000])
def test_a_preview_gets_smaller_until_it_fits(make_pixels: MakePixels, look: str, max_bytes: int) -> None:
    pixels = make_pixels(600, 500, look)
    preview = encode_preview(pixels, max_bytes=max_bytes)
    assert len(preview.data) <= max_bytes
    steps = list(list_size_steps(1024, 85))
    sizes = [len(encode_step(open_small(pixels, 1024), step).data) for step in steps]
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
def test_no_size_step_is_larger_or_better_than_the_one_before(max_edge: int, quality: int) -> None:
    steps = list(list_size_steps(max_edge, quality))
    assert steps[0] == (max_edge, quality)
    for upper, lower in pairwise(steps):
        assert lower != upper
        assert lower.max_edge <= upper.max_edge
        assert lower.quality <= upper.quality
    assert steps[-1].max_edge == 64


@given(st.binary(max_size=50))
def test_characters_are_those_of_base64(data: bytes) -> None:
    assert Preview(data, "", 0, 0).characters == len(base64.b64encode(data))
