"""The labelled contact sheet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drawthings_mcp.attachments.grid import Captions, choose_grid
from drawthings_mcp.attachments.sheet import compose_sheet

MakePixels = Callable[..., Any]
COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (200, 30, 200), (30, 200, 200)]
INK = 128


def _solid(index: int, width: int = 300, height: int = 300) -> np.ndarray:
    return np.full((height, width, 3), COLOURS[index], np.uint8)


def _find(sheet: np.ndarray, index: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a picture on the sheet."""
    rows, columns = np.nonzero((np.abs(sheet.astype(int) - COLOURS[index]) < 10).all(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("count", range(1, 7))
def test_every_picture_is_there_in_reading_order_with_a_label_below(count: int) -> None:
    sheet = np.asarray(compose_sheet([(f"v{n + 1}", _solid(n)) for n in range(count)]))
    assert max(sheet.shape) <= 1024
    boxes = [_find(sheet, index) for index in range(count)]
    assert [(top, left) for left, top, _, _ in boxes] == sorted((top, left) for left, top, _, _ in boxes)
    for left, _, right, bottom in boxes:
        below = sheet[bottom : bottom + 39, left:right]
        letters = np.nonzero((below > INK).all(axis=2))
        height = letters[0].max() - letters[0].min() + 1
        assert height >= 16  # pixels: enough for a model and a person to read


def test_different_labels_look_different() -> None:
    one, two = (np.asarray(compose_sheet([(label, _solid(0))])) for label in ("v1", "v2"))
    assert not np.array_equal(one, two)


@pytest.mark.parametrize(("width", "height"), [(300, 100), (100, 300)])
def test_pictures_keep_their_shape(width: int, height: int) -> None:
    sheet = np.asarray(compose_sheet([(f"v{n}", _solid(n, width, height)) for n in range(3)]))
    for index in range(3):
        left, top, right, bottom = _find(sheet, index)
        assert (right - left) / (bottom - top) == pytest.approx(width / height, rel=0.05)


def test_pictures_use_the_sheet_well() -> None:
    # Three wide pictures belong below one another, three tall ones side by side.
    wide = compose_sheet([(f"v{n}", _solid(n, 1600, 500)) for n in range(3)])
    tall = compose_sheet([(f"v{n}", _solid(n, 500, 1600)) for n in range(3)])
    for sheet in (wide, tall):
        left, top, right, bottom = _find(np.asarray(sheet), 0)
        assert (right - left) * (bottom - top) > 200_000


def test_a_long_label_stays_below_its_own_picture() -> None:
    pictures = [("a-very-long-name-of-a-picture", _solid(0)), *[("x", _solid(n % 5 + 1)) for n in range(20)]]
    sheet = np.asarray(compose_sheet(pictures))
    left, _, right, bottom = _find(sheet[:300, :300], 0)
    letters = np.nonzero((sheet[bottom : bottom + 39, : right + 6] > INK).all(axis=2))[1]
    assert letters.min() >= left - 2
    assert letters.max() <= right + 2


def test_transparent_pictures_show_the_background(make_pixels: MakePixels) -> None:
    pixels = np.zeros((50, 50, 4), np.uint8)
    pixels[..., 0] = 255
    sheet = compose_sheet([("v1", pixels)])
    assert sheet.mode == "RGB"
    assert not (np.asarray(sheet) == (255, 0, 0)).all(axis=2).any()


def test_files_can_be_shown(tmp_path: Path) -> None:
    Image.fromarray(_solid(0)).save(tmp_path / "a.png")
    assert _find(np.asarray(compose_sheet([("v1", tmp_path / "a.png")])), 0)


@pytest.mark.parametrize("count", [2, 3, 6, 12, 25])
@pytest.mark.parametrize("strange", [None, (30_000, 64), (64, 30_000), (1, 1)])
def test_labels_of_long_ids_are_legible_on_every_sheet(count: int, strange: tuple[int, int] | None) -> None:
    sizes = [(256, 256), (208, 304), (336, 192)] * 9
    pictures = [(f"p{10020 + n}" if n % 2 else f"v{1230 + n}", _solid(n % 6, *sizes[n])) for n in range(count)]
    if strange is not None:
        pictures[0] = ("v1", _solid(0, *strange))
    sheet = np.asarray(compose_sheet(pictures))
    grid = choose_grid([(picture.shape[1], picture.shape[0]) for _, picture in pictures], 1024)
    assert sheet.shape == (grid.size[1], grid.size[0], 3)
    assert max(sheet.shape) <= 1024
    for index in range(count):
        x, y = grid.locate(index)
        label = sheet[y + grid.picture_height : y + grid.picture_height + grid.label_height, x : x + grid.cell_width]
        letters = label.min(axis=2) > INK
        assert np.ptp(np.nonzero(letters)[0]) + 1 >= 18  # pixels high
        # Labels keep off their neighbours'.
        assert letters[:, 2:-2].sum() == letters.sum()


def test_one_picture_of_a_strange_shape_does_not_squeeze_the_others() -> None:
    sheet = np.asarray(compose_sheet([("v1", _solid(0, 30_000, 64)), *[(f"v{n}", _solid(n)) for n in (1, 2, 3)]]))
    left, top, right, bottom = _find(sheet, 1)
    assert (right - left, bottom - top) == (300, 300)


def test_a_comparison_stands_side_by_side_whatever_the_shapes() -> None:
    sheet = np.asarray(compose_sheet([("v1", _solid(0, 900, 200)), ("v2", _solid(1, 900, 200))], 2048, columns=2))
    assert _find(sheet, 0)[2] < _find(sheet, 1)[0]


def _ink(sheet: np.ndarray) -> np.ndarray:
    return np.asarray((sheet > INK).all(axis=2))


def test_a_grid_of_values_has_its_captions_above_the_columns_and_left_of_the_rows() -> None:
    captions = Captions(("guidance 1", "guidance 4", "guidance 7"), ("seed 1", "seed 2"))
    sheet = np.asarray(compose_sheet([("", _solid(n)) for n in range(6)], captions=captions))
    assert max(sheet.shape) <= 1024
    for row in range(2):
        tops = {_find(sheet, 3 * row + column)[1] for column in range(3)}
        left, top, _, bottom = _find(sheet, 3 * row)
        assert len(tops) == 1
        assert _ink(sheet)[top:bottom, :left].any()
    left, top, _, _ = _find(sheet, 0)
    for column in range(3):
        begin, _, end, _ = _find(sheet, column)
        assert _ink(sheet)[:top, begin:end].any()
    assert not _ink(sheet)[top:, left:].any()  # no label was asked for


def test_pictures_that_need_no_scaling_stand_together_and_not_in_a_strip() -> None:
    sheet = compose_sheet([("", _solid(n)) for n in range(6)], 4096)
    assert sheet.size == (3 * 300 + 4 * 6, 2 * 300 + 3 * 6)


def test_captions_of_rows_take_the_room_of_their_words() -> None:
    short, long = (
        np.asarray(compose_sheet([("", _solid(n)) for n in range(4)], 2048, captions=Captions(("a", "b"), rows)))
        for rows in (("seed\n1", "seed\n2"), ("sampler\nDPM++ 2M AYS", "sampler\nEuler A"))
    )
    assert _find(short, 0)[0] < _find(long, 0)[0] / 2
    for sheet in (short, long):
        left, top, _, bottom = _find(sheet, 0)
        assert not _ink(sheet)[top:bottom, left - 1].any()
        assert _ink(sheet)[top:bottom, :left].any()


def test_a_sheet_without_labels_gives_their_room_to_the_pictures() -> None:
    bare, labelled = (
        compose_sheet([(label, _solid(n)) for n in range(2)], 4096, columns=2) for label in ("", "a label")
    )
    assert bare.size == (2 * 300 + 3 * 6, 300 + 2 * 6)
    assert labelled.height > bare.height


@pytest.mark.parametrize("label", ["Müller", "Größe ×2"])
def test_letters_beyond_english_are_drawn_or_spelled_without_their_accents(label: str) -> None:
    sheet = np.asarray(compose_sheet([(label, _solid(0))]))
    strange = np.asarray(compose_sheet([("\U0010ffff" * len(label), _solid(0))]))
    assert _ink(sheet).any()
    assert not np.array_equal(sheet, strange)


def test_a_label_without_end_and_one_of_strange_signs_stay_within_their_cell() -> None:
    sheet = np.asarray(compose_sheet([("wörd " * 50_000, _solid(0)), ("a\tb\x00c\x1b[31m", _solid(1))]))
    assert _ink(sheet).any()
    assert max(sheet.shape) <= 1024
