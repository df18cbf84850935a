"""Which pictures a result shows, before any of them is opened (contract §6).

Owns the rules. Pure: knows ids and sizes, neither files nor pixels.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from drawthings_mcp.attachments.grid import choose_grid, fit_size
from drawthings_mcp.attachments.ledger import Ledger
from drawthings_mcp.attachments.policy import Policy

_MEDIA_ID = re.compile(r"([apvi])\d+", re.IGNORECASE)
_RANKS = {"a": 0, "p": 1, "v": 2, "i": 2}
"""The user's own pictures say most about what is wanted, those that were made here least (contract §6)."""
_LAST_RANK = 3


class Role(StrEnum):
    """What a picture is to the call."""

    INPUT = "input"
    OUTPUT = "output"


class Reason(StrEnum):
    """Why a picture is not shown."""

    ALREADY_SHOWN = "already shown"
    NO_PLACE = "no place"
    TOO_LARGE = "too large"
    UNREADABLE = "cannot be read"
    NEVER = "previews are off"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture that a result might show.

    Attributes
    ----------
    id
        Media id such as ``v3``.
    size
        Width and height of the picture in pixels, upright.
    """

    id: str
    size: tuple[int, int]

    @property
    def rank(self) -> int:
        """0 for what is shown first among inputs."""
        media_id = _MEDIA_ID.fullmatch(self.id)
        return _RANKS[media_id[1].lower()] if media_id else _LAST_RANK


@dataclass(frozen=True, slots=True)
class Place:
    """One attachment of a result.

    Attributes
    ----------
    ids
        What it shows; several share a labelled contact sheet.
    size
        Width and height of the preview in pixels.
    tokens
        About what it costs a vision model; an estimate (``Policy.pixels_per_token``).
    """

    role: Role
    ids: tuple[str, ...]
    size: tuple[int, int]
    tokens: int

    @property
    def is_sheet(self) -> bool:
        """Whether it is a contact sheet."""
        return len(self.ids) > 1


@dataclass(frozen=True, slots=True)
class Hidden:
    """A picture of the call that is not shown, and why."""

    id: str
    role: Role
    reason: Reason


@dataclass(frozen=True, slots=True)
class Plan:
    """Where every picture of a call went: each id is in exactly one place, or hidden.

    Attributes
    ----------
    places
        In the order in which they are attached: inputs, then outputs from the oldest on, then the contact sheet.
    """

    places: tuple[Place, ...] = ()
    hidden: tuple[Hidden, ...] = ()

    @property
    def shown(self) -> tuple[str, ...]:
        """Ids in the order of the places."""
        return tuple(name for place in self.places for name in place.ids)

    @property
    def tokens(self) -> int:
        """About what all previews together cost a vision model."""
        return sum(place.tokens for place in self.places)

    def list_places(self, role: Role) -> tuple[Place, ...]:
        """The places of inputs, or of outputs."""
        return tuple(place for place in self.places if place.role is role)

    def hide(self, ids: Collection[str], reason: Reason) -> Plan:
        """The same without some pictures, which are then listed as hidden."""
        hidden = [Hidden(name, place.role, reason) for place in self.places for name in place.ids if name in ids]
        left = [replace(place, ids=tuple(name for name in place.ids if name not in ids)) for place in self.places]
        return Plan(tuple(place for place in left if place.ids), (*self.hidden, *hidden))


def plan(inputs: Sequence[Candidate], outputs: Sequence[Candidate], ledger: Ledger, policy: Policy) -> Plan:
    """Give the places of a result to the pictures of a call.

    Inputs that the session has not seen yet get places, the user's own first; outputs get places from the newest on,
    and when there are more of them than places, the last place is one contact sheet of the rest.

    Parameters
    ----------
    inputs
        In the order of the call.
    outputs
        Oldest first. What is an input as well counts as an output; what comes twice counts once.
    """
    made = _drop_repeated(outputs)
    brought = _drop_repeated(inputs, without={candidate.id for candidate in made})
    if not policy.shows_pictures:
        return Plan(hidden=(*_hide(brought, Role.INPUT, Reason.NEVER), *_hide(made, Role.OUTPUT, Reason.NEVER)))
    chosen, left_out = _plan_inputs(brought, ledger, policy), _plan_outputs(made, policy)
    return Plan((*chosen.places, *left_out.places), (*chosen.hidden, *left_out.hidden))


def _plan_inputs(inputs: Sequence[Candidate], ledger: Ledger, policy: Policy) -> Plan:
    fresh = [candidate for candidate in inputs if candidate.id not in ledger]
    first = sorted(fresh, key=lambda candidate: candidate.rank)[: policy.max_inputs]
    places = tuple(_give_place(Role.INPUT, candidate, policy) for candidate in inputs if candidate in first)
    hidden = [
        Hidden(candidate.id, Role.INPUT, Reason.NO_PLACE if candidate in fresh else Reason.ALREADY_SHOWN)
        for candidate in inputs
        if candidate not in first
    ]
    return Plan(places, tuple(hidden))


def _plan_outputs(outputs: Sequence[Candidate], policy: Policy) -> Plan:
    if policy.max_outputs == 0:
        return Plan(hidden=_hide(outputs, Role.OUTPUT, Reason.NO_PLACE))
    if len(outputs) <= policy.max_outputs:
        return Plan(tuple(_give_place(Role.OUTPUT, candidate, policy) for candidate in outputs))
    first_single = len(outputs) - (policy.max_outputs - 1)
    first_on_sheet = max(0, first_single - policy.max_sheet)
    singles = (_give_place(Role.OUTPUT, candidate, policy) for candidate in outputs[first_single:])
    sheet = _give_sheet(outputs[first_on_sheet:first_single], policy)
    return Plan((*singles, sheet), _hide(outputs[:first_on_sheet], Role.OUTPUT, Reason.NO_PLACE))


def _give_place(role: Role, candidate: Candidate, policy: Policy) -> Place:
    size = fit_size(candidate.size, policy.max_edge)
    return Place(role, (candidate.id,), size, policy.estimate_tokens(size))


def _give_sheet(candidates: Sequence[Candidate], policy: Policy) -> Place:
    size = choose_grid([candidate.size for candidate in candidates], policy.max_edge).size
    return Place(Role.OUTPUT, tuple(candidate.id for candidate in candidates), size, policy.estimate_tokens(size))


def _hide(candidates: Iterable[Candidate], role: Role, reason: Reason) -> tuple[Hidden, ...]:
    return tuple(Hidden(candidate.id, role, reason) for candidate in candidates)


def _drop_repeated(candidates: Iterable[Candidate], without: Collection[str] = ()) -> list[Candidate]:
    by_id = {candidate.id: candidate for candidate in candidates if candidate.id not in without}
    return list(by_id.values())
