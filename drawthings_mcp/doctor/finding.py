"""What a check says, and how an error of this package becomes a finding."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeAlias, TypeVar

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.faces import Face, Text, say

FindingStatus: TypeAlias = Literal["ok", "warning", "problem", "skipped"]

SubjectT = TypeVar("SubjectT")

_NEXT_SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z{])")


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question.

    ``name`` says what was looked at, in a word or two, unique within its ``group``, e.g. ``Server localhost:7859``; a
    check leaves both empty. ``problem``: something does not work until the remedy is applied. ``warning``: it works,
    but not as well as it could. ``skipped``: it could not be told. ``remedy`` says what to do about it, with the switch
    to flip; empty when there is nothing to do.
    """

    name: str
    status: FindingStatus
    detail: str
    remedy: str = ""
    group: str = ""

    def word(self, face: Face) -> Self:
        """The finding in the words of a face."""
        return replace(self, detail=face.word(self.detail), remedy=face.word(self.remedy))


Check: TypeAlias = Callable[[SubjectT], Finding]


def ok(detail: str) -> Finding:
    """All is well."""
    return Finding("", "ok", detail)


def warning(detail: str, remedy: str) -> Finding:
    """It works, but not as well as it could."""
    return Finding("", "warning", detail, remedy)


def problem(detail: str, remedy: str) -> Finding:
    """Something does not work."""
    return Finding("", "problem", detail, remedy)


def skipped(detail: str, remedy: str = "") -> Finding:
    """It could not be told."""
    return Finding("", "skipped", detail, remedy)


def blame(error: DrawThingsError, remedy: str = "") -> Finding:
    """An error as a problem: its first sentence says what is wrong, the others what to do, or else ``remedy``."""
    detail, *advice = _split(error.problem)
    if error.parameter:
        detail = Text(f"{{{error.parameter}}}: {{detail}}", detail=say(detail))
    return problem(detail, advice[0] if advice else remedy)


def _split(text: str) -> list[str]:
    """The first sentence, and the others if there are any; those of a ``Text`` can still be worded."""
    first, *others = _NEXT_SENTENCE.split(text.template if isinstance(text, Text) else text, maxsplit=1)
    parts = [first.removesuffix("."), *others]
    return [Text(part, **text.facts) for part in parts] if isinstance(text, Text) else parts
