"""The formats of configuration files: read one, set a member, remove one; comments, order and all else stay.

JSON has a module of its own. TOML is edited by tomlkit. YAML is read by ruamel.yaml, which says where things stand, and
edited there: written again as a whole it would keep comments, but not blanks and line breaks.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal

from drawthings_mcp.install.jsonc import JsonSyntaxError, parse_jsonc, remove_member, set_member

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import Node

FormatName = Literal["json", "toml", "yaml"]

_YAML_INDENT = 2
_SWITCHES = frozenset({"on", "off", "yes", "no", "y", "n"})
_MAX_WIDTH = 1 << 20
"""Columns at which no text is broken."""


class BrokenFileError(ValueError):
    """A text is not what its format wants; ``line`` and ``column`` count from 1."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Format:
    """What can be done with the text of a file.

    Attributes
    ----------
    read
        The value of a text; an empty text is an empty mapping. Raises ``BrokenFileError``, as do the others.
    set
        A text in which the member at a path has a value. Of a mapping, only the members that the value has are set.
    remove
        A text without the member at a path.
    """

    read: Callable[[str], dict[str, Any]]
    set: Callable[[str, Sequence[str], Any], str]
    remove: Callable[[str, Sequence[str]], str]


def place_at(text: str, position: int) -> tuple[int, int]:
    """Line and column of a position, from 1."""
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def _read_json(text: str) -> dict[str, Any]:
    try:
        value = parse_jsonc(text)
    except JsonSyntaxError as error:
        raise BrokenFileError(error.reason, *place_at(text, error.position)) from None
    return _ensure_mapping({} if value is None else value)


def _set_json(text: str, path: Sequence[str], value: Any) -> str:
    try:
        return set_member(text, path, value)
    except JsonSyntaxError as error:
        raise BrokenFileError(error.reason, *place_at(text, error.position)) from None


def _ensure_mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BrokenFileError("the file is no object", 1, 1)
    return value


def _read_toml(text: str) -> dict[str, Any]:
    value: dict[str, Any] = _parse_toml(text).unwrap()
    return value


def _parse_toml(text: str) -> Any:
    from tomlkit import parse
    from tomlkit.exceptions import ParseError, TOMLKitError

    try:
        return parse(text)
    except ParseError as error:
        reason = str(error).removesuffix(f" at line {error.line} col {error.col}").removesuffix(".")
        raise BrokenFileError(reason, error.line, error.col + 1) from None
    except TOMLKitError as error:
        raise BrokenFileError(str(error), 1, 1) from None


def _set_toml(text: str, path: Sequence[str], value: Any) -> str:
    from tomlkit import dumps
    from tomlkit.items import InlineTable

    document = _parse_toml(text)
    if place := _find_table(text, path):
        start, end = place
        return f"{text[:start]}{_set_toml(text[start:end], path, value)}{text[end:]}"
    *above, name = path
    table = _find(document, above)
    if table is not None and not isinstance(table, MutableMapping):
        return text
    if table is None or (name not in table and above and not isinstance(table, InlineTable)):
        # A table at the end of the file changes nothing before it.
        nested = value
        for part in reversed(path):
            nested = {part: nested}
        gap = "" if not text.strip() else "\n" if text.endswith("\n") else "\n\n"
        return f"{text}{gap}{_dump_toml(nested)}"
    _merge(table, name, value)
    return dumps(document)


def _find_table(text: str, path: Sequence[str]) -> tuple[int, int] | None:
    """Where a table stands that is a part of a text in one piece, in a text that the library would write otherwise.

    It moves arrays of tables that stand between parts of another table; such a text is edited in that part only.
    """
    from tomlkit import dumps

    if dumps(_parse_toml(text)) == text:
        return None
    start, position = None, 0
    for line in text.splitlines(keepends=True):
        is_inside = _begins_table(line, path)
        if is_inside and start is None:
            start = position
        elif is_inside is False and start is not None:
            return start, position
        position += len(line)
    return (start, position) if start else None


def _begins_table(line: str, path: Sequence[str]) -> bool | None:
    """Whether a line begins the table at a path or one within it; None when it begins none at all."""
    if not line.lstrip().startswith("["):
        return None
    try:
        return _find(_read_toml(line), path) is not None
    except BrokenFileError:
        return None


def _dump_toml(value: Mapping[str, Any]) -> str:
    from tomlkit import dumps

    return dumps(value)


def _find(mapping: Any, path: Sequence[str]) -> Any:
    """What stands at a path, which is left as its library has it; None when nothing does."""
    for part in path:
        if not isinstance(mapping, Mapping) or part not in mapping:
            return None
        mapping = mapping[part]
    return mapping


def _merge(mapping: MutableMapping[str, Any], name: str, value: Any) -> None:
    """Set a member; of a mapping that is there, only the members that differ."""
    old = mapping.get(name)
    if isinstance(value, Mapping) and isinstance(old, MutableMapping):
        for key, item in value.items():
            _merge(old, key, item)
    elif old != value:
        mapping[name] = _make_inline(mapping, value)


def _make_inline(mapping: MutableMapping[str, Any], value: Any) -> Any:
    """A value that may stand within braces, when the mapping does."""
    from tomlkit import inline_table
    from tomlkit.items import InlineTable

    if not (isinstance(mapping, InlineTable) and isinstance(value, Mapping)):
        return value
    table = inline_table()
    for key, item in value.items():
        table[key] = _make_inline(table, item)
    return table


def _remove_toml(text: str, path: Sequence[str]) -> str:
    from tomlkit import dumps

    document = _parse_toml(text)
    table = _find(document, path[:-1])
    if table is None or path[-1] not in table:
        return text
    if place := _find_table(text, path):
        left = text[: place[0]] + text[place[1] :]
    else:
        del table[path[-1]]
        left = dumps(document)
    # The blank line before a table at the end goes with it.
    return left[:-1] if left.endswith("\n\n") and text.startswith(left[:-1]) else left


def _yaml() -> YAML:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _MAX_WIDTH
    return yaml


def _read_yaml(text: str) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        value = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise BrokenFileError(error.problem or "not YAML", *place) from None
    except YAMLError as error:
        raise BrokenFileError(str(error).partition("\n")[0], 1, 1) from None
    return _ensure_mapping({} if value is None else value)


def _dump_yaml(value: Any, indent: int = 0) -> str:
    out = StringIO()
    _yaml().dump(value, out)
    return textwrap.indent(out.getvalue(), " " * indent)


def _quote_switches(value: Any) -> Any:
    """The same with words in quotes that are true or false to readers of YAML 1.1, as ``off`` is."""
    from ruamel.yaml.scalarstring import SingleQuotedScalarString

    if isinstance(value, Mapping):
        return {name: _quote_switches(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_quote_switches(item) for item in value]
    return SingleQuotedScalarString(value) if isinstance(value, str) and value.lower() in _SWITCHES else value


def _set_yaml(text: str, path: Sequence[str], value: Any) -> str:
    top, name = path
    value = _quote_switches(value)
    data = _read_yaml(text)
    if not isinstance(data.get(top) or {}, dict):
        return text
    if top not in data:
        return f"{_end_line(text)}{_dump_yaml({top: {name: value}})}"
    container = _find_yaml(text, top)
    if not data[top]:
        entry = _dump_yaml({name: value}, _YAML_INDENT).rstrip("\n")
        return f"{text[: container.key_end]}:\n{entry}{text[container.end :]}"
    if container.in_braces:
        return _round_trip(text, lambda root: _merge(root[top], name, value))
    if name not in data[top]:
        entry = _dump_yaml({name: value}, container.indent)
        end = _find_line_end(text, container.end)
        return f"{_end_line(text[:end])}{entry}{text[end:].removeprefix(chr(10))}"
    entry_at = _find_yaml(text, top, name)
    start, end = text.rfind("\n", 0, entry_at.start) + 1, entry_at.end
    whole = _end_line(textwrap.dedent(text[start:end]))
    changed = _round_trip(whole, lambda root: _merge(root, name, value), max(entry_at.indent - container.indent, 0))
    return f"{text[:start]}{textwrap.indent(changed.rstrip(chr(10)), ' ' * container.indent)}{text[end:]}"


def _remove_yaml(text: str, path: Sequence[str]) -> str:
    top, name = path
    data = _read_yaml(text)
    if not isinstance(data.get(top), dict) or name not in data[top]:
        return text
    container = _find_yaml(text, top)
    if container.in_braces:
        return _round_trip(text, lambda root: root[top].pop(name))
    entry = _find_yaml(text, top, name)
    if len(data[top]) == 1:
        return f"{text[: container.key_end]}: {{}}{text[entry.end :]}"
    start, end = text.rfind("\n", 0, entry.start) + 1, _find_line_end(text, entry.end)
    return text[:start] + text[end:].removeprefix("\n")


def _round_trip(text: str, change: Callable[[Any], object], indent: int = 0) -> str:
    """A text that the library writes again, with blocks indented as they are."""
    yaml = _yaml()
    data = yaml.load(text)
    for sequence, offset in ((2, 0), (4, 2)):
        yaml.indent(mapping=indent or _YAML_INDENT, sequence=sequence, offset=offset)
        if _dump_as(yaml, data) == text:
            break
    change(data)
    return _dump_as(yaml, data)


def _dump_as(yaml: YAML, data: Any) -> str:
    out = StringIO()
    yaml.dump(data, out)
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a member of a mapping stands: its name from ``start`` to ``key_end``, its value up to ``end``.

    ``indent`` is that of the members of a block.
    """

    start: int
    key_end: int
    end: int
    indent: int
    in_braces: bool


def _find_yaml(text: str, *path: str) -> _Place:
    """Where the member at a path stands, which has to be there."""
    node: Any = _yaml().compose(text)
    for name in path:
        key, node = next((key, value) for key, value in node.value if key.value == name)
    in_braces = bool(getattr(node, "flow_style", False))
    members = node.value if isinstance(node.value, list) and not in_braces else []
    indent = members[0][0].start_mark.column if members and isinstance(members[0], tuple) else 0
    return _Place(key.start_mark.index, key.end_mark.index, _find_end(text, key, node), indent, in_braces)


def _find_end(text: str, key: Node, value: Node) -> int:
    """Where a value ends, without comments that follow it; an alias and what is empty end with their key."""
    after_colon = int(key.end_mark.index) + 1
    if value.start_mark.index < after_colon or value.start_mark.index == value.end_mark.index:
        return after_colon
    if getattr(value, "flow_style", None) is False and value.value:
        last = value.value[-1]
        return _find_end(text, *last) if isinstance(last, tuple) else _find_end(text, key, last)
    # A text in lines of its own ends after the blank ones that follow it.
    return len(text[: int(value.end_mark.index)].rstrip())


def _find_line_end(text: str, position: int) -> int:
    """The end of the line of a position; a position at the beginning of a line belongs to the one before."""
    if position and text[position - 1 : position] == "\n":
        return position - 1
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _end_line(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


FORMATS: Mapping[FormatName, Format] = {
    "json": Format(_read_json, _set_json, remove_member),
    "toml": Format(_read_toml, _set_toml, _remove_toml),
    "yaml": Format(_read_yaml, _set_yaml, _remove_yaml),
}
