"""Pictures brought to a size: what is cut off, filled up, kept and marked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidImageError, InvalidInputError
from drawthings_mcp.tensors import encode_image
from drawthings_mcp.tensors.fitting import extend_canvas, fit_pixels, flatten_transparent, paste_part, soften_inside
from drawthings_mcp.tensors.mask import encode_mask
from drawthings_mcp.tensors.pixels import ensure_pixels

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
GREY = (128, 128, 128)


def stripes(*colours: tuple[int, ...], height: int = 30, width: int = 30) -> NDArray[np.uint8]:
    """Vertical stripes of the same width."""
    return np.repeat(np.array([colours], np.uint8), width, axis=1).repeat(height, axis=0)


@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(64, 64), (1, 1), (97, 31), (2000, 3), (3, 2000), (7, 5), (40, 60)])
def test_the_size_is_exact(how: Any, channels: int, size: tuple[int, int]) -> None:
    for shape in [(48, 64), (1, 1), (333, 2), (2, 333), (1000, 999)]:
        fitted = fit_pixels(np.full((*shape, channels), 200, np.uint8), size, how)
        assert fitted.shape == (size[1], size[0], channels)
        assert fitted.dtype == np.uint8
        if how != "pad":
            assert (fitted == 200).all()


@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
def test_a_picture_that_fits_is_left_alone(how: Any, pixels: NDArray[np.uint8]) -> None:
    assert fit_pixels(pixels, (64, 48), how) is pixels


def test_cropping_keeps_the_middle_and_the_proportions() -> None:
    across = stripes(RED, GREEN, BLUE)
    fitted = [fit_pixels(across, (15, 15), "crop"), fit_pixels(across.transpose(1, 0, 2), (60, 60), "crop")]
    for green in fitted:
        # The outermost pixels are blended with what lies beyond, as they would be without cropping.
        np.testing.assert_allclose(green.astype(int), np.full(green.shape, GREEN), atol=60)
        np.testing.assert_allclose(green[5:-5, 5:-5].astype(int), np.full(green[5:-5, 5:-5].shape, GREEN), atol=2)


def test_stretching_keeps_everything() -> None:
    fitted = fit_pixels(stripes(RED, BLUE), (300, 15), "stretch")
    np.testing.assert_array_equal(fitted[:, :130], np.full((15, 130, 3), RED, np.uint8))
    np.testing.assert_array_equal(fitted[:, 170:], np.full((15, 130, 3), BLUE, np.uint8))


def test_padding_shows_everything_between_bars_of_grey() -> None:
    fitted = fit_pixels(stripes(RED, BLUE), (40, 41), "pad")
    np.testing.assert_array_equal(fitted[:10], np.full((10, 40, 3), GREY, np.uint8))
    np.testing.assert_array_equal(fitted[30:], np.full((11, 40, 3), GREY, np.uint8))
    np.testing.assert_array_equal(fitted[10:30, :15], np.full((20, 15, 3), RED, np.uint8))
    np.testing.assert_array_equal(fitted[10:30, 25:], np.full((20, 15, 3), BLUE, np.uint8))


def test_padding_can_repeat_the_edge() -> None:
    fitted = fit_pixels(stripes(RED, BLUE), (240, 30), "pad", padding="edge")
    np.testing.assert_array_equal(fitted[:, :115], np.full((30, 115, 3), RED, np.uint8))
    np.testing.assert_array_equal(fitted[:, 125:], np.full((30, 115, 3), BLUE, np.uint8))


def test_padding_of_a_picture_with_alpha_is_clear() -> None:
    fitted = fit_pixels(np.full((10, 10, 4), 255, np.uint8), (20, 10), "pad")
    assert (fitted[:, :5] == (*GREY, 0)).all()
    assert (fitted[:, 5:15] == 255).all()
    assert (fitted[:, 15:] == (*GREY, 0)).all()


def test_colours_under_clear_pixels_do_not_bleed() -> None:
    pixels = np.concatenate([stripes((*RED, 255)), stripes((*GREEN, 0))], axis=1)
    fitted = fit_pixels(pixels, (15, 7), "stretch")
    visible = fitted[..., 3] > 32
    assert visible.any()
    assert fitted[visible][:, 1].max() <= 2


def test_fine_detail_is_averaged_when_a_picture_is_reduced() -> None:
    checks = (np.indices((1024, 1024)).sum(axis=0) % 2 * 255).astype(np.uint8)
    fitted = fit_pixels(np.stack([checks] * 3, axis=-1), (100, 100), "stretch")
    assert np.abs(fitted.astype(int) - 127).max() <= 3


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (8193, 8192)])
def test_an_impossible_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidInputError, match="1x1 to 8192x8192"):
        fit_pixels(np.zeros((4, 4, 3), np.uint8), size, "crop")


def test_unknown_ways_to_fit_are_refused() -> None:
    wrong: Any = "squeeze"
    with pytest.raises(InvalidInputError, match="crop, pad or stretch, not 'squeeze'"):
        fit_pixels(np.zeros((4, 4, 3), np.uint8), (5, 5), wrong)
    with pytest.raises(InvalidInputError, match="grey or edge, not 'squeeze'"):
        fit_pixels(np.zeros((4, 4, 3), np.uint8), (5, 5), "pad", padding=wrong)


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3))])
def test_arrays_that_are_no_pixels_are_refused(array: Any) -> None:
    with pytest.raises(InvalidImageError, match="ensure_pixels makes them"):
        fit_pixels(array, (8, 8), "crop")
    with pytest.raises(InvalidImageError, match="ensure_pixels makes them"):
        extend_canvas(array, 64)
    with pytest.raises(InvalidImageError, match="ensure_pixels makes them"):
        flatten_transparent(array)


def test_a_canvas_is_extended_by_grey_that_is_to_be_generated(pixels: NDArray[np.uint8]) -> None:
    canvas, classes = extend_canvas(pixels, left=24, top=8, right=40, bottom=8)
    assert canvas.shape == (64, 128, 3)
    assert classes.shape == (64, 128)
    old = np.s_[8:56, 24:88]
    np.testing.assert_array_equal(canvas[old], pixels)
    assert (classes[old] == 3).all()
    new = np.ones((64, 128), bool)
    new[old] = False
    assert (canvas[new] == GREY).all()
    assert (classes[new] == 1).all()
    assert encode_mask(classes)
    assert encode_image(canvas)


def test_clear_parts_of_an_extended_canvas_are_generated_as_well() -> None:
    source = np.full((64, 64, 4), 255, np.uint8)
    source[:32, :, 3] = 0
    canvas, classes = extend_canvas(source, right=64)
    assert canvas.shape == (64, 128, 3)
    assert (canvas[32:, :64] == 255).all()
    assert (canvas[:32] == GREY).all()
    np.testing.assert_array_equal(
        classes == 3, np.pad(np.repeat([[0], [1]], 32, 0) * np.ones((1, 64)), ((0, 0), (0, 64)))
    )
    assert set(np.unique(classes)) == {1, 3}


@pytest.mark.parametrize(
    ("edges", "advice"),
    [
        ({"left": 10}, "width of 74 .* add 54 more to left or right"),
        ({"bottom": 65}, "height of 129 .* add 63 more to top or bottom"),
        ({"top": 8192}, "height of 8256 .* at most 8192 .* add 64 less to top or bottom"),
        ({"left": -64, "right": 128}, "0 or more pixels"),
        ({}, "some on one"),
    ],
)
def test_an_extension_that_no_server_takes_is_refused_with_the_next_that_it_does(
    edges: dict[str, int], advice: str
) -> None:
    with pytest.raises(InvalidInputError, match=advice):
        extend_canvas(np.zeros((64, 64, 3), np.uint8), **edges)


def test_a_transparent_picture_becomes_opaque_with_a_mask_of_what_was_clear() -> None:
    pixels = np.array([[[9, 8, 7, 255], [9, 8, 7, 254], [9, 8, 7, 100], [9, 8, 7, 7], [9, 8, 7, 0]]], np.uint8)
    rgb, classes = flatten_transparent(pixels)
    assert rgb.tolist() == [[[9, 8, 7]] * 4 + [[128, 128, 128]]]
    assert classes.tolist() == [[3, 1 | 0xF8, 1 | 0x60, 1, 1]]


def test_pictures_from_outside_can_be_fitted_as_they_come() -> None:
    grey = ensure_pixels(np.full((10, 20), 77, np.uint8))
    assert (fit_pixels(grey, (64, 64), "crop") == 77).all()


def test_a_part_is_pasted_softly_within_its_mask_and_nowhere_else() -> None:
    random = np.random.default_rng(5)
    canvas = random.integers(0, 256, (60, 80, 3), np.uint8)
    levels = np.zeros((40, 40), np.uint8)
    levels[10:30, 10:30] = 255
    soft = soften_inside(levels, 4)
    assert (soft[levels == 0] == 0).all()
    assert soft[20, 20] > 250
    assert 0 < soft[10, 20] < soft[12, 20] < 255
    pasted = paste_part(canvas, np.full((40, 40, 3), 200, np.uint8), (20, 10), soft)
    outside = np.pad(soft, ((10, 10), (20, 20))) == 0
    assert np.array_equal(pasted[outside], canvas[outside])
    assert abs(int(pasted[30, 40, 0]) - 200) < 6
    clear = np.zeros((40, 40, 4), np.uint8)
    assert np.array_equal(paste_part(canvas, clear, (20, 10), levels), canvas)
