"""A configuration file as it was read, and how it is replaced: whole, with a copy kept, unless somebody else was at it.

Links are followed, modes and owners kept. A byte order mark and line ends of Windows stay.
"""

from __future__ import annotations

import difflib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from drawthings_mcp.errors import InvalidInputError, StorageError
from drawthings_mcp.faces import Text, say
from drawthings_mcp.install.formats import FORMATS, BrokenFileError, Format, FormatName, place_at
from drawthings_mcp.library.new_files import (
    CONFIGURATION,
    COPY_OF_CONFIGURATION,
    number_stems,
    replace_file,
    write_new_file,
)
from drawthings_mcp.quoting import hide_password

_PRIVATE = 0o600
"""Mode of a file that was not there: the like of it has keys in it."""
_MARK = "\ufeff"
_COPY = "before-drawthings"
_CONTEXT = 2
"""Lines shown before and after a change."""
_HIDDEN = "***"
_SECRET_PARTS = ("env", "header", "key", "token", "secret", "password", "auth")
"""Parts of names below which values are not shown."""
_SHORTEST_SECRET = 5
"""Characters; a shorter value, such as a switch, hides nothing."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file at one moment.

    Attributes
    ----------
    path
        Where it is looked for.
    target
        Where its links lead.
    data
        Its bytes; None when it is not there.
    mode
        Of the file.
    """

    path: Path
    target: Path
    format: Format
    data: bytes | None
    mode: int = _PRIVATE

    @property
    def text(self) -> str:
        """Without a byte order mark, and with line ends of one kind where it has one kind."""
        text = self._decode().removeprefix(_MARK)
        return text.replace("\r\n", "\n") if self._has_windows_ends else text

    @property
    def _has_windows_ends(self) -> bool:
        data = self.data or b""
        return b"\r\n" in data and data.count(b"\r\n") == data.count(b"\n")

    def _decode(self) -> str:
        data = self.data or b""
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            place = place_at(data[: error.start].decode("utf-8"), error.start)
            raise _refuse(self.path, BrokenFileError("it is not UTF-8", *place)) from error

    def encode(self, text: str) -> bytes:
        """The bytes of another text in this file's manner."""
        ends = text.replace("\n", "\r\n") if self._has_windows_ends else text
        mark = _MARK if self._decode().startswith(_MARK) else ""
        return (mark + ends).encode()

    def parse(self) -> dict[str, Any]:
        """What is configured.

        Raises
        ------
        InvalidInputError
            The file is not what its format wants; says where.
        """
        with _refusing(self.path):
            return self.format.read(self.text)

    def set(self, path: tuple[str, ...], value: Any) -> bytes:
        """The file with a member set; raises as ``parse``, and when the rest would not stay as it is."""
        with _refusing(self.path):
            changed = self.format.set(self.text, path, value)
        return self._check(changed, _set_in(self.parse(), path, value))

    def remove(self, path: tuple[str, ...]) -> bytes:
        """The file without a member; raises as ``set``."""
        with _refusing(self.path):
            changed = self.format.remove(self.text, path)
        return self._check(changed, _remove_from(self.parse(), path))

    def _check(self, text: str, expected: Mapping[str, Any]) -> bytes:
        try:
            found = self.format.read(text)
        except BrokenFileError:
            found = {}
        if _drop_empty(found) != _drop_empty(expected):
            problem = "{path} is written in a way that cannot be changed without harm. Change it by hand."
            raise InvalidInputError(Text(problem, path=self.path))
        return self.encode(text)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turns what a format complains about into our error."""
    try:
        yield
    except BrokenFileError as error:
        raise _refuse(path, error) from error


def _refuse(path: Path, error: BrokenFileError) -> InvalidInputError:
    problem = (
        "{path} cannot be read: line {line}, column {column}: {reason}. Nothing was changed; repair it, then try again."
    )
    return InvalidInputError(Text(problem, path=path, line=error.line, column=error.column, reason=error.reason))


def _drop_empty(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without mappings that have nothing in them: in TOML they need not be written."""
    return {name: item for name, item in value.items() if item != {}}


def _set_in(value: Any, path: tuple[str, ...], new: Any) -> Any:
    """A value with a member set, as a format sets it: of a mapping, the members that the new one has."""
    if path:
        inner = value if isinstance(value, Mapping) else {}
        return {**inner, path[0]: _set_in(inner.get(path[0]), path[1:], new)}
    if isinstance(value, Mapping) and isinstance(new, Mapping):
        return {**value, **{name: _set_in(value.get(name), (), item) for name, item in new.items()}}
    return new


def _remove_from(value: Any, path: tuple[str, ...]) -> Any:
    if not isinstance(value, Mapping) or path[0] not in value:
        return value
    if len(path) == 1:
        return {name: item for name, item in value.items() if name != path[0]}
    return {**value, path[0]: _remove_from(value[path[0]], path[1:])}


def read_config_file(path: Path, format: FormatName) -> ConfigFile:
    """A file as it is now.

    Raises
    ------
    InvalidInputError
        It is there, but may not be read, or is no file.
    """
    target = Path(os.path.realpath(path))
    try:
        data = target.read_bytes()
        mode = stat.S_IMODE(target.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return ConfigFile(path, target, FORMATS[format], None)
    except OSError as error:
        problem = "{path} cannot be read: {reason}. Put that right, then try again."
        raise InvalidInputError(Text(problem, path=path, reason=say(error.strerror))) from error
    return ConfigFile(path, target, FORMATS[format], data, mode)


def write_config_file(file: ConfigFile, data: bytes | None, *, mode: int | None = None) -> ConfigFile:
    """Give a file other bytes, or remove it; the file as it is then.

    Raises
    ------
    StorageError
        Somebody changed it since it was read, or it cannot be written.
    """
    _ensure_replaceable(file)
    if data is None:
        file.target.unlink(missing_ok=True)
        return replace(file, data=None)
    mode = file.mode if mode is None else mode
    replace_file(file.target, data, mode=mode, what=CONFIGURATION)
    return replace(file, data=data, mode=mode)


def _ensure_replaceable(file: ConfigFile) -> None:
    """Raises ``StorageError`` when somebody changed a file since it was read, or it may not be written."""
    if _read(file.target) != file.data:
        raise StorageError(
            Text("{path} was changed by another program meanwhile. Nothing was written; try again.", path=file.path)
        )
    if file.data is not None and not os.access(file.target, os.W_OK):
        raise StorageError(Text("{path} is write-protected. Change its permissions, then try again.", path=file.path))


def _read(path: Path) -> bytes | None:
    with suppress(FileNotFoundError, NotADirectoryError):
        return path.read_bytes()
    return None


def back_up(file: ConfigFile) -> Path | None:
    """A copy beside a file, under a name that nothing had; None when there is no file.

    Raises
    ------
    StorageError
        It cannot be written, or the file could not be replaced anyway.
    """
    if file.data is None:
        return None
    _ensure_replaceable(file)
    data = file.data
    names = number_stems(f"{file.target.name}.{_COPY}")
    return write_new_file(
        file.target.parent, names, lambda path: path.write_bytes(data), what=COPY_OF_CONFIGURATION, private=True
    )


def describe_change(file: ConfigFile, data: bytes, entry: str) -> Iterator[str]:
    """The lines that change and those around them; values that may be secret are hidden unless they are ours."""
    secrets = sorted(_list_secrets(file.parse(), entry), key=len, reverse=True)
    for line in _compare(file.text.splitlines(), replace(file, data=data).text.splitlines(), str(file.path)):
        shown = line
        for secret in secrets:
            shown = shown.replace(secret, _HIDDEN)
        yield hide_password(shown)


def _compare(before: list[str], after: list[str], name: str) -> Iterator[str]:
    """A unified diff; of what is the same before and behind all changes, only what is shown is looked at.

    Clients keep histories in these files: of 300,000 lines a whole comparison takes most of a minute.
    """
    same = _count_same(before, after)
    same_behind = _count_same(before[same:][::-1], after[same:][::-1])
    start, left_out = max(0, same - _CONTEXT), max(0, same_behind - _CONTEXT)
    parts = (before[start : len(before) - left_out], after[start : len(after) - left_out])
    for line in difflib.unified_diff(*parts, name, name, lineterm="", n=_CONTEXT):
        yield _move_header(line, start) if line.startswith("@@") else line


def _count_same(some: Sequence[str], others: Sequence[str]) -> int:
    """How many lines are the same from the first one on."""
    pairs = enumerate(zip(some, others, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(some), len(others)))


def _move_header(header: str, lines: int) -> str:
    """The line above a change, such as ``@@ -1,2 +1,14 @@``, of a text in which so many lines stand before."""
    sign, *places, end = header.split()
    starts = [place.partition(",") for place in places]
    moved = [f"{start[0]}{int(start[1:]) + lines}{comma}{count}" for start, comma, count in starts]
    return " ".join([sign, *moved, end])


def _list_secrets(value: Any, entry: str, *, below: bool = False) -> Iterator[str]:
    """Texts of a configuration that may be secret, as they are and as JSON writes them; those of our entry are not."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name != entry:
                inside = below or _has_secret_part(str(name))
                yield from _list_secrets(item, entry, below=inside)
    elif isinstance(value, list):
        for before, item in zip(["", *value], value, strict=False):
            yield from _list_secrets(item, entry, below=below or _names_secret(before))
    elif not below and isinstance(value, str) and _names_secret(option := value.partition("=")[0]):
        yield from _list_secrets(value.removeprefix(f"{option}="), entry, below=True)
    elif below and isinstance(value, str) and len(value) >= _SHORTEST_SECRET:
        yield from {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}


def _names_secret(word: Any) -> bool:
    """Whether a word of a command is an option such as ``--api-key``."""
    return isinstance(word, str) and word.startswith("-") and _has_secret_part(word)


def _has_secret_part(name: str) -> bool:
    return any(part in name.lower() for part in _SECRET_PARTS)
