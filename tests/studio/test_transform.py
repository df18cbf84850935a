"""Pixel work without a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drawthings_mcp.attachments.masks import adjust_mask, draw_mask_on
from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.studio.transform import (
    contact_sheet,
    crop,
    invert_mask,
    mask_from_alpha,
    mask_rectangle,
    resize,
    side_by_side,
    zoom,
)
from drawthings_mcp.tensors.mask import mask_classes

PHOTO = np.arange(60 * 80 * 3, dtype=np.uint32).reshape(60, 80, 3).astype(np.uint8)
"""80 wide, 60 high."""


def test_a_box_is_in_pixels_or_in_shares_of_the_picture(tmp_path: Path) -> None:
    assert np.array_equal(crop(PHOTO, (10, 20, 30, 50)), PHOTO[20:50, 10:30])
    assert np.array_equal(crop(PHOTO, (0.5, 0, 1, 0.5)), PHOTO[:30, 40:])
    assert np.array_equal(crop(PHOTO, (0, 0, 1, 1)), PHOTO)
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    assert np.array_equal(crop(tmp_path / "a.png", (79, 59, 80, 60)), PHOTO[59:, 79:])


def test_transparency_survives_a_crop_and_a_change_of_size() -> None:
    pixels = np.dstack([PHOTO, np.full((60, 80), 100, np.uint8)])
    assert crop(pixels, (0, 0, 8, 8)).shape == (8, 8, 4)
    assert resize(pixels, width=40).shape == (30, 40, 4)


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({"long_edge": 160}, (160, 120)),
        ({"long_edge": 8}, (8, 6)),
        ({"width": 40}, (40, 30)),
        ({"height": 120}, (160, 120)),
        ({"width": 10, "height": 50, "fit": "stretch"}, (10, 50)),
        ({"width": 27, "height": 20}, (27, 20)),
        ({"width": 80, "height": 60}, (80, 60)),
    ],
)
def test_a_size_is_given_by_the_longer_side_or_by_one_or_both(arguments: dict[str, Any], size: tuple[int, int]) -> None:
    assert resize(PHOTO, **arguments).shape == (size[1], size[0], 3)


def test_a_mask_is_white_in_its_rectangles() -> None:
    mask = mask_rectangle(PHOTO, [(0, 0, 10, 10), (0.5, 0.5, 1, 1)])
    expected = np.zeros((60, 80, 3), np.uint8)
    expected[:10, :10] = expected[30:, 40:] = 255
    assert np.array_equal(mask, expected)
    assert (mask_classes(mask) > 0).sum() == 100 + 30 * 40
    assert np.array_equal(invert_mask(mask), 255 - expected)


def test_a_mask_from_transparency_is_white_where_the_picture_is_clear() -> None:
    alpha = np.full((60, 80), 255, np.uint8)
    alpha[10:20], alpha[20:30] = 0, 200
    mask = mask_from_alpha(np.dstack([PHOTO, alpha]))
    assert mask.shape == (60, 80, 3)
    assert np.array_equal(np.unique(np.nonzero(mask[..., 0] == 255)[0]), np.arange(10, 20))


def test_two_pictures_stand_side_by_side_in_their_order_and_size() -> None:
    red, blue = (np.full((300, 900, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    sheet = side_by_side(("v3", red), ("v7", blue))
    columns = [np.nonzero((sheet == colour).all(axis=2))[1] for colour in ((200, 0, 0), (0, 0, 200))]
    assert columns[0].max() < columns[1].min()
    assert [np.ptp(found) + 1 for found in columns] == [900, 900]


def test_a_contact_sheet_shows_six_in_reading_order() -> None:
    pictures = [(f"v{n}", np.full((200, 200, 3), (40 * n, 0, 0), np.uint8)) for n in range(1, 7)]
    sheet = contact_sheet(pictures)
    assert max(sheet.shape) <= 1024
    corners = [np.argwhere((np.abs(sheet.astype(int) - (40 * n, 0, 0)) < 4).all(axis=2))[0] for n in range(1, 7)]
    assert [tuple(corner) for corner in corners] == sorted(map(tuple, corners))


REFUSED: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = [
    (crop, (PHOTO, (0, 0, 81, 10)), {}, "left and right are from 0 to 80"),
    (crop, (PHOTO, (10, 10, 10, 20)), {}, "has no pixel"),
    (crop, (PHOTO, (-0.1, 0, 1, 1)), {}, "outside of the picture"),
    (crop, (PHOTO, (0, 0, 10)), {}, "left, top, right, bottom"),
    (crop, (PHOTO, (0, 0, float("nan"), 1)), {}, "left, top, right, bottom"),
    (crop, ("/does/not/exist.png", (0, 0, 1, 1)), {}, "does not exist"),
    (resize, (PHOTO,), {}, "takes long_edge, or"),
    (resize, (PHOTO,), {"long_edge": 5, "width": 5}, "takes long_edge, or"),
    (resize, (PHOTO,), {"width": 0}, "from 1 to 8192"),
    (resize, (PHOTO,), {"long_edge": -3}, "from 1 to 8192"),
    (resize, (PHOTO,), {"height": 8000}, "width: would be 10667"),
    (resize, (PHOTO,), {"width": 10, "height": 50}, "pad adds grey, stretch distorts; or give only width or height"),
    (adjust_mask, (mask_rectangle(PHOTO, [(10, 10, 20, 20)]),), {"grow": -5}, "nothing white is left of the mask"),
    (mask_rectangle, (PHOTO, []), {}, "from 1 to 20 rectangles"),
    (mask_rectangle, (PHOTO, [(0, 0, 1, 1)] * 21), {}, "from 1 to 20 rectangles"),
    (mask_from_alpha, (PHOTO,), {}, "No part of the picture is transparent"),
    (contact_sheet, ([("v1", PHOTO)],), {}, "2 to 25 pictures, got 1"),
    (contact_sheet, ([("v1", PHOTO)] * 26,), {}, "2 to 25 pictures, got 26"),
]


@pytest.mark.parametrize(("operation", "pictures", "arguments", "words"), REFUSED)
def test_what_cannot_be_done_is_refused_in_one_sentence(
    operation: Callable[..., Any], pictures: tuple[Any, ...], arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(DrawThingsError) as refused:
        operation(*pictures, **arguments)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 220


def test_a_resize_to_another_shape_crops_pads_or_distorts_as_it_is_told() -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, 20:60] = 255
    assert (resize(pixels, width=40, height=40, fit="crop") == 255).all()
    padded = resize(pixels, width=80, height=80, fit="pad")
    assert (padded[:20] == 128).all()
    assert np.array_equal(padded[20:60], pixels)
    assert np.ptp(np.nonzero(resize(pixels, width=40, height=40, fit="stretch")[20, :, 0] > 128)[0]) + 1 == 20


def test_a_mask_grows_shrinks_and_fades_by_pixels() -> None:
    mask = mask_rectangle(PHOTO, [(20, 20, 40, 40)])
    assert np.array_equal(adjust_mask(mask, grow=5), mask_rectangle(PHOTO, [(15, 15, 45, 45)]))
    assert np.array_equal(adjust_mask(mask, grow=-5), mask_rectangle(PHOTO, [(25, 25, 35, 35)]))
    edge = adjust_mask(mask, feather=8)[30, :, 0].astype(int)
    assert edge[10] == 0
    assert edge[30] >= 250
    assert (np.diff(edge[12:28]) >= 0).all()
    assert ((edge[12:28] > 20) & (edge[12:28] < 235)).sum() >= 4


def test_a_mask_is_drawn_red_on_its_picture_which_stays_as_it_is_elsewhere() -> None:
    picture = np.full((60, 80, 3), 90, np.uint8)
    drawn = draw_mask_on(picture, mask_rectangle(picture, [(20, 20, 40, 40)]), 1024)
    assert drawn is not None
    assert (drawn[:20] == 90).all()
    red, green, blue = drawn[30, 30].astype(int)
    assert red > 150
    assert max(green, blue) < 60
    assert (drawn[20, 25] == 255).all()  # the outline
    assert draw_mask_on(picture, np.zeros((60, 60, 3), np.uint8), 1024) is None


def test_a_part_is_enlarged_to_the_size_that_was_asked_for() -> None:
    part, edges = zoom(PHOTO, (0.5, 0, 1, 0.5), 320)
    assert edges == (40, 0, 80, 30)
    assert part.shape == (240, 320, 3)
    assert zoom(PHOTO, (0, 0, 2, 2), 1000)[0].shape == (32, 32, 3)
    assert np.array_equal(zoom(PHOTO, (0, 0, 80, 60), 64)[0], PHOTO)


@pytest.mark.parametrize(("columns", "size"), [(1, (212, 830)), (4, (830, 212))])
def test_a_strip_stands_or_lies(columns: int, size: tuple[int, int]) -> None:
    pictures = [("", np.full((200, 200, 3), 40 * n, np.uint8)) for n in range(1, 5)]
    sheet = contact_sheet(pictures, columns=columns, long_edge=8192)
    assert (sheet.shape[1], sheet.shape[0]) == size
