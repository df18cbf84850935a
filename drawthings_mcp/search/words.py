"""Text → the words that are looked for: one spelling for the index and for queries.

Owns folding (case, accents, width) and what counts as a word in which script. Knows no index.
"""

from __future__ import annotations

import re
import unicodedata

_ACCENTS = re.compile("[\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]")
"""Marks that people leave out when they type: Latin, Greek and Cyrillic accents, Hebrew and Arabic vowels. Those of
other scripts tell words apart and stay."""

_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3005-\u3007\u3041-\u3096\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Han. Each character is a word of its own, so
that a phrase finds it wherever it stands in a text."""
_INDIC = "\u0900-\u0963\u0966-\u0dff\u0f00-\u0fff"
"""Scripts whose vowel signs Python's expressions do not count as part of a word."""

_PLAIN_WORD = re.compile(r"[a-z0-9]+")
_WORD = re.compile(rf"[{_SPACELESS}]|(?:[^\W_{_SPACELESS}]|[{_INDIC}])+")


def split_words(text: str) -> list[str]:
    """The words of a text, folded, in order.

    ``Größe`` and ``GROSSE`` are one word, ``ｆｏｘ`` and ``fox`` as well; ``漢字`` is two.
    """
    if text.isascii():
        return _PLAIN_WORD.findall(text.lower())
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return _WORD.findall(unicodedata.normalize("NFC", _ACCENTS.sub("", decomposed)))


def fold_name(name: str) -> str:
    """A name without anything that people spell differently: ``Z-Image Turbo`` and ``z_image_turbo`` are one."""
    return "".join(split_words(name))
