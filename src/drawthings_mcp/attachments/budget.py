"""Which pictures a model gets to see, before any of them is opened (contract §6).

Owns the rules. Pure: knows ids and limits, neither files nor pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drawthings_mcp.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of one tool result.

    Attributes
    ----------
    max_outputs, max_inputs
        Places for pictures of each sort; a contact sheet takes one place.
    max_characters
        Of the whole result, text and all. Popular clients refuse 1,048,576 (contract §6, design §6).
    max_edge
        Longest side of a preview in pixels.
    quality
        JPEG quality of a preview, 1 to 95.
    """

    max_outputs: int = 3
    max_inputs: int = 2
    max_characters: int = 900_000
    max_edge: int = 1024
    quality: int = 85

    def __post_init__(self) -> None:
        for name, least, most in (
            ("max_outputs", 0, 100),
            ("max_inputs", 0, 100),
            ("max_characters", 0, 100_000_000),
            ("max_edge", 64, 8192),
            ("quality", 1, 95),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise InvalidInputError(f"{name}: must be from {least} to {most}, got {value}.")


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """What is shown of the outputs, in the order in which they were made.

    Attributes
    ----------
    singles
        Shown one by one.
    sheet
        Shown together on one labelled contact sheet.
    """

    singles: tuple[str, ...] = ()
    sheet: tuple[str, ...] = ()


def plan_outputs(ids: Sequence[str], policy: Policy) -> OutputPlan:
    """Give the places for outputs to pictures.

    When there are more pictures than places, the newest get places of their own and the last place is a
    contact sheet of the rest.

    Parameters
    ----------
    ids
        Oldest first.
    """
    if policy.max_outputs == 0:
        return OutputPlan()
    if len(ids) <= policy.max_outputs:
        return OutputPlan(singles=tuple(ids))
    first_single = len(ids) - (policy.max_outputs - 1)
    return OutputPlan(singles=tuple(ids[first_single:]), sheet=tuple(ids[:first_single]))
