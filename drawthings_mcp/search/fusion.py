"""Hits by words and hits by meaning → one order. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from drawthings_mcp.search.matching import Hit

_SMOOTHING = 60
"""How little the first places count more than the next: the constant of reciprocal rank fusion."""
_FIRST = "exact"


def fuse(by_words: Sequence[Hit], by_meaning: Sequence[int]) -> list[Hit]:
    """Exact hits first, as they are; the others by the sum of what their places in both orders are worth."""
    exact = [hit for hit in by_words if hit.match == _FIRST]
    rest = [hit for hit in by_words if hit.match != _FIRST]
    taken = {hit.picture for hit in exact}
    meant = [picture for picture in by_meaning if picture not in taken]
    points: dict[int, float] = {}
    for order in ([hit.picture for hit in rest], meant):
        for place, picture in enumerate(order):
            points[picture] = points.get(picture, 0.0) + 1 / (_SMOOTHING + place)
    matches = {hit.picture: hit for hit in rest}
    ranked = sorted(points, key=lambda picture: -points[picture])
    return exact + [matches.get(picture, Hit(picture, "meaning")) for picture in ranked]
