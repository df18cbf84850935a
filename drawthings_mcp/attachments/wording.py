"""What became of the pictures of a call, in one line of text (contract §5).

Owns the wording. It says what was attached, never that anybody saw it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from drawthings_mcp.attachments.budget import Place, Plan, Reason, Role
from drawthings_mcp.attachments.policy import Policy

_PER_REVIEW = 5
"""Pictures that one call of ``review_image`` takes (contract §5)."""
_HEADS = {None: "shown", True: "shown", False: "shown to the user, not to you"}
_OFF = {None: "previews are off", True: "previews are off", False: "this client passes no pictures on to you"}


def describe_budget(plan: Plan, policy: Policy) -> str:
    """The budget line.

    For example ``shown: inputs a1 (1/2), outputs v3 v4 v5 (3/3); not shown: v6 → review_image(["v6"])``. What an
    earlier result showed is listed as ``already shown``, a contact sheet as ``sheet of v1 v2``.
    """
    parts = [
        f"{_HEADS[policy.model_sees]}: {places}" if (places := _describe_places(plan, policy)) else "shown: none",
        *_describe_hidden(plan, policy),
    ]
    return "; ".join(parts)


def _describe_places(plan: Plan, policy: Policy) -> str:
    rows = (("inputs", Role.INPUT, policy.max_inputs), ("outputs", Role.OUTPUT, policy.max_outputs))
    return ", ".join(
        f"{name} {_list_places(places)} ({len(places)}/{most})"
        for name, role, most in rows
        if (places := plan.list_places(role))
    )


def _list_places(places: Iterable[Place]) -> str:
    return " ".join(f"[sheet of {' '.join(place.ids)}]" if place.is_sheet else place.ids[0] for place in places)


def _describe_hidden(plan: Plan, policy: Policy) -> list[str]:
    by_reason = {reason: [hidden.id for hidden in plan.hidden if hidden.reason is reason] for reason in Reason}
    off, known = by_reason.pop(Reason.NEVER), by_reason.pop(Reason.ALREADY_SHOWN)
    unreadable, left = by_reason.pop(Reason.UNREADABLE), [name for ids in by_reason.values() for name in ids]
    parts = [
        (off, f"{_OFF[policy.model_sees]}; the user can open the files"),
        (known, f"already shown: {_list_ids(known)}"),
        (unreadable, f"cannot be read: {_list_ids(unreadable)}"),
        (left, f"not shown: {_list_ids(left)} → review_image({json.dumps(left[:_PER_REVIEW])})"),
    ]
    return [text for ids, text in parts if ids]


def _list_ids(ids: Sequence[str]) -> str:
    more = len(ids) - _PER_REVIEW
    return " ".join(ids[:_PER_REVIEW]) + (f" and {more} more" if more > 0 else "")
