"""What a picture can be filtered by → words of the index that nobody can type.

Owns their spelling. With filters and words in one index, a filtered search is one look-up, in order of time.
"""

from __future__ import annotations

from collections.abc import Iterable

from drawthings_mcp.search.words import split_words

_MARK = "\ue000"
"""Begins every facet: a private character, which folding never lets through."""
_JOINT = "\ue001"
"""Joins the words of a tag into one."""
EVERY = f"{_MARK}e"
"""What every picture has."""

_SQUARE = 1.05
"""Sides that differ by less look square."""


def name_facet(number: int) -> str:
    """A model or a LoRA, by its number in the table of names."""
    return f"{_MARK}n{number}"


def root_facet(number: int) -> str:
    """A searched folder, by its number."""
    return f"{_MARK}r{number}"


SOURCE_GROUPS = {"folders": ("folders", "comfyui", "lm-studio")}
"""Kinds of sources that stand for several."""


def list_source_facets(source: str) -> list[str]:
    """What pictures of a kind of source, or made by a program, have one of."""
    return [source_facet(kind) for kind in SOURCE_GROUPS.get(source.strip().lower(), (source,))]


def source_facet(source: str) -> str:
    """A kind of source, or the program that made the picture."""
    return f"{_MARK}s{_join(source)}"


def tag_facet(tag: str) -> str:
    """A tag; case and accents do not matter."""
    return f"{_MARK}t{_join(tag)}"


def seed_facet(seed: str) -> str:
    """A seed."""
    return f"{_MARK}d{seed}"


def size_facet(size: str) -> str:
    """``1024x768`` or a shape."""
    return f"{_MARK}z{size}"


def shape_of(width: int, height: int) -> str:
    """``square``, ``landscape`` or ``portrait``."""
    if max(width, height) <= _SQUARE * min(width, height):
        return "square"
    return "landscape" if width > height else "portrait"


def list_size_facets(width: int, height: int) -> list[str]:
    """Size and shape; none when the size is not known."""
    if width < 1 or height < 1:
        return []
    return [size_facet(f"{width}x{height}"), size_facet(shape_of(width, height))]


def join_facets(facets: Iterable[str]) -> str:
    """As they stand in the index; equal sets are equal texts."""
    return " ".join(sorted({EVERY, *facets}))


def _join(text: str) -> str:
    return _JOINT.join(split_words(text))
