"""Words of German, French, Spanish, Japanese, Chinese and Russian → the English words that the painter knows.

``languages.json`` has the words of each English one; ``лис*`` stands for all that begin so and have at most three more
letters. ``after`` are colours that stand behind what they colour, ``shared`` are words that English has as well, for
something else: they count only beside a word that English has not, or beside one of the ``signs``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

_ENDING = 3
"""Letters that the grammar may add to a word."""
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\u30fc]")
"""Signs of languages that leave no space between words."""


@dataclass(frozen=True)
class _Dictionary:
    """English words by foreign ones, by the beginnings of foreign ones, and a search for those without spaces."""

    words: Mapping[str, str]
    beginnings: Mapping[str, str]
    shared: Mapping[str, str]
    after: frozenset[str]
    signs: frozenset[str]
    unspaced: re.Pattern[str]

    def find(self, word: str) -> str | None:
        """What a word means in English; of several beginnings the longest counts."""
        if word in self.words:
            return self.words[word]
        starts = (word[:length] for length in range(len(word), max(0, len(word) - _ENDING - 1), -1))
        return next((self.beginnings[start] for start in starts if start in self.beginnings), None)


@cache
def _load() -> _Dictionary:
    data: dict[str, Any] = json.loads(resources.files(__package__).joinpath("languages.json").read_text("utf-8"))
    after, words = _turn(data["after"]), _turn(data["words"])
    unspaced = sorted(filter(_UNSPACED.match, words), key=len, reverse=True)
    return _Dictionary(
        words={**words, **after},
        beginnings={word[:-1]: english for word, english in words.items() if word.endswith("*")},
        shared=_turn(data["shared"]),
        after=frozenset(after),
        signs=frozenset(data["signs"].split()),
        unspaced=re.compile("|".join(unspaced)),
    )


def _turn(words: Mapping[str, str]) -> dict[str, str]:
    return {foreign: english for english, others in words.items() for foreign in others.split()}


def translate(words: list[str]) -> list[str]:
    """Words in lower case, in English where they are known in another language."""
    if all(word.isascii() for word in words) and not _load().signs.intersection(words) and not _is_foreign(words):
        return words
    known = _load()
    translated: list[str] = []
    for word in _divide(words):
        found = known.find(word) or known.shared.get(word)
        place = len(translated) - 1 if word in known.after and translated else len(translated)
        translated.insert(place, found or word)
    return translated


def _is_foreign(words: list[str]) -> bool:
    known = _load()
    return any(known.find(word) for word in words)


def _divide(words: list[str]) -> Iterator[str]:
    """The words, and the known words of texts without spaces."""
    for word in words:
        if _UNSPACED.search(word):
            yield from _load().unspaced.findall(word)
        else:
            yield word
