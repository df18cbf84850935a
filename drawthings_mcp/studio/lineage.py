"""How a picture came about, in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drawthings_mcp.library.records import ImageRecord, Parent

_MAX_PROMPT = 60


def list_sources(parents: Sequence[Parent]) -> tuple[str, ...]:
    """``canvas a1``, ``moodboard a2 v3``: each role once."""
    roles = dict.fromkeys(parent.role for parent in parents)
    ids = {role: [parent.id for parent in parents if parent.role == role] for role in roles}
    return tuple(f"{role} {' '.join(names)}" for role, names in ids.items())


def tell_story(record: ImageRecord) -> str:
    """``"make it night" seed 7 from canvas v2``; empty when nothing is known."""
    prompt = " ".join(record.prompt.split())
    shown = prompt if len(prompt) <= _MAX_PROMPT else f"{prompt[: _MAX_PROMPT - 1]}…"
    sources = list_sources(record.parents)
    parts = (
        f'"{shown}"' if shown else "",
        f"seed {record.seed}" if record.seed is not None else "",
        f"from {', '.join(sources)}" if sources else "",
    )
    return " ".join(filter(None, parts))
