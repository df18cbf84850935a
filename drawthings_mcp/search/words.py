"""The words of the index: how texts become words, what pictures are filtered by, which words there are.

The tables ``vocabulary``, ``trigrams`` and ``stems``. Filters are words that nobody can type: with filters and words
in one index, a filtered search is one look-up, in order of time. There are far fewer words than pictures, so that
words are corrected first and pictures looked up after.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from drawthings_mcp.search.word_forms import list_stems

if TYPE_CHECKING:
    import sqlite3

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
_EMOJI = "\u231a-\u23ff\u25aa-\u25fe\u2600-\u27bf\u2b05-\u2b55\U0001f000-\U0001f3fa\U0001f400-\U0001faff"
"""Pictures among letters: each is a word of its own. Tones of skin and what joins several to one are left out."""
_PLAIN_WORD = re.compile(r"[a-z0-9]+")
_WORD = re.compile(rf"[{_SPACELESS}{_EMOJI}]|(?:[^\W_{_SPACELESS}]|[{_INDIC}])+")
_MARK = "\ue000"
"""Begins every facet: a private character, which folding never lets through."""
_JOINT = "\ue001"
"""Joins the words of a tag into one."""
EVERY = f"{_MARK}e"
"""What every picture has."""
_SQUARE = 1.05
"""Sides that differ by less look square."""
_LETTERS: Mapping[str, str] = {
    "name": "n",
    "root": "r",
    "source": "s",
    "tag": "t",
    "seed": "d",
    "shape": "z",
    "negative": "g",
}
SOURCE_GROUPS: Mapping[str, tuple[str, ...]] = {
    "folders": ("folders", "comfyui", "lm-studio", "imported"),
    "generated": ("generated", "library"),
}
"""Kinds of sources that stand for several."""
MAX_EXPANSIONS = 24
"""Words that one beginning, or one error, stands for; the most frequent ones."""
_MAX_SCANNED = 4000
_MAX_CORRECTIONS = 6
_MIN_PREFIX = 2
_MIN_CORRECTED = 4
"""Letters below which every word is an error away from many others."""
_LONG_WORD = 8
"""Letters from which two errors are forgiven."""
_MAX_WORD = 40
"""Letters of the longest words worth correcting; longer ones are hashes."""
_RARE = 2
"""Pictures up to which a word may itself be somebody's typing error."""
_FREQUENT = 10
"""How many times more frequent its correction is then."""
_LAST = "\U0010ffff"


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


def facet(kind: str, value: object) -> str:
    """The index's word for a value that pictures are filtered by; case and accents do not matter.

    ``kind`` is ``name`` of a model, a LoRA, a folder, a size or another number, by its number in the table of names;
    ``root``, a searched folder, by its number; ``source``, its kind or the program that made the picture; ``shape``;
    ``negative``, a word of the negative prompt.
    """
    return f"{_MARK}{_LETTERS[kind]}{_JOINT.join(split_words(str(value)))}"


def shape_of(width: int, height: int) -> str:
    """``square``, ``landscape`` or ``portrait``."""
    if max(width, height) <= _SQUARE * min(width, height):
        return "square"
    return "landscape" if width > height else "portrait"


def join_facets(facets: Iterable[str]) -> str:
    """As they stand in the index; equal sets are equal texts."""
    return " ".join(sorted({EVERY, *facets}))


def count_words(connection: sqlite3.Connection, changes: Counter[str]) -> None:
    """Keep the numbers of pictures per word; words that no picture has any more are forgotten."""
    known = {word for word in changes if count_pictures(connection, word) > 0}
    new = [word for word in changes if word not in known]
    connection.executemany(
        "INSERT INTO vocabulary VALUES (?, ?) ON CONFLICT (word) DO UPDATE SET pictures = pictures + excluded.pictures",
        sorted(changes.items()),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO trigrams VALUES (?, ?, ?)",
        [(gram, len(word), word) for word in new for gram in _list_corrected_by(word)],
    )
    connection.executemany(
        "INSERT OR IGNORE INTO stems VALUES (?, ?)", [(stem, word) for word in new for stem in list_stems(word)]
    )
    for word in [word for word, change in changes.items() if change < 0 and count_pictures(connection, word) <= 0]:
        connection.execute("DELETE FROM vocabulary WHERE word = ?", (word,))
        connection.executemany(
            "DELETE FROM trigrams WHERE trigram = ? AND length = ? AND word = ?",
            [(gram, len(word), word) for gram in _list_corrected_by(word)],
        )
        connection.executemany(
            "DELETE FROM stems WHERE stem = ? AND word = ?", [(stem, word) for stem in list_stems(word)]
        )


def count_pictures(connection: sqlite3.Connection, word: str) -> int:
    """How many pictures have a word."""
    row = connection.execute("SELECT pictures FROM vocabulary WHERE word = ?", (word,)).fetchone()
    return int(row[0]) if row else 0


def list_completions(connection: sqlite3.Connection, beginning: str) -> list[str]:
    """Words that begin so, the most frequent first; the beginning itself is among them if it is a word."""
    if len(beginning) < _MIN_PREFIX:
        return [beginning]
    rows = connection.execute(
        "SELECT word FROM (SELECT word, pictures FROM vocabulary WHERE word >= ? AND word < ? LIMIT ?) "
        "ORDER BY pictures DESC LIMIT ?",
        (beginning, beginning + _LAST, _MAX_SCANNED, MAX_EXPANSIONS),
    )
    return [word for (word,) in rows]


def list_forms(connection: sqlite3.Connection, word: str) -> list[str]:
    """Words in use that are other forms of a word, the most frequent first."""
    stems = list_stems(word)
    rows = connection.execute(
        f"SELECT DISTINCT word FROM stems JOIN vocabulary USING (word) WHERE stem IN ({', '.join('?' * len(stems))}) "
        "AND word <> ? ORDER BY pictures DESC, word LIMIT ?",
        (*stems, word, MAX_EXPANSIONS),
    )
    return [form for (form,) in rows]


def list_nearest_words(connection: sqlite3.Connection, word: str, count: int) -> list[str]:
    """Words in use that are most alike, whatever the distance; none when nothing is."""
    grams = _list_trigrams(word)
    rows = connection.execute(
        f"SELECT word FROM trigrams JOIN vocabulary USING (word) WHERE trigram IN ({', '.join('?' * len(grams))}) "
        "GROUP BY word HAVING count(*) > 1 ORDER BY count(*) * 2.0 / (length + ?) DESC, pictures DESC LIMIT ?",
        (*grams, len(word), count),
    )
    return [found for (found,) in rows]


def list_corrections(connection: sqlite3.Connection, word: str) -> list[str]:
    """What a word may have been meant to be, the nearest and most frequent first; empty for a word that is in use."""
    count = count_pictures(connection, word)
    if count > _RARE or not _is_corrected(word):
        return []
    allowed = 2 if len(word) >= _LONG_WORD else 1
    found = [
        (distance, -pictures, candidate)
        for candidate, pictures in _list_candidates(connection, word, allowed)
        if candidate != word
        and pictures >= _FREQUENT * count
        and (distance := within_distance(word, candidate, allowed)) is not None
    ]
    return [candidate for _, _, candidate in sorted(found)[:_MAX_CORRECTIONS]]


def _list_candidates(connection: sqlite3.Connection, word: str, allowed: int) -> Iterable[tuple[str, int]]:
    """Words of about that length that share enough trigrams, or are the word with two neighbours swapped."""
    grams = _list_trigrams(word)
    # An error spoils three trigrams, two swapped neighbours four.
    needed = max(1, len(grams) - 4 * allowed + 1)
    marks = ", ".join("?" * len(grams))
    shared = connection.execute(
        f"SELECT word, pictures FROM (SELECT word FROM trigrams WHERE trigram IN ({marks}) AND length BETWEEN ? AND ? "
        "GROUP BY word HAVING count(*) >= ?) JOIN vocabulary USING (word)",
        (*grams, len(word) - allowed, len(word) + allowed, needed),
    ).fetchall()
    swaps = [word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(len(word) - 1)]
    return [*shared, *((swap, count) for swap in set(swaps) if (count := count_pictures(connection, swap)))]


def _list_corrected_by(word: str) -> list[str]:
    return _list_trigrams(word) if _is_corrected(word, _MIN_CORRECTED - 1) else []


def _is_corrected(word: str, shortest: int = _MIN_CORRECTED) -> bool:
    return shortest <= len(word) <= _MAX_WORD and word.isalpha()


def _list_trigrams(word: str) -> list[str]:
    framed = f"^{word}$"
    return sorted({framed[at : at + 3] for at in range(len(framed) - 2)})


def within_distance(one: str, other: str, limit: int) -> int | None:
    """Letters to insert, delete, replace or swap with their neighbour to get from one word to another.

    None when more than ``limit`` are needed (optimal string alignment).
    """
    if abs(len(one) - len(other)) > limit:
        return None
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last_before, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and wanted == one[i - 2]:
                cost = min(cost, last_before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return None
    return row[-1] if row[-1] <= limit else None
