"""One run of indexing: what changed in the sources → the index. Blocks: call it in a thread.

Every folder is listed first, so that it is known how much there is to do; then files are read, the newest first, a
batch at a time. A glance lists only the folders that have changed since, and reads one batch. A run may be stopped or
killed between any two steps and goes on where it was; two runs at once share the work.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from drawthings_mcp.databases import Database, transaction
from drawthings_mcp.errors import DrawThingsError, StorageError
from drawthings_mcp.faces import Phrase, Step, Text, join_texts
from drawthings_mcp.search import files
from drawthings_mcp.search.files import PendingFile
from drawthings_mcp.search.pictures import PictureWriter, ReadTags, write_pictures
from drawthings_mcp.search.source import Entry, Listing, PictureSource, are_copies, tell_apart
from drawthings_mcp.search.tags import open_reader
from drawthings_mcp.validation import shorten

_logger = logging.getLogger(__name__)

_GLANCE = 64
"""Files that a glance reads, while somebody waits."""
_PATIENCE = 1.0
"""Seconds of listing folders after which a search is answered from what was there before."""
_BATCH = 256
"""Files that are read between two writes: a tenth of a second of work that a kill can undo."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How many files a run has done, and what it is doing: ``reading``, ``measuring`` or ``embedding``."""

    done: int
    total: int
    doing: str = "reading"


KnownSources: TypeAlias = dict[tuple[Path, str], dict[Path, int]]
"""Folders that were listed, with their stamps, of each source by root and kind."""
ReportProgress: TypeAlias = Callable[[Progress], None]
Stop: TypeAlias = Callable[[], bool]


@dataclass(slots=True)
class IndexReport:
    """What a run did: how many files were ``read``, and how many are ``pending``.

    Unless ``is_listed``, there are more files than is known. ``problems`` say what could not be read, one sentence
    each, only what was not reported by an earlier run. ``missing`` are roots that are not there; their pictures are
    kept for the day when they are back. ``listing_seconds`` is what it took to find out what there is: a run costs so
    much even when nothing has changed. ``links`` lead to other folders and are not
    followed; ``unnamed`` are folders with files whose names are no text, which are left out.
    """

    read: int = 0
    pending: int = 0
    is_listed: bool = True
    problems: list[str] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    unnamed: list[Path] = field(default_factory=list)
    listing_seconds: float = 0.0

    def list_skipped(self) -> list[str]:
        """Sentences about what was there and is not searched."""
        notes: list[str] = []
        if self.links:
            one = "{link} is a link to another folder, which is not searched"
            many = "{count} links to other folders are not followed, the first: {link}"
            text = (one if len(self.links) == 1 else many) + "; index that folder once, or add it: {step}."
            step = Step("set", setting="search_dirs")
            notes.append(Text(text, count=len(self.links), link=self.links[0], step=step))
        if self.unnamed:
            notes.append(
                f"Files in {self.unnamed[0]}{' and other folders' * (len(self.unnamed) > 1)} are left out, since their "
                "names are no UTF-8 text; rename them."
            )
        return notes

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.is_listed and not self.pending


def never() -> bool:
    """Says that a run need not stop."""
    return False


def ignore() -> None:
    """Does nothing with the news that a search can be answered."""


def run_indexing(
    index: Database,
    tags: Database,
    sources: Sequence[PictureSource],
    *,
    should_stop: Stop = never,
    report: ReportProgress | None = None,
    answer: Callable[[], object] = ignore,
    known: KnownSources | None = None,
    is_glance: bool = False,
) -> IndexReport:
    """Bring the index in step with the sources.

    ``should_stop`` is asked between batches, ``report`` called from this thread, now and then, and ``answer`` when no
    search should wait any longer. In ``known`` is kept what a glance needs. What was written before a ``StorageError``
    stays.
    """
    start = time.monotonic()
    # One connection for all: the last one to close makes SQLite empty its log, which takes longer than a batch.
    with open_reader(tags) as read_tags, index.open() as connection:
        run = _IndexingRun(connection, read_tags, should_stop, answer, {} if known is None else known, is_glance)
        for source in sources:
            run.scan(source)
        run.remove_gone()
        run.result.listing_seconds = time.monotonic() - start
        if run.present:
            run.read_pending(report)
    return run.result


def drop_folder(index: Database, tags: Database, folder: Path) -> None:
    """Have nothing of a folder in the index any more."""
    with open_reader(tags) as read_tags, index.open() as connection:
        for root in files.list_roots_below(connection, folder):
            while numbers := files.list_files(connection, root, _BATCH):
                with write_pictures(connection, read_tags) as writer:
                    for number in numbers:
                        writer.remove_file(number)
            with transaction(connection):
                files.forget_root(connection, root)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of reading a file.

    A ``passing`` problem may be gone the next time: the file is in use, or may not be read yet. ``gone``: there is no
    such file any more.
    """

    file: PendingFile
    entries: tuple[Entry, ...] = ()
    problem: str = ""
    passing: bool = False
    gone: bool = False


@dataclass(slots=True)
class _IndexingRun:
    """One run: its connection, the sources that are there by the numbers of their roots, and what it did."""

    connection: sqlite3.Connection
    tags: ReadTags
    should_stop: Stop
    answer: Callable[[], object]
    known: KnownSources
    is_glance: bool
    start: float = field(default_factory=time.monotonic)
    present: dict[int, PictureSource] = field(default_factory=dict)
    result: IndexReport = field(default_factory=IndexReport)
    gone: list[int] = field(default_factory=list)

    def scan(self, source: PictureSource) -> None:
        """Note what changed in a source, if it is there."""
        connection = self.connection
        before = self.known.get((source.root, source.kind)) if self.is_glance else {}
        if before is None:
            return  # all of it is to be listed first
        stamps: dict[Path, int] = dict(before)
        with transaction(connection):
            root = files.add_root(connection, source.root, source.kind)
        listed: set[Path] = set()
        closed: list[Path] = []
        try:
            for listing in source.list_folders(before):
                listed.add(listing.folder)
                stamps[listing.folder] = listing.stamp
                self._note_skipped(source.root, listing)
                if listing.problem:
                    closed.append(listing.folder)
                    self.result.problems.append(listing.problem)
                elif files.differs(files.list_known(connection, root, listing.folder), listing):
                    with write_pictures(connection, self.tags) as writer:
                        self.gone += files.note_listing(connection, writer, root, listing)
                if self.should_stop():
                    self.result.is_listed = False
                    self.present[root] = source
                    return
                if time.monotonic() - self.start > _PATIENCE:
                    self.answer()
        except OSError:
            self.known[source.root, source.kind] = {}
            if source.root not in self.result.missing:
                self.result.missing.append(source.root)
            return
        self.present[root] = source
        self.known[source.root, source.kind] = stamps
        if self.is_glance:
            return
        # Below a folder that cannot be listed now, nothing is known to be gone.
        for folder in files.list_folders(connection, root):
            if folder not in listed and not any(folder.is_relative_to(other) for other in closed):
                self._forget_folder(root, folder)

    def _note_skipped(self, root: Path, listing: Listing) -> None:
        """Note what a folder has that is not searched, once for all sources that look into it."""
        links = (listing.folder / name for name in listing.links)
        # What lies below the root is found there.
        outward = (link for link in links if not Path(os.path.realpath(link)).is_relative_to(root))
        self.result.links += [link for link in outward if link not in self.result.links]
        if listing.unnamed and listing.folder not in self.result.unnamed:
            self.result.unnamed.append(listing.folder)

    def _forget_folder(self, root: int, folder: Path) -> None:
        numbers = [file.id for file in files.list_known(self.connection, root, folder).values()]
        with write_pictures(self.connection, self.tags) as writer:
            if folder.is_dir():  # it belongs to another source now, or is hidden
                for number in numbers:
                    writer.remove_file(number)
            else:
                self.gone += numbers
            files.forget_empty_folder(self.connection, root, folder)

    def remove_gone(self) -> None:
        """Forget what is gone, after all folders were listed: it may have been moved from one to another."""
        for first in range(0, len(self.gone), _BATCH):
            if self.should_stop():
                break  # the next run finds them missing again
            with write_pictures(self.connection, self.tags) as writer:
                files.remove_gone(self.connection, writer, self.gone[first : first + _BATCH])

    def read_pending(self, report: ReportProgress | None) -> None:
        """Read the files that wait, a batch at a time."""
        connection, roots = self.connection, list(self.present)
        owner = secrets.token_hex(8)
        if not self.is_glance:
            with transaction(connection):
                files.try_again(connection, roots)
        total = files.count_pending(connection, roots)
        done = 0
        while not self.should_stop():
            with transaction(connection):
                claimed = files.claim_files(connection, roots, owner, _GLANCE if self.is_glance else _BATCH)
            if not claimed:
                break
            outcomes = [_read_file(self.present[file.root], file) for file in claimed]
            with write_pictures(connection, self.tags) as writer:
                # The newest last: of pictures of one second the later one has the higher number.
                for outcome in reversed(outcomes):
                    # Another process may have been faster.
                    if files.is_still(connection, outcome.file):
                        self._settle(writer, outcome)
            done += len(claimed)
            if report is not None:
                report(Progress(done, max(done, total)))
            if len(claimed) == _BATCH:
                self.answer()
            if self.is_glance:
                break
        self.result.pending = files.count_pending(connection, roots)

    def _settle(self, writer: PictureWriter, outcome: _Outcome) -> None:
        file = outcome.file
        if outcome.gone:
            writer.remove_file(file.id)
            return
        if not outcome.passing:
            entries = [_keep_apart(self.connection, file.path, entry) for entry in outcome.entries]
            writer.write_file(file.id, entries)
        is_news = files.settle(self.connection, file, outcome.problem, passing=outcome.passing)
        if outcome.problem and is_news:
            self.result.problems.append(outcome.problem)
        self.result.read += not outcome.problem


def _read_file(source: PictureSource, file: PendingFile) -> _Outcome:
    try:
        return _Outcome(file, tuple(source.read(file.path)))
    except StorageError as error:
        return _Outcome(file, problem=join_texts(error), passing=True, gone=_is_gone(source, file))
    except DrawThingsError as error:
        return _Outcome(file, problem=join_texts(error))
    except OSError as error:
        problem = Text("{path} cannot be read: {reason}.", path=file.path, reason=Phrase(error.strerror or error))
        return _Outcome(file, problem=problem, passing=True, gone=_is_gone(source, file))
    except Exception as error:
        _logger.warning("%s cannot be understood", file.path, exc_info=True)
        reason = Phrase(shorten(error))
        return _Outcome(file, problem=Text("{path} cannot be understood: {reason}.", path=file.path, reason=reason))


def _is_gone(source: PictureSource, file: PendingFile) -> bool:
    """Whether a file was deleted; not when its whole root vanished, which may come back."""
    return not file.path.exists() and source.is_there()


def _keep_apart(connection: sqlite3.Connection, path: Path, entry: Entry) -> Entry:
    """An entry whose identity is that of no other picture."""
    if entry.key:
        return entry
    row = connection.execute(
        "SELECT path, files.name FROM pictures JOIN places ON places.picture = pictures.id "
        "JOIN files ON files.id = places.file JOIN folders ON folders.id = files.folder "
        "WHERE content = ? AND (path, files.name) != (?, ?) LIMIT 1",
        (entry.content, str(path.parent), path.name),
    ).fetchone()
    if row is None or not (other := Path(*row)).exists() or are_copies(path, other):
        return entry
    return replace(entry, content=tell_apart(entry.content, path))
