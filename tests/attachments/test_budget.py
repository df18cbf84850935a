"""The plan: which pictures of a call get a place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawthings_mcp.attachments import Candidate, Ledger, Plan, Policy, Preview, Reason, Role, count_result, plan
from drawthings_mcp.attachments.budget import Place
from drawthings_mcp.attachments.size_steps import Rung, descend

SIZE = (1024, 768)


def candidates(*ids: str) -> list[Candidate]:
    return [Candidate(name, SIZE) for name in ids]


def shown(made: Plan, role: Role) -> list[tuple[str, ...]]:
    return [place.ids for place in made.list_places(role)]


def hidden(made: Plan) -> dict[str, Reason]:
    return {picture.id: picture.reason for picture in made.hidden}


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
    made = plan([], candidates(*ids), Ledger(), Policy())
    assert shown(made, Role.OUTPUT) == places
    assert made.hidden == ()


def test_a_sheet_holds_what_can_be_told_apart_and_the_oldest_find_no_place() -> None:
    ids = [f"v{number}" for number in range(1, 31)]
    made = plan([], candidates(*ids), Ledger(), Policy())
    assert shown(made, Role.OUTPUT) == [("v29",), ("v30",), tuple(ids[3:28])]
    assert hidden(made) == dict.fromkeys(ids[:3], Reason.NO_PLACE)


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
    made = plan(candidates(*ids), [], Ledger(), Policy())
    assert shown(made, Role.INPUT) == [(name,) for name in places]
    assert hidden(made) == dict.fromkeys((name for name in ids if name not in places), Reason.NO_PLACE)


def test_an_input_is_shown_once_per_session_and_an_output_whenever_it_is_one() -> None:
    ledger = Ledger().record(["a1", "v1", "v2"])
    made = plan(candidates("a1", "v1", "a2"), candidates("v2"), ledger, Policy())
    assert shown(made, Role.INPUT) == [("a2",)]
    assert shown(made, Role.OUTPUT) == [("v2",)]
    assert hidden(made) == {"a1": Reason.ALREADY_SHOWN, "v1": Reason.ALREADY_SHOWN}


def test_a_ledger_says_which_result_showed_a_picture_last_and_is_itself_never_changed() -> None:
    first = Ledger().record(["a1", "v1"])
    second = first.record(["v1", "v2"])
    assert (first.results, dict(first.shown)) == (1, {"a1": 1, "v1": 1})
    assert (second.results, dict(second.shown)) == (2, {"a1": 1, "v1": 2, "v2": 2})


def test_a_picture_that_comes_twice_has_one_place() -> None:
    made = plan(candidates("a1", "a1", "v1"), candidates("v1", "v1"), Ledger(), Policy())
    assert [place.ids for place in made.places] == [("a1",), ("v1",)]
    assert made.hidden == ()


def test_without_previews_everything_is_hidden() -> None:
    made = plan(candidates("a1"), candidates("v1"), Ledger().record(["a1"]), Policy(shows_pictures=False))
    assert made.places == ()
    assert hidden(made) == {"a1": Reason.NEVER, "v1": Reason.NEVER}


def test_tokens_are_estimated_from_the_size_of_the_previews() -> None:
    made = plan([Candidate("a1", (4096, 2048))], [Candidate("v1", (300, 200))], Ledger(), Policy())
    assert [(place.size, place.tokens) for place in made.places] == [((1024, 512), 700), ((300, 200), 80)]
    assert made.tokens == 780
    assert plan([], candidates("v1"), Ledger(), Policy(pixels_per_token=1)).tokens == 1024 * 768


IDS = st.sampled_from([f"{kind}{number}" for kind in "avpi" for number in range(1, 8)])
SIZES = st.sampled_from([(1024, 1024), (832, 1216), (30_000, 64), (1, 1), (8192, 8192), (500, 300)])
CANDIDATES = st.lists(st.builds(Candidate, IDS, SIZES), max_size=12)
LEDGERS = st.builds(Ledger().record, st.lists(IDS, max_size=8))
POLICIES = st.builds(
    Policy,
    max_inputs=st.integers(0, 2),
    max_outputs=st.integers(0, 3),
    max_sheet=st.integers(2, 25),
    max_characters=st.integers(0, 900_000),
    max_edge=st.integers(64, 1568),
    shows_pictures=st.booleans(),
)


def make_preview(place: Place, rung: Rung) -> Preview:
    """What an encoder would make, without pixels: bytes by size and quality, more or less."""
    edge = min(rung.max_edge, max(place.size))
    detail = 1 + sum(map(ord, "".join(place.ids))) % 7
    return Preview(bytes(edge * edge * rung.quality * detail // 1500), "image/jpeg", edge, edge)


@settings(max_examples=2000, deadline=None)
@given(CANDIDATES, CANDIDATES, LEDGERS, POLICIES)
def test_every_plan_keeps_the_rules(
    inputs: list[Candidate], outputs: list[Candidate], ledger: Ledger, policy: Policy
) -> None:
    before = dict(ledger.shown)
    made = plan(inputs, outputs, ledger, policy)
    assert made == plan(list(inputs), list(outputs), ledger, policy)
    assert ledger.shown == before
    # Never more than there are places.
    assert len(made.list_places(Role.INPUT)) <= policy.max_inputs
    assert len(made.list_places(Role.OUTPUT)) <= policy.max_outputs
    assert all(len(place.ids) <= policy.max_sheet for place in made.places)
    assert made.places == (*made.list_places(Role.INPUT), *made.list_places(Role.OUTPUT))
    # Every picture of the call is accounted for exactly once.
    accounted = [*made.shown, *(picture.id for picture in made.hidden)]
    assert sorted(accounted) == sorted({candidate.id for candidate in (*inputs, *outputs)})
    # No input is shown twice, in this call or in the session.
    assert not any(name in ledger for place in made.list_places(Role.INPUT) for name in place.ids)
    after = plan(inputs, [], ledger.record(made.shown), policy)
    assert not set(made.shown) & set(after.shown)


@settings(max_examples=500, deadline=None)
@given(CANDIDATES, CANDIDATES, LEDGERS, POLICIES, st.text(max_size=900))
def test_no_result_is_over_the_cap(
    inputs: list[Candidate], outputs: list[Candidate], ledger: Ledger, policy: Policy, text: str
) -> None:
    made = plan(inputs, outputs, ledger, policy)
    reserved = count_result(text)
    previews = descend(made.places, make_preview, policy, policy.max_characters - reserved)
    assert count_result(text, previews.values()) <= policy.max_characters or not previews
    assert list(previews) == [place for place in made.places if place in previews]
    # What finds no room is the least important: no input stays that is as small as an output that goes.
    last_rung = Rung(64, 20)
    lost = [place for place in made.list_places(Role.OUTPUT) if place not in previews]
    for place in previews if lost else ():
        if place.role is Role.INPUT:
            least = min(make_preview(output, last_rung).characters for output in lost)
            assert make_preview(place, last_rung).characters < least
