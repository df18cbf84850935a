"""Tags that people gave to pictures: the file of tags, which outlives the index.

A tag belongs to a picture's bytes, so that copies and moved files have it too. The index only has copies, for
filtering. A rating is a tag such as ``rating:4``, of which a picture has one at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from drawthings_mcp.databases import Database
from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.faces import Step, Text
from drawthings_mcp.search.pictures import ReadTags, write_pictures
from drawthings_mcp.search.query import RATINGS, name_rating
from drawthings_mcp.search.words import split_words
from drawthings_mcp.validation import shorten

MAX_TAG = 64


def change_tags(tags: Database, index: Database, content: str, add: Iterable[str], remove: Iterable[str]) -> None:
    """Add tags to a picture and take tags off; a rating takes the place of another one.

    Raises ``InvalidInputError`` for a tag that has no letter and no digit, or is too long.
    """
    added = [(content, _fold(tag), tag.strip()) for tag in add]
    if any(tag in _RATING_TAGS for _, tag, _ in added):
        remove = [*remove, *_RATING_TAGS]
    removed = [(content, _fold(tag)) for tag in remove]
    upsert = "INSERT INTO tags VALUES (?, ?, ?) ON CONFLICT (content, tag) DO UPDATE SET shown = excluded.shown"
    with tags.write() as connection:
        connection.executemany("DELETE FROM tags WHERE content = ? AND tag = ?", removed)
        connection.executemany(upsert, added)
    with open_reader(tags) as read_tags, index.open() as connection, write_pictures(connection, read_tags) as writer:
        for (picture,) in connection.execute("SELECT id FROM pictures WHERE content = ?", (content,)).fetchall():
            writer.refresh(picture)


def _fold(tag: str) -> str:
    words = split_words(tag)
    if not words or len(tag) > MAX_TAG:
        raise InvalidInputError(
            f"must be words of at most {MAX_TAG} characters in all, got {shorten(tag)}.", parameter="tag", value=tag
        )
    return " ".join(words)


_RATING_TAGS = tuple(_fold(name_rating(rating)) for rating in RATINGS)


@contextmanager
def open_reader(tags: Database) -> Iterator[ReadTags]:
    """Reads the tags of many pictures over one connection."""
    with tags.open() as connection:

        def read(content: str) -> list[str]:
            with tags.translate_errors():
                rows = connection.execute("SELECT shown FROM tags WHERE content = ? ORDER BY tag", (content,))
                return [shown for (shown,) in rows]

        yield read


def count_tags(tags: Database) -> Mapping[str, int]:
    """Every tag and how many pictures have it, the most frequent first."""
    with tags.open() as connection:
        rows = connection.execute("SELECT min(shown), count(*) FROM tags GROUP BY tag ORDER BY count(*) DESC, tag")
        return dict(rows.fetchall())


def list_tags_of(tags: Database, content: str) -> list[str]:
    """The tags of one picture."""
    with open_reader(tags) as read:
        return read(content)


def mark_hidden(tags: Database, images: Iterable[str], *, binned: bool = False) -> None:
    """Note that a gallery does not show some pictures, by id; ``binned`` when their files are in the bin."""
    with tags.write() as connection:
        rows = [(image, "yes" if binned else "") for image in images]
        connection.executemany("INSERT OR REPLACE INTO hidden VALUES (?, ?)", rows)


def unmark_hidden(tags: Database, images: Iterable[str]) -> None:
    """Have a gallery show pictures again."""
    with tags.write() as connection:
        connection.executemany("DELETE FROM hidden WHERE image = ?", [(image,) for image in images])


def list_hidden(tags: Database) -> dict[str, bool]:
    """The ids of pictures that a gallery does not show, and whether their files are in the bin."""
    with tags.open() as connection:
        return {image: bool(binned) for image, binned in connection.execute("SELECT image, binned FROM hidden")}


def remember_folders(tags: Database, folders: Iterable[Path]) -> None:
    """Search some folders from now on."""
    with tags.write() as connection:
        connection.executemany("INSERT OR IGNORE INTO folders VALUES (?)", [(str(folder),) for folder in folders])


def forget_folders(tags: Database, folders: Sequence[Path]) -> None:
    """Search some folders no more; raises ``UnknownNameError`` for one that is not remembered."""
    known = list_remembered(tags)
    for folder in folders:
        if folder not in known:
            raise UnknownNameError(
                Text(
                    "{folder} was not added to what is searched (added: {others}); to take out a folder "
                    "of the settings, {step}.",
                    folder=folder,
                    others=tuple(known) or "none",
                    step=Step("set", setting="search_dirs"),
                ),
                name=str(folder),
                nearest=list(map(str, known)),
            )
    with tags.write() as connection:
        connection.executemany("DELETE FROM folders WHERE path = ?", [(str(folder),) for folder in folders])


def list_remembered(tags: Database) -> list[Path]:
    """Folders that were asked to be indexed, besides those of the settings."""
    with tags.open() as connection:
        return [Path(path) for (path,) in connection.execute("SELECT path FROM folders ORDER BY path")]
