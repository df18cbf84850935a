"""A project file of the app as a source: what was generated in it, thumbnails, pictures (formats §5).

How the tables belong together, and ``project://<file>#<id>``, the reference of one picture. Reads in short
transactions, never writes, and sees what the app writes meanwhile.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidImageError, InvalidInputError, StorageError
from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.search.projects.connection import Moved, ProjectConnection
from drawthings_mcp.search.projects.rows import (
    HistoryRow,
    PictureLayer,
    ProjectEntry,
    Table,
    decode_row,
    read_jpeg,
    read_layer,
    replay,
)
from drawthings_mcp.search.source import (
    CHANGING,
    NONE_KNOWN,
    Entry,
    FileStamp,
    KnownFolders,
    Listing,
    is_folder,
    is_plain_file,
    walk,
)
from drawthings_mcp.tensors.pixels import ImageLike
from drawthings_mcp.validation import shorten

_HISTORY = "tensorhistorynode"
_COLUMNS = {"__pk0", "__pk1", "p"}
_BATCH = 500
"""Rows per transaction: the app's own writes wait for none longer than some milliseconds."""
_MAX_ROW = 1 << 20
"""Bytes; a row takes one or two thousand."""
_MAX_ATTEMPTS = 5
_MAX_ALIASES = 100
_MAX_EARLIER = 20
"""Rows that are looked through for a prompt where a row tells none."""
_FORM = re.compile(r"project://(/[^#]*)#([1-9]\d{0,18})")
KIND = "projects"
_SUFFIX = ".sqlite3"
_DIGEST = 16
_PATIENCE = 1.0
"""Seconds to wait for the app; what it holds longer is tried again by the next run."""


class ProjectFile:
    """A project, open for reading; a context manager for one thread at a time.

    Parameters
    ----------
    timeout
        Seconds to wait while another program locks it.

    Raises
    ------
    InvalidInputError
        The file is not a project, or a link.
    StorageError
        It cannot be read: it is gone, locked, damaged, or of a newer app.
    """

    def __init__(self, path: Path, timeout: float = 5.0) -> None:
        self.path = path
        self._timeout = timeout
        self._connection: ProjectConnection | None = None
        self._tables: frozenset[str] = frozenset()

    def __enter__(self) -> ProjectFile:
        try:
            names = self._fetch("SELECT name FROM sqlite_master WHERE type = 'table'")
            self._tables = frozenset(str(name) for (name,) in names)
            self._check_tables()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def list_entries(self, since: int = 0) -> Iterator[ProjectEntry]:
        """The generated pictures after the id ``since``, oldest first, each once; damaged rows are left out."""
        previews: set[int] = set()
        while rows := self._list_rows(since):
            for node in rows:
                since = node.rowid
                if not node.is_listed:
                    continue
                layer = self._find_layer(node)
                preview = node.preview_id or layer.ids
                if preview not in previews:
                    previews |= {preview} if preview else set()
                    yield self._describe(node, layer)

    def read_thumbnail(self, entry_id: int, *, full: bool = False) -> bytes | None:
        """A small picture as a JPEG file, with ``full`` as large as the canvas; None when the app has not kept one.

        Raises ``InvalidImageError`` when there is no such picture any more.
        """
        node = self._get_node(entry_id)
        preview = node.preview_id or self._find_layer(node).ids
        tables = ("thumbnailhistorynode", "thumbnailhistoryhalfnode")
        for table in tables if full else reversed(tables):
            data = self._find_blob(table, "__pk0 = ?", preview)
            if data is not None and (jpeg := read_jpeg(data)):
                return jpeg
        return None

    def read_image(self, entry_id: int) -> NDArray[np.uint8]:
        """The picture itself, ``(H, W, 3)`` or ``(H, W, 4)``, sRGB, channels R, G, B, A.

        Raises ``InvalidImageError`` when it is not there any more, or cannot be decoded.
        """
        tensor_id = self._find_layer(self._get_node(entry_id)).tensor_id
        statement = "SELECT type, format, datatype, dim, data FROM tensors WHERE name = ?"
        rows = self._fetch_from("tensors", statement, f"tensor_history_{tensor_id}") if tensor_id > 0 else []
        if not rows or not all(isinstance(part, bytes) for part in rows[0][3:]):
            raise InvalidImageError(
                f"{self.path}#{entry_id} is in the history, but its picture is not in the file any more; "
                "use its thumbnail, or generate it again from its seed."
            )
        return decode_row(*rows[0])

    def _check_tables(self) -> None:
        if _HISTORY not in self._tables:
            raise InvalidInputError(
                f"{self.path} is a database, but not a project of Draw Things; give one of its projects."
            )
        columns = {str(name) for _, name, *_ in self._fetch(f"PRAGMA table_info({_HISTORY})")}
        if not columns >= _COLUMNS:
            raise StorageError(
                f"The project {self.path} was written by a newer Draw Things than is known here; update drawthings-mcp."
            )

    def _list_rows(self, since: int) -> list[HistoryRow]:
        rows = self._fetch(
            f"SELECT rowid, p FROM {_HISTORY} WHERE rowid > ? AND length(p) < ? ORDER BY rowid LIMIT ?",
            since,
            _MAX_ROW,
            _BATCH,
        )
        return [HistoryRow(rowid, data) for rowid, data in rows if isinstance(data, bytes)]

    def _get_node(self, entry_id: int) -> HistoryRow:
        rows = self._fetch(f"SELECT rowid, p FROM {_HISTORY} WHERE rowid = ? AND length(p) < ?", entry_id, _MAX_ROW)
        if not rows or not isinstance(rows[0][1], bytes):
            raise InvalidImageError(
                f"{self.path}#{entry_id} is not there any more: it was deleted in the app, or its history was "
                "continued from an earlier point. Search again."
            )
        return HistoryRow(*rows[0])

    def _find_layer(self, node: HistoryRow) -> PictureLayer:
        """The last layer with a picture: those before are what it was painted on."""
        if not node.stored_layers:
            return node.own_layer
        statement = "SELECT p FROM tensordata WHERE __pk0 = ? AND __pk1 = ? AND length(p) < ? ORDER BY __pk2 LIMIT 1000"
        rows = self._fetch_from("tensordata", statement, *node.key, _MAX_ROW)
        layers = [read_layer(data) for (data,) in rows if isinstance(data, bytes)]
        painted = (layer for layer in reversed(layers) if layer.tensor_id > 0)
        return next(painted, layers[-1] if layers else PictureLayer())

    def _describe(self, node: HistoryRow, layer: PictureLayer) -> ProjectEntry:
        texts = self._find_texts(node)
        inferred = texts is None
        return node.describe(
            texts or self._infer_texts(node),
            layer,
            is_inferred=inferred,
            has_image=self._has_tensor(layer.tensor_id),
            frames=self._count_frames(node.clip_id),
        )

    def _has_tensor(self, tensor_id: int) -> bool:
        name = f"tensor_history_{tensor_id}"
        return tensor_id > 0 and bool(self._fetch_from("tensors", "SELECT 1 FROM tensors WHERE name = ? LIMIT 1", name))

    def _count_frames(self, clip_id: int) -> int:
        clip = self._find_blob("clip", "__pk0 = ?", clip_id) if clip_id > 0 else None
        return 1 if clip is None else max(int(Table(clip).get(1, "i32")), 1)

    def _find_texts(self, node: HistoryRow) -> tuple[str, str] | None:
        """Prompt and negative prompt: as the row tells them, else from the history of edits (formats §5.5)."""
        lineage, edits = node.text_place
        if (texts := node.texts) or edits < 0:
            return texts
        return replay(self._resolve_lineage(lineage), edits, self._find_text_node)

    def _resolve_lineage(self, lineage: int) -> int:
        for _ in range(_MAX_ALIASES):
            alias = self._find_blob("textlineagenode", "__pk0 = ?", lineage)
            if alias is None:
                break
            lineage = int(Table(alias).get(1, "i64"))
        return lineage

    def _find_text_node(self, lineage: int, time: int) -> bytes | None:
        """The node of a lineage, or of the highest that has this time."""
        condition = "__pk1 = ? AND length(p) < ? ORDER BY __pk0 = ? DESC, __pk0 DESC"
        return self._find_blob("texthistorynode", condition, time, _MAX_ROW, lineage)

    def _infer_texts(self, node: HistoryRow) -> tuple[str, str]:
        """Those of the closest earlier row of the same lineage that has any."""
        condition = "__pk0 = ? AND __pk1 < ? AND length(p) < ? ORDER BY __pk1 DESC LIMIT ?"
        rows = self._fetch(f"SELECT rowid, p FROM {_HISTORY} WHERE {condition}", *node.key, _MAX_ROW, _MAX_EARLIER)
        earlier = (self._find_texts(HistoryRow(rowid, data)) for rowid, data in rows if isinstance(data, bytes))
        return next((texts for texts in earlier if texts), ("", ""))

    def _find_blob(self, table: str, condition: str, *values: object) -> bytes | None:
        """What the first such row of a table holds; None when there is none, or something else in it."""
        rows = self._fetch_from(table, f"SELECT p FROM {table} WHERE {condition} LIMIT 1", *values)
        return rows[0][0] if rows and isinstance(rows[0][0], bytes) else None

    def _fetch_from(self, table: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a table that not every project has."""
        return self._fetch(statement, *values) if table in self._tables else []

    def _fetch(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows, from a connection that is opened again when the files next to the project changed their roles."""
        for attempt in range(_MAX_ATTEMPTS):
            try:
                if self._connection is None:
                    self._connection = ProjectConnection(self.path, self._timeout, copied=attempt > 1)
                return self._connection.fetch(statement, values)
            except Moved:
                self._close()
        raise StorageError(f"The project {self.path} changes while it is read; try again in a moment.")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def format_reference(path: Path, entry_id: int) -> str:
    """The reference of a picture; the path is made absolute."""
    return f"project://{quote(str(path.absolute()))}#{entry_id}"


def parse_reference(text: str) -> tuple[Path, int]:
    """File and id of a reference; raises ``InvalidInputError`` for any other text."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise InvalidInputError(f"A project's picture is project:///path/to/file.sqlite3#id, not {shorten(text)}.")
    return Path(unquote(match[1])), int(match[2])


@dataclass(frozen=True, slots=True)
class ProjectSource:
    """The projects in a folder."""

    root: Path
    skipped: frozenset[Path] = frozenset()

    @property
    def kind(self) -> str:
        """``projects``."""
        return KIND

    def is_there(self) -> bool:
        """Whether the folder is there."""
        return is_folder(self.root)

    def list_folders(self, known: KnownFolders = NONE_KNOWN) -> Iterator[Listing]:
        """Every folder and its databases, which the app changes in place."""
        for listing in walk(self.root, {_SUFFIX}, self.skipped, known):
            files = {name: _add_log(listing.folder / name, stamp) for name, stamp in listing.files.items()}
            yield listing._replace(files=files, stamp=CHANGING if files else listing.stamp)

    def read(self, path: Path) -> Iterator[Entry]:
        """The pictures of a project; none of any other database."""
        modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        try:
            with ProjectFile(path, _PATIENCE) as project:
                for entry in project.list_entries():
                    metadata = entry.metadata
                    yield Entry(str(entry.id), _identify(entry.id, metadata), path.stem, modified, metadata)
        except InvalidImageError:
            raise
        except InvalidInputError:
            return  # other programs' databases have that suffix as well

    def find_place(self, path: Path, key: str) -> str | None:
        """The reference of a picture, when its project is still there."""
        return format_reference(path, int(key)) if is_plain_file(path) else None

    def read_preview(self, path: Path, key: str) -> ImageLike:
        """The thumbnail that the app kept, or else the picture."""
        with ProjectFile(path) as project:
            return project.read_thumbnail(int(key)) or project.read_image(int(key))


def _add_log(path: Path, stamp: FileStamp) -> FileStamp:
    """What was written last may still be in the log next to the file."""
    try:
        log = path.with_name(f"{path.name}-wal").stat()
    except OSError:
        return stamp
    return FileStamp(stamp.inode, stamp.size + log.st_size, max(stamp.mtime_ns, log.st_mtime_ns))


def _identify(entry_id: int, metadata: ImageMetadata) -> str:
    """The same in every copy of a project, wherever it lies."""
    told = (
        entry_id,
        metadata.created,
        metadata.seed,
        metadata.model,
        metadata.width,
        metadata.height,
        metadata.steps,
        metadata.prompt,
    )
    return f"project-{hashlib.blake2b(repr(told).encode(), digest_size=_DIGEST).hexdigest()}"
