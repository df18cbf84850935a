"""Every record of the catalog once more, as lines of text: what a lost or damaged database is rebuilt from.

Generated files carry their ids themselves. Pictures that lie elsewhere cannot, and a deleted file tells nothing: their
ids would be given again. Lines are only ever appended, within the transaction that writes the row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from drawthings_mcp.library.records import ImageRecord, build_row, parse_id, parse_row

FILE_NAME = "catalog.jsonl"


class Journal:
    """The journal of a state folder."""

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
        with self.path.open("a", encoding="utf-8") as file:
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
