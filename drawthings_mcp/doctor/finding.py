"""What a check says.

Owns the four verdicts and how an error of this package becomes one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from drawthings_mcp.errors import DrawThingsError

Status: TypeAlias = Literal["ok", "warning", "problem", "skipped"]

_NEXT_SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question.

    Attributes
    ----------
    name
        What was looked at, in a word or two; unique within its group.
    status
        ``problem``: something does not work until the remedy is applied. ``warning``: it works, but not as well as
        it could. ``skipped``: could not be told.
    detail
        What was found.
    remedy
        What to do about it, with the switch to flip; empty when there is nothing to do.
    group
        What it belongs to, e.g. ``Server localhost:7859``.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A finding that does not know its name yet, as checks give it."""

    status: Status
    detail: str
    remedy: str = ""

    def name(self, name: str, group: str) -> Finding:
        """The finding under a name in a group."""
        return Finding(name, self.status, self.detail, self.remedy, group)


def ok(detail: str) -> Verdict:
    """All is well."""
    return Verdict("ok", detail)


def warning(detail: str, remedy: str) -> Verdict:
    """It works, but not as well as it could."""
    return Verdict("warning", detail, remedy)


def problem(detail: str, remedy: str) -> Verdict:
    """Something does not work."""
    return Verdict("problem", detail, remedy)


def skipped(detail: str, remedy: str = "") -> Verdict:
    """It could not be told."""
    return Verdict("skipped", detail, remedy)


def blame(error: DrawThingsError, remedy: str = "") -> Verdict:
    """An error as a problem: its first sentence says what is wrong, the others what to do (``errors``).

    Parameters
    ----------
    remedy
        What to do if the error itself does not say.
    """
    detail, *advice = _NEXT_SENTENCE.split(str(error), maxsplit=1)
    return problem(detail.removesuffix("."), advice[0] if advice else remedy)
