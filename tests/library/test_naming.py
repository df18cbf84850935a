"""File names that people can read and every disk accepts."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawthings_mcp.library.new_files import file_stem

WHEN = datetime(2026, 11, 20, 23, 59)


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("A red fox, in snow!", "a-red-fox-in-snow"),
        ("../../etc/passwd\0", "etc-passwd"),
        ("CON: <aux>|?*\\", "con-aux"),
        ("雪の中の狐", "雪の中の狐"),
        ("Ein Füchslein im Schnee", "ein-füchslein-im-schnee"),
        ("बर्फ में लोमड़ी", "बर्फ-में-लोमड़ी"),
        ("ＦＵＬＬ　ｗｉｄｔｈ ﬁne", "full-width-fine"),
        ("🦊❤️‍🔥", "image"),
        ("", "image"),
        ("a\ud83eb", "a-b"),
        ("one two three four five six seven eight nine ten eleven", "one-two-three-four-five-six-seven-eight-nine-ten"),
        ("x" * 100, "x" * 48),
        ("狐" * 100, "狐" * 30),
    ],
)
def test_a_name_tells_date_prompt_and_seed(prompt: str, slug: str) -> None:
    assert file_stem(prompt, 1234567890, WHEN) == f"2026-11-20_{slug}_s1234567890"


@given(st.text())
def test_any_prompt_makes_a_name_that_every_disk_accepts(prompt: str) -> None:
    stem = file_stem(prompt, 2**32 - 1, WHEN)
    assert len(stem) <= 71
    assert len(f"{stem}-9999.png".encode()) <= 143
    assert not set(stem) & set('/\\:*?"<>|. \0\n')
    assert stem.isprintable()
