"""Sentences for what was wrong with a value, so that the library, the tools and the command line say the same."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Phrase, Text, join_texts
from drawthings_mcp.quoting import quote, shorten_text, tidy

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

_SUGGESTED = 3
_MAX_VALUE = 60
"""Characters of a value in a one-line message."""
_MAX_LISTED = 30
_ALIKE = 0.6
"""Share of letters in common from which on a name is taken for a slip of the pen."""

_MAX_COMPARED = 200
"""Characters of a name that are compared with others; longer ones are no slips of the pen."""

_FEW = 5
"""Arguments that are listed as a whole."""

_PHRASES: Mapping[str, str] = {
    "missing": "is required",
    "greater_than_equal": "must be at least {ge}, got {value}",
    "greater_than": "must be more than {gt}, got {value}",
    "less_than_equal": "must be at most {le}, got {value}",
    "less_than": "must be less than {lt}, got {value}",
    "finite_number": "must be a finite number, got {value}",
    "multiple_of": "must be a multiple of {multiple_of}, got {value}",
    "string_too_short": "must have at least {min_length} character(s), got {length}",
    "string_too_long": "must have at most {max_length} characters, got {length}",
    "path_type": "must be a path, got {value}",
    "too_long": "takes at most {max_length} items, got {actual_length}",
    "too_short": "needs at least {min_length} item(s), got {actual_length}",
    "literal_error": "must be {expected}, got {value}",
    "enum": "must be {expected}, got {value}",
    "string_type": "must be text, got {value}",
    "int_type": "must be a whole number, got {value}",
    "int_parsing": "must be a whole number, got {value}",
    "int_from_float": "must be a whole number, got {value}",
    "float_type": "must be a number, got {value}",
    "float_parsing": "must be a number, got {value}",
    "bool_type": "must be true or false, got {value}",
    "bool_parsing": "must be true or false, got {value}",
    "list_type": "must be a list, got {value}",
    "tuple_type": "must be a list, got {value}",
    "dict_type": "must be an object, got {value}",
    "value_error": "{error}",
}


def find_nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names that come closest to a name, best first, without regard to case or separators."""

    def plain(text: str) -> str:
        return "".join(c if c.isalnum() else " " for c in text.lower()).strip()

    wanted = plain(name[:_MAX_COMPARED])
    words = set(wanted.split())

    def score(candidate: str) -> float:
        other = plain(candidate)
        shared = len(words & set(other.split())) / max(len(words), 1)
        return difflib.SequenceMatcher(None, wanted, other).ratio() + shared

    return sorted(dict.fromkeys(known), key=score, reverse=True)[:count]


def strip_separators(name: str) -> str:
    """A name as two spellings of it have it in common: ``zimage`` for ``Z-Image`` and ``z_image``."""
    return "".join(filter(str.isalnum, name.casefold()))


_WORDS = re.compile(r"\d+(?:\.\d+)*(?:b\b)?|[^\W\d_]+")


def split_words(name: str) -> frozenset[str]:
    """The words, numbers and sizes of a name: ``flux``, ``2``, ``klein`` and ``9b`` of ``FLUX.2 [klein] 9B``."""
    return frozenset(_WORDS.findall(name.casefold()))


def suggest(name: str, known: Iterable[str]) -> Text:
    """`` Did you mean …?`` with names that look like it; when none does, all that there are, or the nearest of many."""
    names = list(known)
    if alike := find_alike(name, names):
        meant = {f"name{number}": found for number, found in enumerate(alike)}
        return Text(f" Did you mean {' or '.join(f'{{{key}!r}}' for key in meant)}?", **meant)
    if len(names) > _MAX_LISTED:
        return Text(" Nearest of {count}: {names}.", count=len(names), names=tuple(find_nearest(name, names)))
    return Text(" There are: {names}.", names=tuple(names)) if names else Text("")


def find_alike(name: str, known: Iterable[str]) -> list[str]:
    """The known names for which a name may be a slip of the pen, the likeliest first; often none."""
    names = {other.lower(): other for other in known}
    wanted = name[:_MAX_COMPARED].lower()
    return [names[n] for n in difflib.get_close_matches(wanted, names, n=_SUGGESTED, cutoff=_ALIKE)]


def make_encodable(text: str) -> str:
    """A text that can be sent: halves of surrogate pairs, which JSON and names of files can hold, become ``?``."""
    return text.encode("utf-8", "replace").decode()


def shorten(value: object) -> str:
    """A value as it may be quoted in a one-line message."""
    if isinstance(value, str):
        return quote(value, _MAX_VALUE)
    text = tidy(repr(value))
    return shorten_text(text, _MAX_VALUE)


def build_refusal(
    error: ValidationError,
    fields: Mapping[str, FieldInfo] | None = None,
    aliases: Mapping[str, Sequence[str]] | None = None,
) -> InvalidInputError:
    """What pydantic raised as this package's own error, about the first wrong field; each further one is a line.

    Parameters
    ----------
    fields
        Those of the model: for their ranges, and to suggest one for a field that does not exist.
    aliases
        Fields that are meant by other names; none for what is to be left out.
    """
    refusals = [_build_one(detail, fields or {}, aliases or {}) for detail in error.errors()]
    by_text = {str(refusal): refusal for refusal in refusals}
    first, *others = by_text.values()
    if others:
        first.problem = join_texts(first.problem, *others, by="\n")
    return first


def _build_one(
    detail: ErrorDetails, fields: Mapping[str, FieldInfo], aliases: Mapping[str, Sequence[str]]
) -> InvalidInputError:
    field = ".".join(str(part) for part in detail["loc"])
    cause = detail.get("ctx", {}).get("error")
    nearest = cause.nearest if isinstance(cause, InvalidInputError) else ()
    if detail["type"] == "extra_forbidden":
        problem = _explain_unknown(field, fields, aliases)
        return InvalidInputError(problem, parameter=field, value=detail["input"], nearest=nearest)
    return InvalidInputError(
        _explain_one(detail, field, fields), parameter=field, value=detail["input"], nearest=nearest
    )


def _explain_unknown(name: str, fields: Mapping[str, FieldInfo], aliases: Mapping[str, Sequence[str]]) -> Text:
    if name in aliases and not aliases[name]:
        return Text("is not offered here; leave it out. What matters goes into {prompt}.")
    # Names of arguments are words of ours.
    return Text("there is no such argument.{hint}", hint=Phrase(suggest_argument(name, fields, aliases)))


def suggest_argument(name: str, fields: Collection[str], aliases: Mapping[str, Sequence[str]] | None = None) -> Text:
    """Which argument is meant: by another name for it, by its spelling, or those that come nearest."""
    wanted = "_".join(name[:_MAX_COMPARED].lower().replace("-", " ").split())
    meant = [other for other in (aliases or {}).get(wanted, ()) if other in fields]
    if meant:
        return Text(f" Did you mean {' or '.join(meant)}?")
    if len(fields) <= _FEW or find_alike(name, fields):
        return suggest(name, fields)
    return Text(" Nearest: {names}.", names=tuple(find_nearest(name, fields)))


def _explain_one(detail: ErrorDetails, field: str, fields: Mapping[str, FieldInfo]) -> str:
    if detail["type"] in _BOUNDS and (reach := _find_bounds(fields.get(field))):
        return f"must be from {reach[0]:.10g} to {reach[1]:.10g}, got {shorten(detail['input'])}"
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, InvalidInputError):
        return Text("{error}", error=cause)
    phrase = _PHRASES.get(detail["type"])
    if phrase is None:
        return detail["msg"]
    bounds = {key: f"{bound:g}" if isinstance(bound, float) else bound for key, bound in detail.get("ctx", {}).items()}
    context: dict[str, Any] = {"value": shorten(detail["input"]), **bounds}
    if isinstance(detail["input"], str):
        context["length"] = len(detail["input"])
    return phrase.format_map(context)


_BOUNDS = frozenset({"greater_than_equal", "less_than_equal"})


def _find_bounds(field: FieldInfo | None) -> tuple[float, float] | None:
    """The least and the most that a field takes, when it has both."""
    found: dict[str, Any] = {}
    for constraint in field.metadata if field is not None else ():
        found.update({name: getattr(constraint, name) for name in ("ge", "le") if hasattr(constraint, name)})
    return (found["ge"], found["le"]) if len(found) == 2 else None
