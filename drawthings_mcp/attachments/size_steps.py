"""Several previews together → small enough: down a fixed ladder of sizes and qualities.

Owns the ladder, the order in which pictures give way, and what a result measures on the wire. Knows no pixels: it is
told how a preview is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from drawthings_mcp.attachments.budget import Place, Role
from drawthings_mcp.attachments.policy import Policy


class Rung(NamedTuple):
    """One step of the ladder: longest side in pixels and JPEG quality."""

    max_edge: int
    quality: int


_LADDER = tuple(
    Rung(*rung)
    for rung in (
        (1024, 75),
        (896, 75),
        (768, 70),
        (640, 65),
        (512, 60),
        (384, 50),
        (256, 40),
        (192, 30),
        (128, 20),
        (64, 20),
    )
)
"""Each takes about two thirds of the bytes of the one before. Size goes before quality: a model reads a small
picture better than a blotchy one."""

_HEAD_START = 2
"""Rungs that inputs stand below outputs when bytes run short: what is new matters more than what is known."""

_BYTES_PER_GROUP = 3
_CHARACTERS_PER_GROUP = 4


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture as it travels in a message; carries no metadata."""

    data: bytes
    mime_type: str
    width: int
    height: int

    @property
    def characters(self) -> int:
        """Length of the data in base64."""
        return count_base64(len(self.data))


def count_base64(size: int) -> int:
    """Characters of base64 for a number of bytes."""
    return _CHARACTERS_PER_GROUP * -(-size // _BYTES_PER_GROUP)


def count_block(preview: Preview) -> int:
    """Characters of a picture's content block in a result: its base64, the JSON around it, the comma before it."""
    return len(_dump(_build_block(preview))) + preview.characters + 1


def count_result(text: str, previews: Iterable[Preview] = ()) -> int:
    """Characters of a whole tool result as it goes over the wire: one text block, then the pictures.

    Without previews it is what the rest of the result takes, to be reserved before any picture is encoded.
    """
    result = {"content": [{"type": "text", "text": text}], "isError": False, "resultType": "complete"}
    return len(_dump(result)) + sum(count_block(preview) for preview in previews)


def list_rungs(max_edge: int, quality: int) -> Iterator[Rung]:
    """From the best rung that was asked for downwards; none is larger or better than the first."""
    best = Rung(max_edge, quality)
    yield best
    for rung in _LADDER:
        if rung.max_edge <= max_edge:
            lower = Rung(rung.max_edge, min(rung.quality, quality))
            if lower != best:
                yield lower


def descend(
    places: Sequence[Place], make: Callable[[Place, Rung], Preview], policy: Policy, available: int
) -> Mapping[Place, Preview]:
    """The best previews that fit together.

    All go down the ladder, inputs a little ahead of outputs. When even the last rung is too much, the outputs are kept
    from the newest on, then the contact sheet, then the inputs, as far as there is room.

    Parameters
    ----------
    places
        What is to be shown; outputs from the oldest on.
    make
        Makes the preview of a place for a rung; asked again for the same only when it has to be.
    available
        Characters for all blocks together.

    Returns
    -------
    Mapping[Place, Preview]
        The sum of ``count_block`` of its previews is at most ``available``; places that found no room are absent.
    """
    rungs = tuple(list_rungs(policy.max_edge, policy.quality))
    made: dict[tuple[Place, Rung], Preview] = {}
    previews: dict[Place, Preview] = {}
    for step in range(len(rungs) + _HEAD_START):
        for place in places:
            rung = rungs[_find_rung(place.role, step, len(rungs))]
            if (place, rung) not in made:
                made[place, rung] = make(place, rung)
            previews[place] = made[place, rung]
        if sum(map(count_block, previews.values())) <= available:
            return previews
    return _keep_foremost(previews, available)


def _find_rung(role: Role, step: int, count: int) -> int:
    behind = _HEAD_START if role is Role.OUTPUT else 0
    return min(max(0, step - behind), count - 1)


def _keep_foremost(previews: Mapping[Place, Preview], available: int) -> dict[Place, Preview]:
    kept = set()
    for place in _list_foremost(tuple(previews)):
        if count_block(previews[place]) <= available:
            available -= count_block(previews[place])
            kept.add(place)
    return {place: preview for place, preview in previews.items() if place in kept}


def _list_foremost(places: Sequence[Place]) -> list[Place]:
    """What is kept longest first."""
    singles = [place for place in places if place.role is Role.OUTPUT and not place.is_sheet]
    sheets = [place for place in places if place.is_sheet]
    inputs = [place for place in places if place.role is Role.INPUT]
    return [*reversed(singles), *sheets, *inputs]


def _build_block(preview: Preview) -> Mapping[str, str]:
    return {"type": "image", "data": "", "mimeType": preview.mime_type}


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
