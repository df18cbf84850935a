"""What a server does not survive or silently does in another way: one small function for each, by subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.planning.context import Context


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a server does not survive, or does in another way than it was asked.

    Attributes
    ----------
    section
        Where the protocol says so.
    find
        The problem of a request in plain sentences, with what to do about it; None when there is none.
    refuses
        Whether the request must not be sent; it is only worth a warning otherwise.
    about
        The parameter or field whose problem it is; empty when it is none's alone.
    """

    section: str
    find: Callable[[Context], str | None]
    refuses: bool
    about: str = ""


def refuse(section: str, find: Callable[[Context], str | None], about: str = "") -> Rule:
    """A rule whose problems keep a request from being sent."""
    return Rule(section, find, refuses=True, about=about)


def warn(section: str, find: Callable[[Context], str | None]) -> Rule:
    """A rule whose problems are only reported."""
    return Rule(section, find, refuses=False)


def apply_rules(rules: Iterable[Rule], context: Context) -> tuple[str, ...]:
    """The warnings about a request; the first problem that keeps it from being sent is raised."""
    warnings = []
    for rule in rules:
        problem = rule.find(context)
        if problem and rule.refuses:
            raise InvalidInputError(problem, parameter=rule.about)
        if problem:
            warnings.append(problem)
    return tuple(warnings)
