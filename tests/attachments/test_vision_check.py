"""The picture that proves that a model sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drawthings_mcp.attachments.preview import encode_preview
from drawthings_mcp.attachments.vision_check import ALPHABET, check_answer, draw_code, new_code
from drawthings_mcp.errors import InvalidInputError

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


@given(CODES)
def test_glyphs_are_large_whole_and_dark_on_light(code: str) -> None:
    dark: NDArray[np.bool_] = np.asarray(draw_code(code).convert("L")) < 150
    # Four runs of ink, none of which touches another or the edge.
    starts = np.flatnonzero(np.diff(dark.max(axis=0).astype(int)) == 1)
    assert len(starts) == 4
    assert dark[1:-1, 1:-1].sum() == dark.sum()
    assert dark.max(axis=1).sum() > 95  # pixels high


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
