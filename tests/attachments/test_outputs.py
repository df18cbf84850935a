"""All previews of a result together: never over the cap, every picture accounted for."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drawthings_mcp.attachments import Attachment, Policy, attach_outputs, list_missing, plan_outputs

MakePixels = Callable[..., Any]


def _originals(make_pixels: MakePixels, count: int, look: str = "noise", edge: int = 200) -> list[tuple[str, Any]]:
    return [(f"v{n}", make_pixels(edge, edge - n, look, seed=n)) for n in range(1, count + 1)]


def _size(attachments: list[Attachment]) -> int:
    return sum(len(base64.b64encode(attachment.preview.data)) for attachment in attachments)


def test_three_outputs_are_shown_one_by_one(make_pixels: MakePixels) -> None:
    attachments = attach_outputs(_originals(make_pixels, 3), Policy(), 0)
    assert [attachment.ids for attachment in attachments] == [("v1",), ("v2",), ("v3",)]
    assert [attachment.preview.height for attachment in attachments] == [199, 198, 197]


def test_more_outputs_end_in_a_contact_sheet_of_the_oldest(make_pixels: MakePixels) -> None:
    originals = _originals(make_pixels, 5, "flat")
    attachments = attach_outputs(originals, Policy(), 0)
    assert [attachment.ids for attachment in attachments] == [("v4",), ("v5",), ("v1", "v2", "v3")]
    sheet = attachments[2].preview
    assert 512 < max(sheet.width, sheet.height) <= 1024
    assert list_missing([name for name, _ in originals], attachments) == ()


def test_a_result_full_of_detail_fits_the_default_limit(make_pixels: MakePixels) -> None:
    attachments = attach_outputs(_originals(make_pixels, 4, edge=1024), Policy(), reserved_characters=3000)
    assert len(attachments) == 3
    # Noise is the worst case; it still gets most of what is allowed.
    assert 450_000 < _size(attachments) <= 897_000


@settings(max_examples=60, deadline=None)
@given(
    looks=st.lists(st.sampled_from(["noise", "flat", "holes"]), max_size=7),
    max_outputs=st.integers(0, 4),
    max_characters=st.integers(0, 150_000),
    reserved=st.integers(0, 60_000),
)
def test_never_over_the_cap_and_every_picture_is_accounted_for(
    make_pixels: MakePixels, looks: list[str], max_outputs: int, max_characters: int, reserved: int
) -> None:
    policy = Policy(max_outputs=max_outputs, max_characters=max_characters, max_edge=160)
    originals = [(f"v{n}", make_pixels(180, 120, look, seed=n)) for n, look in enumerate(looks)]
    ids = [name for name, _ in originals]
    attachments = attach_outputs(originals, policy, reserved)
    assert _size(attachments) + reserved <= max_characters or not attachments
    assert len(attachments) <= max_outputs
    shown = [name for attachment in attachments for name in attachment.ids]
    assert len(shown) == len(set(shown))
    assert sorted([*shown, *list_missing(ids, attachments)]) == sorted(ids)


def test_when_bytes_run_short_the_newest_are_kept(make_pixels: MakePixels) -> None:
    originals = _originals(make_pixels, 3, "holes", edge=64)
    smallest = attach_outputs(originals, Policy(), 0)
    room = smallest[1].preview.characters + smallest[2].preview.characters
    attachments = attach_outputs(originals, Policy(max_characters=room), 0)
    assert [attachment.ids for attachment in attachments] == [("v2",), ("v3",)]
    assert list_missing(["v1", "v2", "v3"], attachments) == ("v1",)


def test_what_the_rest_of_the_result_takes_is_counted(make_pixels: MakePixels) -> None:
    originals = _originals(make_pixels, 2, edge=300)
    free = _size(attach_outputs(originals, Policy(max_characters=40_000), 0))
    tight = _size(attach_outputs(originals, Policy(max_characters=40_000), 30_000))
    assert tight <= 10_000 < free <= 40_000


@pytest.mark.parametrize(("max_outputs", "reserved"), [(0, 0), (3, 1_000_000)])
def test_nothing_is_shown_when_nothing_may_be(make_pixels: MakePixels, max_outputs: int, reserved: int) -> None:
    assert attach_outputs(_originals(make_pixels, 2), Policy(max_outputs=max_outputs), reserved) == []


def test_files_are_shown_like_pixels(make_pixels: MakePixels, tmp_path: Path) -> None:
    pixels = make_pixels(50, 40)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (from_file,) = attach_outputs([("v1", tmp_path / "a.png")], Policy(), 0)
    (from_pixels,) = attach_outputs([("v1", pixels)], Policy(), 0)
    assert from_file == from_pixels
    assert np.asarray(Image.open(io.BytesIO(from_file.preview.data))).shape == (40, 50, 3)


def test_hundreds_of_outputs_still_make_one_result(make_pixels: MakePixels) -> None:
    originals = _originals(make_pixels, 30, "flat", edge=40) * 10
    attachments = attach_outputs([(f"v{n}", pixels) for n, (_, pixels) in enumerate(originals)], Policy(), 0)
    assert len(attachments) == 3
    assert len(attachments[2].ids) == 298 == len(plan_outputs([str(n) for n in range(300)], Policy()).sheet)
    assert max(attachments[2].preview.width, attachments[2].preview.height) <= 1024
