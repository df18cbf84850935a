"""File names of generated pictures.

Owns what a name looks like. Touches no disk.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime

_MAX_SLUG_CHARACTERS = 48
_MAX_SLUG_BYTES = 90
"""With date, seed and number a name stays below 143 bytes, the shortest limit in use (encrypted home folders)."""
_NO_WORDS = "image"


def file_stem(prompt: str, seed: int, when: datetime) -> str:
    """A name without extension: date, words of the prompt, seed.

    ``2026-11-20_a-red-fox-in-snow_s1234567890``; letters of any script are kept, everything that some file
    system refuses is not. At most 71 characters.
    """
    return f"{when:%Y-%m-%d}_{_slug(prompt)}_s{seed}"


def _slug(prompt: str) -> str:
    words = _list_words(prompt)
    kept = words[:1]
    for word in words[1:]:
        if not _fits("-".join([*kept, word])):
            break
        kept.append(word)
    return _cut("-".join(kept)) or _NO_WORDS


def _list_words(prompt: str) -> list[str]:
    # Marks belong to the letter before them; on their own (emoji selectors) they are none.
    plain = unicodedata.normalize("NFKC", prompt).lower()
    spaced = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in plain)
    return [word for word in spaced.split() if any(unicodedata.category(c)[0] in "LN" for c in word)]


def _fits(slug: str) -> bool:
    return len(slug) <= _MAX_SLUG_CHARACTERS and len(slug.encode()) <= _MAX_SLUG_BYTES


def _cut(slug: str) -> str:
    while not _fits(slug):
        slug = slug[:-1]
    return slug
