"""What may be shown, as the plan knows it."""

from __future__ import annotations

from typing import NamedTuple


class Candidate(NamedTuple):
    """An id and a size in pixels."""

    id: str
    size: tuple[int, int]
    source: bytes = b""
