"""What the catalog knows of one picture, as a value, as a row of its database and as a line of its journal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Required, TypeAlias, TypedDict, get_args

from drawthings_mcp.private import open_private

if TYPE_CHECKING:
    from drawthings_mcp.tensors.picture_files import PictureFile

MediaKind: TypeAlias = Literal["a", "v", "p", "i"]
"""Brought in, generated variant, found by a search, made from others."""
MEDIA_KINDS: tuple[MediaKind, ...] = get_args(MediaKind)
ParentRole: TypeAlias = Literal["canvas", "moodboard", "mask", "control", "source"]
"""What a picture was to another: input of a generation, or what one without Draw Things was made from."""
_ID = re.compile(rf"([{''.join(MEDIA_KINDS)}])([1-9][0-9]{{0,15}})")
_TEXTS = ("prompt", "negative_prompt", "origin")
"""Columns that take text from anywhere."""
JOURNAL_NAME = "catalog.jsonl"


class Parent(NamedTuple):
    """A picture that another one was made from."""

    role: ParentRole
    id: str


class RecordFields(TypedDict, total=False):
    """What a picture is recorded with; see ``ImageRecord``."""

    created: Required[datetime]
    width: Required[int]
    height: Required[int]
    prompt: str
    negative_prompt: str
    seed: int | None
    model: str
    server: str
    simulated: bool
    size_bytes: int
    format: str
    configuration: Mapping[str, Any] | None
    job: str
    parents: Sequence[Parent]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One picture.

    Attributes
    ----------
    id
        MediaKind and number, ``v3``; never given twice.
    path
        Absolute; the file may have been moved or deleted since. None for what was found but has no file of its own:
        a node of a project, a result of a web search.
    created
        Time zone aware, UTC.
    seed
        None for pictures that were not generated.
    width, height
        Pixels of the upright picture; 0 where that is not known.
    server
        Address of the server that made it; empty for pictures that were not generated.
    sha256
        Of the file, in hexadecimal digits; empty where it is not known.
    size_bytes, format
        Of the file; ``PNG``, ``JPEG`` ….
    configuration
        The app's JSON object; empty for pictures that were not generated.
    job
        The same for all variants of one call.
    origin
        Where a picture from outside came from: a path, a URL, ``project://…``.
    parents
        What it was made from, in order.
    """

    id: str
    path: Path | None
    created: datetime
    prompt: str = ""
    negative_prompt: str = ""
    seed: int | None = None
    model: str = ""
    width: int = 0
    height: int = 0
    server: str = ""
    simulated: bool = False
    sha256: str = ""
    size_bytes: int = 0
    format: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    job: str = ""
    origin: str = ""
    parents: tuple[Parent, ...] = ()

    @property
    def kind(self) -> MediaKind:
        """The letter of the id."""
        kind: MediaKind = self.id[0]  # type: ignore[assignment]
        return kind

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    @property
    def source(self) -> PictureFile:
        """What shows it: its file, as long as that has the bytes that were recorded."""
        from drawthings_mcp.tensors.picture_files import PictureFile

        assert self.path is not None, f"{self.id} has no file of its own"
        return PictureFile(self.path, self.sha256)


COLUMNS = tuple(field.name for field in fields(ImageRecord) if field.name not in {"id", "parents"})


def parse_id(text: str) -> tuple[MediaKind, int] | None:
    """Kind and number of an id in any case; None for what is none."""
    match = _ID.fullmatch(text.strip().lower())
    return (match[1], int(match[2])) if match else None  # type: ignore[return-value]


def build_record(image_id: str, path: Path | None, origin: str, sha256: str, given: RecordFields) -> ImageRecord:
    """The record of a picture with some values."""
    values: dict[str, Any] = dict(given)
    values["configuration"] = values.get("configuration") or {}
    values["parents"] = tuple(Parent(*parent) for parent in values.get("parents", ()))
    values["created"] = given["created"].astimezone(UTC)
    location = None if path is None else path.absolute()
    return ImageRecord(id=image_id, path=location, origin=origin, sha256=sha256, **values)


def build_row(record: ImageRecord) -> dict[str, Any]:
    """The values of the table ``images``; parents have a table of their own."""
    kind, number = record.id[0], int(record.id[1:])
    row = {name: getattr(record, name) for name in COLUMNS}
    row.update({name: _as_text(row[name]) for name in _TEXTS})
    return {
        **row,
        "kind": kind,
        "number": number,
        "path": "" if record.path is None else str(record.path),
        "created": record.created.isoformat(),
        "configuration": json.dumps(record.configuration, separators=(",", ":")),
    }


def parse_row(row: Mapping[str, Any]) -> ImageRecord:
    """The record of a row, with its id and the JSON of its parents.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is none.
    """
    return ImageRecord(
        **{
            **row,
            "path": Path(row["path"]) if row["path"] else None,
            "created": datetime.fromisoformat(row["created"]),
            "simulated": bool(row["simulated"]),
            "configuration": json.loads(row["configuration"]),
            "parents": tuple(Parent(role, name) for role, name in json.loads(row["parents"])),
        }
    )


def _as_text(text: str) -> str:
    """Halves of surrogate pairs, which JSON can contain and a database cannot, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


class Journal:
    """Every record of the catalog as a line of text: what a lost or damaged database is rebuilt from.

    Generated files carry their ids themselves. Pictures that lie elsewhere cannot, and a deleted file tells nothing:
    their ids would be given again. Lines are only ever appended, within the transaction that writes the row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: ImageRecord, list_all: Callable[[], Iterable[ImageRecord]]) -> None:
        """Write a record; the last line with an id counts.

        Parameters
        ----------
        list_all
            Every record that there is, for a journal that is only just begun.
        """
        records = [record] if self.path.exists() else list_all()
        # Every line begins with its end of line: a last one that was cut off by a crash spoils no other.
        text = "".join(f"\n{_build_line(item)}" for item in records)
        with open(self.path, "a", encoding="utf-8", opener=lambda path, flags: open_private(Path(path), flags)) as file:
            file.write(text)

    def read(self) -> list[ImageRecord]:
        """The records, oldest first; lines that cannot be read are passed over."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        records = {record.id: record for record in _parse_lines(text.split("\n"))}
        return sorted(records.values(), key=lambda record: record.created)


def _build_line(record: ImageRecord) -> str:
    row = build_row(record)
    # The file itself tells its configuration, which is nine tenths of the text.
    del row["kind"], row["number"], row["configuration"]
    return json.dumps({"id": record.id, **row, "parents": record.parents}, ensure_ascii=False, separators=(",", ":"))


def _parse_lines(lines: Iterable[str]) -> Iterator[ImageRecord]:
    for line in lines:
        try:
            yield _parse_line(json.loads(line))
        except (KeyError, TypeError, ValueError, RecursionError):
            continue


def _parse_line(data: dict[str, Any]) -> ImageRecord:
    record = parse_row({**data, "configuration": "{}", "parents": json.dumps(data["parents"])})
    if parse_id(record.id) is None:
        raise ValueError(record.id)
    return record
