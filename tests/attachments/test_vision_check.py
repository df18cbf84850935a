"""The picture that proves that a model sees."""

from __future__ import annotations

import io
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from drawthings_mcp.attachments import vision_check
from drawthings_mcp.attachments.preview import encode_preview
from drawthings_mcp.attachments.vision_check import ALPHABET, LENGTH, check_answer, draw_code, new_code
from drawthings_mcp.errors import InvalidInputError
from tests.sign_reader import read_signs

CODES = st.text(ALPHABET, min_size=4, max_size=4)


def test_codes_are_new_every_time_and_have_no_letters_that_look_alike() -> None:
    codes = {new_code() for _ in range(200)}
    assert len(codes) > 190
    assert all(len(code) == 4 for code in codes)
    assert not set("".join(codes)) & set("0OQD1IL2Z5S8B6GUV")


def test_every_letter_looks_different_and_the_same_code_the_same() -> None:
    pictures = {letter: np.asarray(draw_code(letter * 4)) for letter in ALPHABET}
    assert len({picture.tobytes() for picture in pictures.values()}) == len(ALPHABET)
    assert np.array_equal(pictures["A"], np.asarray(draw_code("AAAA")))


def test_no_code_has_signs_that_touch(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each letter is drawn once for each angle; what is measured for all 130,321 codes is where it goes.
    monkeypatch.setattr(vision_check, "_draw_glyph", cache(vision_check._draw_glyph))
    width, height = draw_code("AAAA").size
    for code in map("".join, product(ALPHABET, repeat=LENGTH)):
        clear = 0  # where the next sign may begin
        for tile, (x, y) in vision_check._lay_out(code):
            assert x >= clear + 24, code
            assert 24 <= y <= height - 24 - tile.height, code
            clear = x + tile.width
        assert clear <= width - 24, code


@given(CODES)
@example("WWWR")
@example("WWWW")
def test_signs_are_large_whole_and_read_back_from_the_preview(code: str) -> None:
    picture = draw_code(code)
    dark: NDArray[np.bool_] = np.asarray(picture.convert("L")) < 150
    assert dark.max(axis=1).sum() > 95  # pixels high
    preview = encode_preview(picture, max_bytes=100_000)
    assert read_signs(Image.open(io.BytesIO(preview.data))) == code


def test_the_picture_is_small_and_its_file_does_not_say_the_code() -> None:
    preview = encode_preview(draw_code("K7XA"), max_bytes=40_000)
    assert b"K7XA" not in preview.data


@given(CODES)
def test_an_answer_may_be_written_in_any_way(code: str) -> None:
    for answer in (code, code.lower(), " ".join(code), "-".join(code), f" “{code}”. "):
        assert check_answer(code, answer)
    assert not check_answer(code, code[::-1] + "A")
    assert not check_answer(code, "")
    assert not check_answer("", "")


@pytest.mark.parametrize("code", ["", "K7X0", "käse"])
def test_what_cannot_be_a_code_is_not_drawn(code: str) -> None:
    with pytest.raises(InvalidInputError):
        draw_code(code)
