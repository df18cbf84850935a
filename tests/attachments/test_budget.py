"""The plan: which pictures of a call get a slot."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawthings_mcp.attachments.budget import Reason, Slot, plan_attachments
from drawthings_mcp.attachments.encoding import count_result, fit_previews
from drawthings_mcp.attachments.grid import fit_size
from drawthings_mcp.attachments.policy import Policy
from drawthings_mcp.attachments.preview import Preview, SizeStep
from drawthings_mcp.attachments.tokens import find_counting
from tests.attachments.candidate import Candidate

SIZE = (1024, 768)


def candidates(*ids: str) -> list[Candidate]:
    return [Candidate(name, SIZE) for name in ids]


def list_ids(slots: Iterable[Slot]) -> list[tuple[str, ...]]:
    return [slot.ids for slot in slots]


@pytest.mark.parametrize(
    ("ids", "places"),
    [
        ([], []),
        (["v1"], [("v1",)]),
        (["v1", "v2", "v3"], [("v1",), ("v2",), ("v3",)]),
        (["v1", "v2", "v3", "v4"], [("v3",), ("v4",), ("v1", "v2")]),
        (["v1", "v2", "v3", "v4", "v5", "v6"], [("v5",), ("v6",), ("v1", "v2", "v3", "v4")]),
    ],
)
def test_more_outputs_than_places_end_in_a_contact_sheet_of_the_oldest(
    ids: list[str], places: list[tuple[str, ...]]
) -> None:
    made = plan_attachments([], candidates(*ids), (), Policy())
    assert list_ids(made.outputs) == places
    assert made.hidden == ()


def test_a_sheet_holds_what_can_be_told_apart_and_the_oldest_find_no_place() -> None:
    ids = [f"v{number}" for number in range(1, 31)]
    made = plan_attachments([], candidates(*ids), (), Policy())
    assert list_ids(made.outputs) == [("v29",), ("v30",), tuple(ids[3:28])]
    assert dict(made.hidden) == dict.fromkeys(ids[:3], Reason.NO_PLACE)


@pytest.mark.parametrize(
    ("ids", "places"),
    [
        (["v1", "a1"], ["v1", "a1"]),
        (["v1", "p1", "a1"], ["p1", "a1"]),
        (["i1", "v1", "p1", "P2"], ["p1", "P2"]),
        (["v2", "i1", "v1"], ["v2", "i1"]),
        (["holiday", "v1", "i1"], ["v1", "i1"]),
        (["a1", "a2", "a3"], ["a1", "a2"]),
    ],
)
def test_the_users_own_inputs_come_before_found_ones_and_those_before_generated_ones(
    ids: list[str], places: list[str]
) -> None:
    made = plan_attachments(candidates(*ids), [], (), Policy())
    assert list_ids(made.inputs) == [(name,) for name in places]
    assert dict(made.hidden) == dict.fromkeys((name for name in ids if name not in places), Reason.NO_PLACE)


def test_an_input_is_shown_once_per_session_and_an_output_whenever_it_is_one() -> None:
    made = plan_attachments(candidates("a1", "v1", "a2"), candidates("v2"), {"a1", "v1", "v2"}, Policy())
    assert list_ids(made.inputs) == [("a2",)]
    assert list_ids(made.outputs) == [("v2",)]
    assert dict(made.hidden) == {"a1": Reason.ALREADY_SHOWN, "v1": Reason.ALREADY_SHOWN}


def test_a_picture_that_comes_twice_has_one_place() -> None:
    made = plan_attachments(candidates("a1", "a1", "v1"), candidates("v1", "v1"), (), Policy())
    assert [slot.ids for slot in made.slots] == [("a1",), ("v1",)]
    assert made.hidden == ()


def test_without_previews_everything_is_hidden() -> None:
    made = plan_attachments(candidates("a1"), candidates("v1"), {"a1"}, Policy(shows_pictures=False))
    assert made.slots == ()
    assert dict(made.hidden) == {"a1": Reason.NEVER, "v1": Reason.NEVER}


def test_tokens_are_estimated_from_the_size_of_the_previews() -> None:
    made = plan_attachments([Candidate("a1", (4096, 2048))], [Candidate("v1", (300, 200))], (), Policy())
    assert [(slot.size, slot.tokens) for slot in made.slots] == [((1024, 512), 700), ((300, 200), 80)]
    assert made.tokens == 780
    assert plan_attachments([], candidates("v1"), (), Policy(counting=find_counting("gpt-4o"))).tokens == 765


IDS = st.sampled_from([f"{kind}{number}" for kind in "avpi" for number in range(1, 8)])
SIZES = st.sampled_from([(1024, 1024), (832, 1216), (30_000, 64), (1, 1), (8192, 8192), (500, 300)])
CANDIDATES = st.lists(st.builds(Candidate, IDS, SIZES), max_size=12)
EARLIER = st.sets(IDS, max_size=8)
POLICIES = st.builds(
    Policy,
    max_inputs=st.integers(0, 2),
    max_outputs=st.integers(0, 3),
    max_sheet=st.integers(2, 25),
    max_characters=st.integers(0, 900_000),
    max_tokens=st.integers(0, 10_000),
    counting=st.sampled_from([find_counting(model) for model in ("", "gpt-4o", "gemini-2.5-pro", "gemini-3")]),
    max_edge=st.integers(64, 1568),
    shows_pictures=st.booleans(),
)


def make_preview(slot: Slot, step: SizeStep) -> Preview:
    """What an encoder would make, without pixels: bytes by size and quality, more or less."""
    width, height = fit_size(slot.size, step.max_edge)
    detail = 1 + sum(map(ord, "".join(slot.ids))) % 7
    return Preview(bytes(max(width, height) ** 2 * step.quality * detail // 1500), "image/jpeg", width, height)


@settings(max_examples=600)
@given(CANDIDATES, CANDIDATES, EARLIER, POLICIES)
def test_every_plan_keeps_the_rules(
    inputs: list[Candidate], outputs: list[Candidate], earlier: set[str], policy: Policy
) -> None:
    before = set(earlier)
    made = plan_attachments(inputs, outputs, earlier, policy)
    assert made == plan_attachments(list(inputs), list(outputs), earlier, policy)
    assert earlier == before
    # Never more than there are places.
    assert len(made.inputs) <= policy.max_inputs
    assert len(made.outputs) <= policy.max_outputs
    assert all(len(slot.ids) <= policy.max_sheet for slot in made.slots)
    assert made.slots == (*made.inputs, *made.outputs)
    # Every picture of the call is accounted for exactly once.
    accounted = [*made.shown, *(name for name, _ in made.hidden)]
    assert sorted(accounted) == sorted({candidate.id for candidate in (*inputs, *outputs)})
    # No input is shown twice, in this call or in the session.
    assert not any(name in earlier for slot in made.inputs for name in slot.ids)
    after = plan_attachments(inputs, [], {*earlier, *made.shown}, policy)
    assert not set(made.shown) & set(after.shown)


@settings(max_examples=200)
@given(CANDIDATES, CANDIDATES, EARLIER, POLICIES, st.text(max_size=900))
def test_no_result_is_over_the_caps_of_characters_and_tokens(
    inputs: list[Candidate], outputs: list[Candidate], earlier: set[str], policy: Policy, text: str
) -> None:
    made = plan_attachments(inputs, outputs, earlier, policy)
    reserved = count_result(text)
    previews = fit_previews(made, make_preview, policy, policy.max_characters - reserved)
    assert count_result(text, previews.values()) <= policy.max_characters or not previews
    assert list(previews) == [slot for slot in made.slots if slot in previews]
    assert sum(policy.counting.count((shown.width, shown.height)) for shown in previews.values()) <= policy.max_tokens
    # What finds no room is the least important: no input stays that costs as little as an output that goes.
    last_step = SizeStep(64, 20)
    lost = [slot for slot in made.outputs if slot not in previews]
    for slot in previews if lost else ():
        if not slot.is_output:
            small, smaller = make_preview(slot, last_step), [make_preview(output, last_step) for output in lost]
            assert small.characters < min(output.characters for output in smaller) or policy.counting.count(
                (small.width, small.height)
            ) < min(policy.counting.count((output.width, output.height)) for output in smaller)
