"""A rule, and how rules are applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.planning.context import Case


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a server does not survive, or does otherwise than it was asked.

    Attributes
    ----------
    section
        Where the protocol says so.
    find
        The problem of a case in plain sentences, with what to do about it; None when there is none.
    refuses
        Whether the request must not be sent; it is only worth a warning otherwise.
    """

    section: str
    find: Callable[[Case], str | None]
    refuses: bool


def refuse(section: str, find: Callable[[Case], str | None]) -> Rule:
    """A rule whose problems keep a request from being sent."""
    return Rule(section, find, refuses=True)


def warn(section: str, find: Callable[[Case], str | None]) -> Rule:
    """A rule whose problems are only told."""
    return Rule(section, find, refuses=False)


def apply_rules(rules: Iterable[Rule], case: Case) -> tuple[str, ...]:
    """The warnings about a case.

    Raises
    ------
    InvalidInputError
        The first problem that keeps it from being sent.
    """
    warnings = []
    for rule in rules:
        problem = rule.find(case)
        if problem and rule.refuses:
            raise InvalidInputError(problem)
        if problem:
            warnings.append(problem)
    return tuple(warnings)
