"""JSON with comments, edited in place: what is not the edited member stays as it is, byte for byte.

Comments and trailing commas are read as VS Code and Zed read them. Strings, numbers and literals are left to the
standard library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_DECODER = json.JSONDecoder()
_SPACES = " \t\r\n"
_INDENT = "  "
"""Of a file that shows no other."""


class JsonSyntaxError(ValueError):
    """A text is not JSON, and where it ceases to be."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


@dataclass(frozen=True, slots=True)
class _Pair:
    name: str
    start: int
    """Of the name."""
    value: _Node
    comma: int | None
    """Where the comma after it stands."""


@dataclass(frozen=True, slots=True)
class _Node:
    start: int
    end: int
    value: Any
    members: tuple[_Pair, ...] = ()

    def find(self, name: str) -> tuple[int, _Pair] | None:
        """The member that counts when there are several of a name, and its place."""
        return next(((n, m) for n, m in reversed([*enumerate(self.members)]) if m.name == name), None)


def parse_jsonc(text: str) -> Any:
    """The value of a text; None when there are only comments in it.

    Raises
    ------
    JsonSyntaxError
        It is not JSON with comments.
    """
    # Most files have no comments, and some are large: the standard library reads those fifty times as fast.
    with suppress(ValueError, RecursionError):
        return json.loads(text, parse_constant=_refuse_constant)
    root = _parse(text)
    return root.value if root else None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def set_member(text: str, path: Sequence[str], value: Any) -> str:
    """A text in which the member at a path has a value; objects on the way are made.

    Of an object that is there, only the members that ``value`` has are changed.

    Raises
    ------
    JsonSyntaxError
        As ``parse_jsonc``; or something else than an object stands on the way.
    """
    root = _parse(text)
    if root is None:
        return f"{text.rstrip()}\n{_dump(_nest(path, value), '', _INDENT)}\n".lstrip("\n")
    old = _find(root, path)
    if isinstance(value, Mapping) and old is not None and isinstance(old.value, dict):
        for name, item in value.items():
            text = set_member(text, (*path, name), item)
        return text
    return text if old is not None and old.value == value else _set(text, root, path, value, _find_unit(text, root))


def remove_member(text: str, path: Sequence[str]) -> str:
    """A text without the member at a path, nor others of its name there.

    Raises
    ------
    JsonSyntaxError
        As ``parse_jsonc``.
    """
    while True:
        root = _parse(text)
        node = _find(root, path[:-1]) if root else None
        found = node.find(path[-1]) if node else None
        if node is None or found is None:
            return text
        text = _cut(text, node, found[0])


def _find(node: _Node, path: Sequence[str]) -> _Node | None:
    for name in path:
        found = node.find(name)
        if found is None:
            return None
        node = found[1].value
    return node


def _set(text: str, node: _Node, path: Sequence[str], value: Any, unit: str) -> str:
    if not path or node.value is None:
        line = _line_indent(text, node.start)
        new = _dump(_nest(path, value), line, unit, inline=bool(node.value) and "\n" not in text[node.start : node.end])
        return text[: node.start] + new + text[node.end :]
    if not isinstance(node.value, dict):
        raise JsonSyntaxError("an object is expected here", node.start)
    found = node.find(path[0])
    if found is None:
        return _append(text, node, path[0], _nest(path[1:], value), unit)
    return _set(text, found[1].value, path[1:], value, unit)


def _append(text: str, node: _Node, name: str, value: Any, unit: str) -> str:
    """A member more at the end of an object, after the comments that stand there."""
    inside = text[node.start + 1 : node.end - 1]
    key = f"{json.dumps(name, ensure_ascii=False)}: "
    if node.members and "\n" not in inside:
        last = node.members[-1]
        at = last.value.end if last.comma is None else last.comma + 1
        comma = ", " if last.comma is None else " "
        return f"{text[:at]}{comma}{key}{_dump(value, '', unit, inline=True)}{text[at:]}"
    outer = _line_indent(text, node.end - 1 if "\n" in inside else node.start)
    indent = _line_indent(text, node.members[0].start) if node.members else outer + unit
    end = node.start + 1 + len(inside.rstrip(_SPACES))
    rest = text[end : node.end - 1]
    tail = rest if "\n" in rest else f"\n{outer}"
    head = text[:end]
    comma = ""
    if node.members:
        last = node.members[-1]
        if last.comma is None:
            head = f"{text[: last.value.end]},{text[last.value.end : end]}"
        else:
            comma = ","
    return f"{head}\n{indent}{key}{_dump(value, indent, unit)}{comma}{tail}{text[node.end - 1 :]}"


def _cut(text: str, node: _Node, place: int) -> str:
    """An object without one of its members, and without the comma that this leaves over."""
    member = node.members[place]
    end = member.value.end if member.comma is None else member.comma + 1
    line = text.rfind("\n", node.start, member.start)
    stands_alone = line >= 0 and not text[line : member.start].strip(_SPACES)
    before = node.members[place - 1] if place else None
    start = line if stands_alone else member.start
    if not stands_alone and before is not None and before.comma is not None:
        start = before.comma + 1
    elif not stands_alone and place + 1 < len(node.members):
        end = node.members[place + 1].start
    head = text[:start]
    if before is not None and before.comma is not None and member.comma is None:
        head = head[: before.comma] + head[before.comma + 1 :]
    left = head + text[end:]
    closing = node.end - 1 - (len(text) - len(left))
    inside = left[node.start + 1 : closing]
    return left if inside.strip(_SPACES) else left[: node.start + 1] + left[closing:]


def _nest(path: Sequence[str], value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _dump(value: Any, indent: str, unit: str, *, inline: bool = False) -> str:
    if inline:
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, indent=unit).replace("\n", f"\n{indent}")


def _line_indent(text: str, position: int) -> str:
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _find_unit(text: str, root: _Node) -> str:
    """What one level is indented by, as far as the first member of the root shows it."""
    return (_line_indent(text, root.members[0].start) if root.members else "") or _INDENT


def _parse(text: str) -> _Node | None:
    start = _skip(text, 0)
    if start == len(text):
        return None
    try:
        root = _read_value(text, start)
    except RecursionError:
        raise JsonSyntaxError("nested too deeply", start) from None
    end = _skip(text, root.end)
    if end != len(text):
        raise JsonSyntaxError("nothing may follow here", end)
    return root


def _skip(text: str, at: int) -> int:
    """Past blanks and comments."""
    while at < len(text):
        if text[at] in _SPACES:
            at += 1
        elif text.startswith("//", at):
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif text.startswith("/*", at):
            end = text.find("*/", at + 2)
            if end < 0:
                raise JsonSyntaxError("a comment without an end", at)
            at = end + 2
        else:
            break
    return at


def _read_value(text: str, at: int) -> _Node:
    match text[at : at + 1]:
        case "{":
            return _read_object(text, at)
        case "[":
            return _read_array(text, at)
    if text[at : at + 1] not in {*'"-0123456789tfn'}:
        raise JsonSyntaxError("a value is expected here", at)
    value, end = _decode(text, at)
    return _Node(at, end, value)


def _decode(text: str, at: int) -> tuple[Any, int]:
    """A string, number or literal, and where it ends."""
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        raise JsonSyntaxError(reason, error.pos) from None
    except ValueError:
        raise JsonSyntaxError("a number with too many digits", at) from None


def _read_object(text: str, start: int) -> _Node:
    members: list[_Pair] = []
    at = _skip(text, start + 1)
    while text[at : at + 1] != "}":
        _expect(text, at, '"', "a name in double quotes, or }")
        name, after = _decode(text, at)
        colon = _skip(text, after)
        _expect(text, colon, ":", "a colon")
        value = _read_value(text, _skip(text, colon + 1))
        comma, next_at = _read_comma(text, value.end, "}")
        members.append(_Pair(name, at, value, comma))
        at = next_at
    return _Node(start, at + 1, {member.name: member.value.value for member in members}, tuple(members))


def _read_array(text: str, start: int) -> _Node:
    items: list[Any] = []
    at = _skip(text, start + 1)
    while text[at : at + 1] != "]":
        item = _read_value(text, at)
        items.append(item.value)
        at = _read_comma(text, item.end, "]")[1]
    return _Node(start, at + 1, items)


def _read_comma(text: str, at: int, closing: str) -> tuple[int | None, int]:
    """Where the comma after a value stands, if there is one, and where what follows begins."""
    at = _skip(text, at)
    if text[at : at + 1] == ",":
        return at, _skip(text, at + 1)
    _expect(text, at, closing, f"a comma or {closing}")
    return None, at


def _expect(text: str, at: int, sign: str, what: str) -> None:
    if text[at : at + 1] != sign:
        raise JsonSyntaxError(f"{what} is expected here", at)
