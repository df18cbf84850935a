"""Any picture that people have becomes pixels; anything else becomes one clear error."""

from __future__ import annotations

import importlib.util
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.tensors.pixels import ensure_pixels

RED, GREEN = [255, 0, 0], [0, 255, 0]
ORIENTATIONS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored),
}


def save(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def build_png_start(width: int, height: int) -> bytes:
    """The beginning of a PNG file that claims a size."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(100)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.fixture
def picture(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels)


def test_a_picture_is_taken_from_every_source(picture: Image.Image, pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    data = save(picture, "PNG")
    path = tmp_path / "ä picture.png"
    path.write_bytes(data)
    for source in (path, str(path), data, bytearray(data), memoryview(data), picture, pixels):
        result = ensure_pixels(source)
        assert result.dtype == np.uint8
        assert result.flags.c_contiguous
        np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "BMP", "PPM", "TGA", "QOI", "JPEG2000"])
def test_every_lossless_format_is_read(picture: Image.Image, pixels: NDArray[np.uint8], file_format: str) -> None:
    options = {"WEBP": {"lossless": True}}.get(file_format, {})
    np.testing.assert_array_equal(ensure_pixels(save(picture, file_format, **options)), pixels)


@pytest.mark.parametrize("file_format", ["JPEG", "AVIF", "GIF", "ICO", "MPO"])
def test_every_other_format_is_read(picture: Image.Image, file_format: str) -> None:
    flat = Image.new("RGB", picture.size, (200, 100, 50))
    options = {"ICO": {"sizes": [picture.size]}}.get(file_format, {})
    result = ensure_pixels(save(flat, file_format, **options))
    assert result.shape == (48, 64, 3)
    np.testing.assert_allclose(result, np.broadcast_to([200, 100, 50], result.shape), atol=4)


def test_a_wrong_ending_does_not_matter(picture: Image.Image, pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(save(picture, "PNG"))
    np.testing.assert_array_equal(ensure_pixels(path), pixels)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_photo_is_turned_upright(pixels: NDArray[np.uint8], picture: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    result = ensure_pixels(save(picture, "PNG", exif=exif))
    np.testing.assert_array_equal(result, ORIENTATIONS[orientation](pixels))


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0nonsense", b"Exif\0\0MM\0\x2a\xff\xff\xff\xff", b"Exif\0\0II\x2a\0\x08\0\0\0\xff\xff"]
)
@pytest.mark.filterwarnings("ignore:.*EXIF data")
def test_broken_exif_data_does_not_hide_the_picture(exif: bytes) -> None:
    data = save(Image.new("RGB", (8, 8), (10, 20, 30)), "JPEG", exif=exif)
    assert ensure_pixels(data).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, [255, 255, 255]),
        ("L", 77, [77, 77, 77]),
        ("LA", (77, 128), [77, 77, 77, 128]),
        ("LA", (77, 255), [77, 77, 77]),
        ("La", (77, 255), [77, 77, 77]),
        ("P", 0, [0, 0, 0]),
        ("PA", 0, [0, 0, 0, 0]),
        ("RGB", (1, 2, 3), [1, 2, 3]),
        ("RGBX", (1, 2, 3, 0), [1, 2, 3]),
        ("RGBA", (1, 2, 3, 4), [1, 2, 3, 4]),
        ("RGBA", (1, 2, 3, 255), [1, 2, 3]),
        ("RGBa", (10, 20, 30, 255), [10, 20, 30]),
        ("CMYK", (0, 255, 255, 0), RED),
        ("YCbCr", (76, 85, 255), [254, 0, 0]),
        ("HSV", (0, 255, 255), RED),
        ("I;16", 0xFFFF, [255, 255, 255]),
        ("I;16", 0x8080, [128, 128, 128]),
        ("I;16B", 0x80, [0, 0, 0]),
        ("I;16B", 0x81, [1, 1, 1]),
        ("I", 0xFFFF, [255, 255, 255]),
    ],
)
def test_every_mode_becomes_red_green_blue_and_alpha_where_it_matters(
    mode: str, colour: Any, expected: list[int]
) -> None:
    result = ensure_pixels(Image.new(mode, (3, 2), colour))
    assert result.shape == (2, 3, len(expected))
    assert result[0, 0].tolist() == expected


def test_lab_colours_are_converted() -> None:
    result = ensure_pixels(Image.new("LAB", (3, 2), (255, 128, 128)))
    np.testing.assert_allclose(result, np.full((2, 3, 3), 255), atol=1)


@pytest.mark.parametrize(("mode", "colour"), [("F", 0.5), ("I", 0x10000), ("I", -1)])
def test_levels_of_unknown_range_are_refused(mode: str, colour: Any) -> None:
    with pytest.raises(InvalidImageError, match="convert it to 8 or 16 bits"):
        ensure_pixels(Image.new(mode, (3, 2), colour))


def test_a_16_bit_png_keeps_its_brightness() -> None:
    levels = np.array([[0, 128, 129, 32896, 65535]], np.uint16)
    result = ensure_pixels(save(Image.fromarray(levels), "PNG"))
    assert result[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_a_palette_with_a_clear_colour_has_alpha() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putdata([0, 1])
    result = ensure_pixels(save(palette, "PNG", transparency=1))
    assert result.tolist() == [[[*RED, 255], [*GREEN, 0]]]


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (4, 4), tuple(colour)) for colour in (RED, GREEN)]
    data = save(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert ensure_pixels(data)[0, 0].tolist() == RED


def build_swapped_profile() -> bytes:
    """sRGB with the red and the green primary exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"tmp ").replace(b"gXYZ", b"rXYZ").replace(b"tmp ", b"gXYZ")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_colour_profile_is_followed(mode: str) -> None:
    picture = Image.new("RGB", (4, 4), tuple(RED)).convert(mode)
    if mode == "RGBA":
        picture.putalpha(128)
    result = ensure_pixels(save(picture, "PNG", icc_profile=build_swapped_profile()))
    np.testing.assert_allclose(result[0, 0, :3], GREEN, atol=2)
    assert result[0, 0, 3:].tolist() == ([128] if mode == "RGBA" else [])


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("profile", [b"nonsense", build_swapped_profile()[:300]])
def test_a_broken_or_foreign_colour_profile_does_not_hide_the_picture(mode: str, profile: bytes) -> None:
    data = save(Image.new(mode, (4, 4), 10 if mode == "L" else (10, 10, 10)), "PNG", icc_profile=profile)
    assert ensure_pixels(data)[0, 0].tolist() == [10, 10, 10]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[7]], np.uint8), [7, 7, 7]),
        (np.array([[[7]]], np.uint8), [7, 7, 7]),
        (np.array([[[7, 8]]], np.uint8), [7, 7, 7, 8]),
        (np.array([[[7, 8, 9]]], np.uint8), [7, 8, 9]),
        (np.array([[[7, 8, 9, 0]]], np.uint8), [7, 8, 9, 0]),
        (np.array([[[7, 8, 9, 255]]], np.uint8), [7, 8, 9]),
        (np.array([[True]]), [255, 255, 255]),
    ],
)
def test_arrays_of_one_to_four_channels_are_taken(array: Any, expected: list[int]) -> None:
    assert ensure_pixels(array).tolist() == [[expected]]


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((4, 4, 3), np.float32), r"astype\('uint8'\)"),
        (np.zeros((4, 4, 3), np.uint16), "of uint16"),
        (np.zeros((4, 4, 5), np.uint8), "1 to 4"),
        (np.zeros((1, 4, 4, 3), np.uint8), "(H, W)"),
        (np.zeros((4,), np.uint8), "(H, W)"),
        (np.zeros((0, 4, 3), np.uint8), "4x0 pixels"),
        (np.broadcast_to(np.uint8(0), (8193, 8192, 3)), "67 megapixels"),
        (np.array([["a"]]), "of <U1"),
    ],
)
def test_other_arrays_are_refused(array: Any, text: str) -> None:
    with pytest.raises(InvalidImageError, match=text):
        ensure_pixels(array)


@pytest.mark.parametrize("source", [None, 7, ["a.png"], object()])
def test_what_is_no_picture_at_all_is_refused(source: Any) -> None:
    with pytest.raises(InvalidImageError, match="A picture is a path"):
        ensure_pixels(source)


@pytest.mark.parametrize("size", [(8193, 8192), (12_000, 9_000), (60_000, 60_000), (2_000_000_000, 2_000_000_000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_file_that_claims_too_many_pixels_is_refused_before_it_is_read(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidImageError, match="scale it down to at most 8192x8192"):
        ensure_pixels(build_png_start(*size))


def test_a_file_without_pixels_is_refused() -> None:
    with pytest.raises(InvalidImageError):
        ensure_pixels(build_png_start(0, 5))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.9])
def test_a_file_that_breaks_off_is_refused(pixels: NDArray[np.uint8], file_format: str, part: float) -> None:
    data = save(Image.fromarray(np.tile(pixels, (4, 4, 1))), file_format)
    with pytest.raises(InvalidImageError, match=r"damaged|not a picture"):
        ensure_pixels(data[: int(len(data) * part)])


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "TGA", "ICO"])
def test_damaged_files_give_pixels_or_one_kind_of_error(picture: Image.Image, file_format: str) -> None:
    data = save(picture, file_format)
    rng = np.random.default_rng(len(data))
    for _ in range(150):
        broken = bytearray(data)
        for place in rng.integers(0, min(len(data), 400), 3):
            broken[place] = rng.integers(256)
        try:
            result = ensure_pixels(broken)
        except InvalidImageError:
            continue
        assert result.shape[2] in (3, 4)


@pytest.mark.parametrize(
    ("name", "data", "advice"),
    [
        ("text", b"I am not a picture.", "convert it to PNG"),
        ("page", b"<html><body>404</body></html>", "convert it to PNG"),
        ("drawing", b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG drawing"),
        ("packed drawing", b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
        ("program for a printer", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "convert it"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, data: bytes, advice: str) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with pytest.raises(InvalidImageError, match=advice):
        ensure_pixels(path)


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is not None, reason="HEIC can be read here")
def test_a_heic_picture_without_its_library_says_what_to_install() -> None:
    with pytest.raises(InvalidImageError, match="pip install pillow-heif"):
        ensure_pixels(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))


def test_a_heic_picture_is_read_where_its_library_is_installed() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener(thumbnails=False)
    flat = Image.new("RGB", (64, 48), (200, 100, 50))
    np.testing.assert_allclose(ensure_pixels(save(flat, "HEIF"))[20, 20], [200, 100, 50], atol=6)


@pytest.mark.parametrize("source", [b"", bytearray(), memoryview(b"")])
def test_no_bytes_at_all_are_refused(source: Any) -> None:
    with pytest.raises(InvalidImageError, match="is empty"):
        ensure_pixels(source)


def test_paths_that_lead_to_no_picture_are_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    paths: list[tuple[str | Path, str]] = [
        (tmp_path / "empty.png", "empty.png' is empty"),
        (tmp_path / "missing.png", "missing.png' does not exist; check the path"),
        (tmp_path, "folder or a device"),
        (tmp_path / "pipe.png", "folder or a device"),
        ("/dev/zero", "folder or a device"),
        ("a\0b.png", "cannot be read"),
        ("x" * 5000, "cannot be read"),
        (tmp_path / "empty.png" / "a.png", "cannot be read"),
        ("", "folder or a device"),
    ]
    for path, text in paths:
        with pytest.raises(InvalidImageError, match=text):
            ensure_pixels(path)


def test_a_picture_that_was_closed_is_refused(picture: Image.Image) -> None:
    data = io.BytesIO(save(picture, "PNG"))
    closed = Image.open(data)
    closed.close()
    with pytest.raises(InvalidImageError):
        ensure_pixels(closed)


def test_an_array_that_fits_is_not_copied(pixels: NDArray[np.uint8]) -> None:
    assert np.shares_memory(ensure_pixels(pixels), pixels)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(("mode", "file_format"), [("RGB", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("L", "TIFF")])
def test_a_large_file_comes_smaller_when_that_is_enough_and_is_the_same_picture(
    orientation: int, mode: str, file_format: str
) -> None:
    y, x = np.mgrid[0:600, 0:800]
    channels = np.dstack([x * 255 // 799, y * 255 // 599, (x + y) * 255 // 1398, 55 + x // 4]).astype(np.uint8)
    stored = Image.fromarray(channels[..., : len(mode)]) if mode != "L" else Image.fromarray(channels[..., 2])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = save(stored, file_format, exif=exif)
    whole, small = ensure_pixels(data), ensure_pixels(data, enough=150)
    assert 300 <= max(small.shape[:2]) < 600
    expected = Image.fromarray(whole).resize(small.shape[1::-1], Image.Resampling.BOX)
    assert np.abs(small.astype(int) - np.asarray(expected)).max() < 12
    assert np.array_equal(ensure_pixels(data, enough=800), whole)


def test_what_stands_for_clear_is_never_averaged() -> None:
    stored = Image.new("RGB", (800, 600), (10, 20, 30))
    stored.putpixel((0, 0), (255, 0, 255))
    keyed = ensure_pixels(save(stored, "PNG", transparency=(255, 0, 255)), enough=100)
    assert keyed.shape == (600, 800, 4)
    assert np.argwhere(keyed[..., 3] == 0).tolist() == [[0, 0]]
