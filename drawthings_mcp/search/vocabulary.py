"""The words of all pictures: what a beginning may become, and what a typing error was meant to be.

Owns the tables ``vocabulary`` and ``trigrams``. There are far fewer words than pictures, so that words are corrected
first and pictures looked up after.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable

from drawthings_mcp.search.distance import within_distance

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


def count_words(connection: sqlite3.Connection, changes: Counter[str]) -> None:
    """Keep the numbers of pictures per word; words that no picture has any more are forgotten."""
    known = {word for word in changes if count_pictures(connection, word) > 0}
    connection.executemany(
        "INSERT INTO vocabulary VALUES (?, ?) ON CONFLICT (word) DO UPDATE SET pictures = pictures + excluded.pictures",
        sorted(changes.items()),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO trigrams VALUES (?, ?, ?)",
        [(gram, len(word), word) for word in changes if word not in known for gram in _list_corrected_by(word)],
    )
    for word in [word for word, change in changes.items() if change < 0 and count_pictures(connection, word) <= 0]:
        connection.execute("DELETE FROM vocabulary WHERE word = ?", (word,))
        connection.executemany(
            "DELETE FROM trigrams WHERE trigram = ? AND length = ? AND word = ?",
            [(gram, len(word), word) for gram in _list_corrected_by(word)],
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
