"""A plan becomes previews: never over the cap, every picture accounted for."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drawthings_mcp.attachments.budget import AttachmentPlan, Reason, Slot, describe_budget, plan_attachments
from drawthings_mcp.attachments.encoding import count_result, encode
from drawthings_mcp.attachments.policy import Policy
from drawthings_mcp.attachments.preview import Preview
from drawthings_mcp.attachments.tokens import find_counting
from tests.attachments.candidate import Candidate

MakePixels = Callable[..., Any]

LARGE = Policy(max_tokens=8_000)
"""Of a client of large models."""


def show(
    pictures: Mapping[str, Any],
    policy: Policy | None = None,
    reserved: int = 0,
    inputs: Mapping[str, Any] | None = None,
) -> tuple[AttachmentPlan, dict[Slot, Preview]]:
    policy, inputs = policy or LARGE, inputs or {}
    made = plan_attachments(_candidates(inputs), _candidates(pictures), (), policy)
    turned_out, previews = encode(made, {**inputs, **pictures}, policy, reserved)
    assert turned_out.slots == tuple(previews)
    for slot, preview in previews.items():
        with Image.open(io.BytesIO(preview.data)) as image:
            assert image.size == slot.size
    return turned_out, previews


def _candidates(pictures: Mapping[str, Any]) -> list[Candidate]:
    return [
        Candidate(name, (picture.shape[1], picture.shape[0]) if isinstance(picture, np.ndarray) else (64, 64))
        for name, picture in pictures.items()
    ]


def make_outputs(make_pixels: MakePixels, count: int, look: str = "noise", edge: int = 200) -> dict[str, Any]:
    return {f"v{n}": make_pixels(edge, edge - n, look, seed=n) for n in range(1, count + 1)}


def edges(slots: Iterable[Slot]) -> list[int]:
    return [max(slot.size) for slot in slots]


def count(previews: Iterable[Preview]) -> int:
    return count_result("", previews) - count_result("")


def test_inputs_come_first_then_outputs_then_the_sheet(make_pixels: MakePixels) -> None:
    photos = {"a1": make_pixels(90, 60, seed=9), "a2": make_pixels(60, 90, seed=8)}
    turned_out, previews = show(make_outputs(make_pixels, 5, "flat", edge=600), inputs=photos)
    assert [slot.ids for slot in previews] == [("a1",), ("a2",), ("v4",), ("v5",), ("v1", "v2", "v3")]
    assert [slot.size for slot in previews][:2] == [(90, 60), (60, 90)]
    assert turned_out.hidden == ()
    assert 480 < edges(previews)[-1] <= 1024


def test_the_plan_foresees_the_sizes_of_previews_and_sheets(make_pixels: MakePixels) -> None:
    outputs = make_outputs(make_pixels, 6, "flat", edge=900)
    planned = plan_attachments([], _candidates(outputs), (), LARGE)
    turned_out, _ = show(outputs)
    assert turned_out == planned


def test_a_result_full_of_detail_fits_the_default_limit_and_uses_most_of_it(make_pixels: MakePixels) -> None:
    _, previews = show(make_outputs(make_pixels, 4, edge=1024), reserved=3000)
    assert len(previews) == 3
    # Noise is the worst case; it still gets most of what is allowed.
    assert 450_000 < count(previews.values()) <= 897_000


def test_outputs_keep_their_size_longer_than_inputs(make_pixels: MakePixels) -> None:
    photos = {"a1": make_pixels(512, 512, seed=5), "a2": make_pixels(512, 512, seed=6)}
    outputs = make_outputs(make_pixels, 3, edge=512)
    sizes = [
        edges(show(outputs, Policy(max_characters=limit), inputs=photos)[1]) for limit in (2_000_000, 800_000, 90_000)
    ]
    assert sizes[0] == [512] * 5
    assert sizes[1][:2] < sizes[1][2:4]
    assert max(sizes[2][:2]) < min(sizes[2][2:])


@settings(max_examples=60)
@given(
    input_looks=st.lists(st.sampled_from(["noise", "flat", "holes"]), max_size=3),
    output_looks=st.lists(st.sampled_from(["noise", "flat", "holes"]), max_size=6),
    max_characters=st.integers(0, 150_000),
    text=st.text(max_size=800),
)
def test_real_previews_are_never_over_the_cap_and_every_picture_is_accounted_for(
    make_pixels: MakePixels, input_looks: list[str], output_looks: list[str], max_characters: int, text: str
) -> None:
    policy = Policy(max_characters=max_characters, max_edge=160)
    inputs = {f"a{n}": make_pixels(180, 120, look, seed=n) for n, look in enumerate(input_looks)}
    outputs = {f"v{n}": make_pixels(180, 120, look, seed=50 + n) for n, look in enumerate(output_looks)}
    turned_out, previews = show(outputs, policy, count_result(text), inputs)
    total = count_result(text, previews.values())
    assert total <= max_characters or not previews
    accounted = [*turned_out.shown, *(name for name, _ in turned_out.hidden)]
    assert sorted(accounted) == sorted([*inputs, *outputs])
    assert show(outputs, policy, count_result(text), inputs) == (turned_out, previews)


@pytest.mark.parametrize("limit", [10, 40, 90, 300, 1500])
def test_previews_and_sheets_become_smaller_until_their_tokens_fit(make_pixels: MakePixels, limit: int) -> None:
    turned_out, previews = show(make_outputs(make_pixels, 8, "flat", edge=900), Policy(max_tokens=limit))
    assert previews
    assert turned_out.tokens <= limit


def test_tokens_are_those_of_what_a_file_really_holds(make_pixels: MakePixels, tmp_path: Path) -> None:
    Image.fromarray(make_pixels(900, 900, "flat")).save(tmp_path / "grown.png")
    # It is taken for one of 64 pixels.
    turned_out, _ = show({"v1": tmp_path / "grown.png"}, Policy(max_tokens=100))
    assert 50 < turned_out.tokens <= 100


def test_a_model_that_counts_every_size_alike_gets_fewer_pictures_instead_of_smaller_ones(
    make_pixels: MakePixels,
) -> None:
    policy = Policy(max_tokens=2500, counting=find_counting("gemini-3-pro"))
    turned_out, previews = show(make_outputs(make_pixels, 3, "flat", edge=900), policy)
    assert [slot.ids for slot in previews] == [("v2",), ("v3",)]
    assert edges(previews) == [900, 900]
    assert turned_out.hidden == (("v1", Reason.TOO_LARGE),)


def test_when_nothing_is_small_enough_the_newest_outputs_are_kept(make_pixels: MakePixels) -> None:
    outputs = make_outputs(make_pixels, 3, "holes", edge=64)
    photo = {"a1": make_pixels(64, 64, "holes", seed=7)}
    _, previews = show(outputs)
    turned_out, kept = show(outputs, Policy(max_characters=count(list(previews.values())[1:])), inputs=photo)
    assert [slot.ids for slot in kept] == [("v2",), ("v3",)]
    assert turned_out.hidden == (("a1", Reason.TOO_LARGE), ("v1", Reason.TOO_LARGE))


def test_what_the_rest_of_the_result_takes_is_counted(make_pixels: MakePixels) -> None:
    outputs = make_outputs(make_pixels, 2, edge=300)
    free = count(show(outputs, Policy(max_characters=40_000))[1].values())
    tight = count(show(outputs, Policy(max_characters=40_000), 30_000)[1].values())
    assert tight <= 10_000 < free <= 40_000


def test_a_file_that_is_gone_or_broken_does_not_hide_the_others(make_pixels: MakePixels, tmp_path: Path) -> None:
    pixels = make_pixels(50, 40)
    Image.fromarray(pixels).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    files = {"v1": tmp_path / "gone.png", "v2": tmp_path / "broken.png", "v3": tmp_path / "good.png"}
    turned_out, previews = show(files)
    assert [slot.ids for slot in previews] == [("v3",)]
    assert dict(turned_out.hidden) == {"v1": Reason.UNREADABLE, "v2": Reason.UNREADABLE}
    assert list(previews.values()) == list(show({"v3": pixels})[1].values())


@pytest.mark.parametrize(
    ("inputs", "outputs", "shown_before", "policy", "line"),
    [
        (["a1"], ["v3", "v4", "v5"], [], Policy(), "shown: inputs a1 (1/2), outputs v3 v4 v5 (3/3)"),
        (
            ["a1", "v1", "v2"],
            ["v3"],
            ["a1"],
            Policy(max_inputs=1),
            'shown: inputs v1 (1/1), outputs v3 (1/3); already shown: a1; not shown: v2 → review_image(["v2"])',
        ),
        ([], ["v1", "v2", "v3", "v4"], [], Policy(), "shown: outputs v3 v4 [sheet of v1 v2] (3/3)"),
        ([], ["v1"], [], Policy(model_sees=False), "shown to the user, not to you: outputs v1 (1/3)"),
        (
            ["a1"],
            ["v1"],
            [],
            Policy(shows_pictures=False),
            "shown: none; previews are off; the user can open the files",
        ),
        (["a1"], [], ["a1"], Policy(), "shown: none; already shown: a1"),
        (
            [f"a{n}" for n in range(1, 9)],
            [],
            [],
            Policy(max_inputs=0),
            'shown: none; not shown: a1 a2 a3 a4 a5 and 3 more → review_image(["a1", "a2", "a3", "a4", "a5"])',
        ),
    ],
)
def test_one_line_says_what_became_of_each_picture(
    inputs: list[str], outputs: list[str], shown_before: list[str], policy: Policy, line: str
) -> None:
    brought, made = ([Candidate(name, (64, 64)) for name in ids] for ids in (inputs, outputs))
    assert describe_budget(plan_attachments(brought, made, shown_before, policy), policy) == line
