"""Hits of a search as text: one compact line each."""

from __future__ import annotations

from collections.abc import Iterator

from drawthings_mcp.studio.results import Hit, HitPage

_ENDING = ".ckpt"
_MAX_TEXT = 80
"""Characters of a prompt in a row."""


def describe_hit(hit: Hit) -> str:
    """``p1 • a red fox • 1024×1024 • z_image.ckpt • style@0.8 • words • folders • 2026-11-20``."""
    text = " ".join(hit.text.split())
    shown = text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
    parts = (
        hit.id,
        shown or "(no prompt)",
        f"{hit.size[0]}×{hit.size[1]}" if all(hit.size) else "",
        hit.model.removesuffix(_ENDING),
        ", ".join(lora.replace(_ENDING, "") for lora in hit.loras),
        hit.match,
        hit.kind,
        f"{hit.created:%Y-%m-%d}" if hit.created else "",
        hit.licence or hit.attribution,
        hit.page,
    )
    return " • ".join(filter(None, parts))


def describe_page(page: HitPage) -> Iterator[str]:
    """How to get the rest, how much is not indexed yet, and what else there is to say."""
    shown = page.offset + len(page.hits)
    at_least = "" if page.is_exact else "at least "
    if not page.hits and page.total:
        yield f"There are {at_least}{page.total} hits; offset={page.offset} is past the last."
    elif not page.hits:
        yield "Nothing was found. Use fewer or other words, leave filters out, or search another source."
    elif shown < page.total:
        yield f"{shown} of {at_least}{page.total}; go on with offset={shown}"
    elif not page.is_exact:
        yield f"These are the best {shown}, perhaps there are more; go on with offset={shown}"
    if page.pending:
        yield f"{page.pending} files are not indexed yet; search again in a while."
    yield from (f"note: {note}" for note in page.notes)
