"""``project://<file>#<id>``: one picture of a project file, as a text."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

from drawthings_mcp.errors import InvalidInputError

_FORM = re.compile(r"project://(/[^#]*)#([1-9]\d{0,18})")
_SIGNATURE = b"SQLite format 3\0"


def format_reference(path: Path, entry_id: int) -> str:
    """The reference of a picture; the path is made absolute."""
    return f"project://{quote(str(path.absolute()))}#{entry_id}"


def parse_reference(text: str) -> tuple[Path, int]:
    """File and id of a reference.

    Raises
    ------
    InvalidInputError
        It is none.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise InvalidInputError(f"A project's picture is project:///path/to/file.sqlite3#id, not {text!r}.")
    return Path(unquote(match[1])), int(match[2])


def is_project(path: Path) -> bool:
    """Whether a file may be a project, by its name and first bytes; ``ProjectFile`` knows for sure."""
    try:
        with path.open("rb") as file:
            return path.suffix == ".sqlite3" and file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False
