"""The plan for outputs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawthings_mcp.attachments import OutputPlan, Policy, plan_outputs
from drawthings_mcp.errors import InvalidInputError


@pytest.mark.parametrize(
    ("ids", "plan"),
    [
        ([], OutputPlan()),
        (["v1"], OutputPlan(singles=("v1",))),
        (["v1", "v2", "v3"], OutputPlan(singles=("v1", "v2", "v3"))),
        (["v1", "v2", "v3", "v4"], OutputPlan(singles=("v3", "v4"), sheet=("v1", "v2"))),
        (["v1", "v2", "v3", "v4", "v5", "v6"], OutputPlan(singles=("v5", "v6"), sheet=("v1", "v2", "v3", "v4"))),
    ],
)
def test_three_places_hold_any_number_of_outputs(ids: list[str], plan: OutputPlan) -> None:
    assert plan_outputs(ids, Policy()) == plan


@given(st.integers(0, 50), st.integers(0, 6))
def test_every_output_has_exactly_one_place(count: int, places: int) -> None:
    ids = [f"v{number}" for number in range(count)]
    plan = plan_outputs(ids, Policy(max_outputs=places))
    assert len(plan.singles) + bool(plan.sheet) <= places
    # A sheet of one picture would waste the place; the oldest are on the sheet.
    assert len(plan.sheet) != 1 or places == 1
    assert [*plan.sheet, *plan.singles] == (ids if places else [])


@pytest.mark.parametrize(
    "fields", [{"max_outputs": -1}, {"max_characters": -1}, {"max_edge": 0}, {"quality": 0}, {"quality": 96}]
)
def test_a_policy_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(fields))):
        Policy(**fields)
