"""Which pictures a result shows, decided before any of them is opened, and the line that says so.

Pure: knows ids and sizes, neither files nor pixels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from drawthings_mcp.attachments.grid import choose_grid, fit_size
from drawthings_mcp.attachments.policy import Policy

if TYPE_CHECKING:
    from drawthings_mcp.attachments.preview import PreparedPicture
    from drawthings_mcp.tensors.pixels import ImageLike

_MEDIA_ID = re.compile(r"([apvi])\d+", re.IGNORECASE)
_RANKS = {"a": 0, "p": 1, "v": 2, "i": 2}
"""The user's own pictures say most about what is wanted, those that were made here least."""
_LAST_RANK = 3
_PER_REVIEW = 5
"""Pictures that one call of ``review_image`` takes."""
_HEADS = {None: "shown", True: "shown", False: "shown to the user, not to you"}
_OFF = {None: "previews are off", True: "previews are off", False: "this client passes no pictures on to you"}

_SMALL = ': one small preview until review_image(images=["sight"]) proves it'
_LATE = "this client passes pictures on with the user's next message: before that you have not seen them"


class Reason(StrEnum):
    """Why a picture is not shown."""

    ALREADY_SHOWN = "already shown"
    NO_PLACE = "no place"
    TOO_LARGE = "too large"
    UNREADABLE = "cannot be read"
    NEVER = "previews are off"


class Showable(Protocol):
    """A picture that a result might show."""

    @property
    def id(self) -> str:
        """Media id such as ``v3``."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, upright; 0 where they are not known."""

    @property
    def source(self) -> ImageLike | PreparedPicture:
        """What shows it: a path, the bytes of a file, an array, or a preview that is ready."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One attachment of a result.

    Attributes
    ----------
    ids
        What it shows; several share a labelled contact sheet.
    is_output
        Whether it shows what the call made, rather than what it started from.
    size
        Width and height of the preview in pixels.
    tokens
        About what it costs a vision model; an estimate (``Policy.counting``).
    """

    ids: tuple[str, ...]
    is_output: bool
    size: tuple[int, int]
    tokens: int

    @property
    def is_sheet(self) -> bool:
        """Whether it is a contact sheet."""
        return len(self.ids) > 1


@dataclass(frozen=True, slots=True)
class AttachmentPlan:
    """Where every picture of a call went: each id is in exactly one slot, or hidden.

    Attributes
    ----------
    slots
        In the order in which they are attached: inputs, then outputs from the oldest on, then the contact sheet.
    hidden
        Ids that are not shown, and why.
    """

    slots: tuple[Slot, ...] = ()
    hidden: tuple[tuple[str, Reason], ...] = ()

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """Slots of what the call started from."""
        return tuple(slot for slot in self.slots if not slot.is_output)

    @property
    def outputs(self) -> tuple[Slot, ...]:
        """Slots of what the call made."""
        return tuple(slot for slot in self.slots if slot.is_output)

    @property
    def shown(self) -> tuple[str, ...]:
        """Ids in the order of the slots."""
        return tuple(name for slot in self.slots for name in slot.ids)

    @property
    def tokens(self) -> int:
        """About what all previews together cost a vision model."""
        return sum(slot.tokens for slot in self.slots)

    def hide(self, ids: Collection[str], reason: Reason) -> AttachmentPlan:
        """The same without some pictures, which are then listed as hidden."""
        hidden = [(name, reason) for name in self.shown if name in ids]
        left = [replace(slot, ids=tuple(name for name in slot.ids if name not in ids)) for slot in self.slots]
        return AttachmentPlan(tuple(slot for slot in left if slot.ids), (*self.hidden, *hidden))


def plan_attachments(
    inputs: Sequence[Showable], outputs: Sequence[Showable], shown_before: Collection[str], policy: Policy
) -> AttachmentPlan:
    """Give the slots of a result to the pictures of a call.

    Inputs that the session has not seen yet get slots, the user's own first; outputs get slots from the newest on,
    and when there are more of them than slots, the last one is a contact sheet of the rest.

    Parameters
    ----------
    inputs
        In the order of the call.
    outputs
        Oldest first. What is an input as well counts as an output; what comes twice counts once.
    shown_before
        Ids that earlier results of the session showed.
    """
    made = _drop_repeated(outputs)
    brought = _drop_repeated(inputs, without={picture.id for picture in made})
    if not policy.shows_pictures:
        return AttachmentPlan(hidden=(*_hide(brought, Reason.NEVER), *_hide(made, Reason.NEVER)))
    first, last = _plan_inputs(brought, shown_before, policy), _plan_outputs(made, policy)
    return AttachmentPlan((*first.slots, *last.slots), (*first.hidden, *last.hidden))


def _plan_inputs(inputs: Sequence[Showable], shown_before: Collection[str], policy: Policy) -> AttachmentPlan:
    fresh = [picture for picture in inputs if picture.id not in shown_before]
    chosen = {picture.id for picture in sorted(fresh, key=_rank)[: policy.max_inputs]}
    slots = tuple(_give_slot(picture, policy, is_output=False) for picture in inputs if picture.id in chosen)
    hidden = [
        (picture.id, Reason.ALREADY_SHOWN if picture.id in shown_before else Reason.NO_PLACE)
        for picture in inputs
        if picture.id not in chosen
    ]
    return AttachmentPlan(slots, tuple(hidden))


def _plan_outputs(outputs: Sequence[Showable], policy: Policy) -> AttachmentPlan:
    if policy.max_outputs == 0:
        return AttachmentPlan(hidden=_hide(outputs, Reason.NO_PLACE))
    if len(outputs) <= policy.max_outputs:
        return AttachmentPlan(tuple(_give_slot(picture, policy, is_output=True) for picture in outputs))
    first_single = len(outputs) - (policy.max_outputs - 1)
    first_on_sheet = max(0, first_single - policy.max_sheet)
    singles = (_give_slot(picture, policy, is_output=True) for picture in outputs[first_single:])
    sheet = _give_sheet(outputs[first_on_sheet:first_single], policy)
    return AttachmentPlan((*singles, sheet), _hide(outputs[:first_on_sheet], Reason.NO_PLACE))


def _rank(picture: Showable) -> int:
    """0 for what is shown first among inputs."""
    media_id = _MEDIA_ID.fullmatch(picture.id)
    return _RANKS[media_id[1].lower()] if media_id else _LAST_RANK


def _give_slot(picture: Showable, policy: Policy, *, is_output: bool) -> Slot:
    size = fit_size(_get_size(picture, policy), policy.max_edge)
    return Slot((picture.id,), is_output, size, policy.counting.count(size))


def _give_sheet(pictures: Sequence[Showable], policy: Policy) -> Slot:
    size = choose_grid([_get_size(picture, policy) for picture in pictures], policy.max_edge).size
    return Slot(tuple(picture.id for picture in pictures), True, size, policy.counting.count(size))


def _get_size(picture: Showable, policy: Policy) -> tuple[int, int]:
    return picture.size if all(picture.size) else (policy.max_edge, policy.max_edge)


def _hide(pictures: Iterable[Showable], reason: Reason) -> tuple[tuple[str, Reason], ...]:
    return tuple((picture.id, reason) for picture in pictures)


def _drop_repeated(pictures: Iterable[Showable], without: Collection[str] = ()) -> list[Showable]:
    by_id = {picture.id: picture for picture in pictures if picture.id not in without}
    return list(by_id.values())


def describe_budget(plan: AttachmentPlan, policy: Policy) -> str:
    """The budget line: what was attached; never that anybody saw it.

    For example ``shown: inputs a1 (1/2), outputs v3 v4 v5 (3/3); not shown: v6 → review_image(["v6"])``. What an
    earlier result showed is listed as ``already shown``, a contact sheet as ``sheet of v1 v2``.
    """
    rows = (("inputs", plan.inputs, policy.max_inputs), ("outputs", plan.outputs, policy.max_outputs))
    shown = ", ".join(f"{name} {_list_slots(slots)} ({len(slots)}/{most})" for name, slots, most in rows if slots)
    head = f"{_HEADS[policy.model_sees]}: {shown}" if shown else "shown: none"
    return "; ".join([head, *_describe_hidden(plan, policy)])


def describe_sight(plan: AttachmentPlan, policy: Policy, seen: bool | None) -> str:
    """The end of the budget line: whether the model proved that it sees what is attached, and what that costs it."""
    if not plan.slots:
        return ""
    parts = [
        "sight proven" if seen else "sight unproven" + (_SMALL if policy.is_careful else ""),
        *([_LATE] if policy.is_late else []),
        *([f"~{plan.tokens:,} tokens"] if policy.model_sees is not False else []),
    ]
    return "".join(f"; {part}" for part in parts)


def _list_slots(slots: Iterable[Slot]) -> str:
    return " ".join(f"[sheet of {' '.join(slot.ids)}]" if slot.is_sheet else slot.ids[0] for slot in slots)


def _describe_hidden(plan: AttachmentPlan, policy: Policy) -> list[str]:
    by_reason = {reason: [name for name, why in plan.hidden if why is reason] for reason in Reason}
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
