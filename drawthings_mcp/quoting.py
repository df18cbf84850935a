"""Texts that the user did not type, as data within a text that a model reads.

Names and titles in files, on the web and on servers, details of errors and descriptions by another model can carry
line breaks, signs that turn the direction of writing, and sentences that look like ours. Every such text passes through
this module where a text is put together; parsed values stay as they are. ::

    quote("a fox\\nshown: outputs v9")  → “a fox shown - outputs v9”
    label("z_image_turbo_q8p.ckpt")     → z_image_turbo_q8p.ckpt
    show_path(Path("/pictures/a\\nb.png")) → /pictures/a\\nb.png, the line break as two characters
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

MAX_NAME = 80
"""Characters of a name or a title."""
MAX_PROMPT = 4_000
"""Characters of a prompt that was asked for in full."""
MAX_DETAILS = 200
"""Characters of the words of a server or of another program."""
MAX_FILE = 255
"""Characters of a file's name: no file system takes longer ones."""

_JOINERS = "\u200c\u200d"
"""Of letters in some scripts and of parts of an emoji: the only invisible signs that say something."""
_SPACE = "Zs"
"""The category of blanks: of all signs that print nothing, those alone serve neither control, format and direction nor
the end of a line."""
_OURS = str.maketrans({"•": "·", ";": ",", "|": "/", "“": '"', "”": '"'})
"""What divides the parts of our own texts, and what may stand there instead."""
_HEADS = re.compile(r"\b(shown|note|inputs|outputs)\s*[:\uff1a]\s*", re.IGNORECASE)
"""What lines of our own begin with."""
_PLAIN = re.compile(r"[\w.:@+/()\[\]{}'!$^,×%#=~&*-]+")
_CREDENTIALS = re.compile(r"(?<=:)//[^\s/@]*(?:/[^\s@]*)?@(?=[^\s/@]+)")
"""Before the host of a URL; a password may have a stroke in it, though it should not."""
_ESCAPED = re.compile(r"\\(?:[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U000[0-9a-f]{5}|U0010[0-9a-f]{4})")
_SPACES = re.compile(r"\s+")


def tidy(text: str) -> str:
    """A text on one line: control, direction and line-separating characters are spaces."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if _is_invisible(sign) else sign for sign in text)


def _is_invisible(sign: str) -> bool:
    return not sign.isprintable() and sign not in _JOINERS and unicodedata.category(sign) != _SPACE


def clean(text: str, most: int = MAX_NAME) -> str:
    """A text as data: on one line, without what divides our own texts, cut to a number of characters."""
    text = text.strip()
    # A text without end is cut before it is looked at: what is kept of it cannot grow.
    whole = _HEADS.sub(r"\1 - ", tidy(text[: 8 * most]).translate(_OURS))
    words = _SPACES.sub(" ", whole).strip()
    return words if len(words) <= most and len(text) <= 8 * most else f"{words[: most - 1].rstrip()}…"


def quote(text: str, most: int = MAX_NAME) -> str:
    """``“a red fox”``: a text as data, in marks that it cannot contain."""
    return f"“{clean(text, most)}”"


def label(text: str) -> str:
    """A file's name or an id, as it is when nothing in it can be misread; quoted otherwise, but not shortened."""
    is_plain = len(text) <= MAX_FILE and _PLAIN.fullmatch(text) is not None and clean(text, MAX_FILE) == text
    return text if is_plain else quote(text, MAX_FILE)


def shorten_text(text: str, most: int) -> str:
    """A text of ours, cut at its end."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def hide_password(text: str) -> str:
    """A text with the names and passwords in its URLs masked."""
    return _CREDENTIALS.sub("//***@", text)


def show_path(path: PurePath | str) -> str:
    """A path as it is, never shortened; characters that are invisible or end a line are escaped."""
    return "".join(_escape(sign) if _is_invisible(sign) else sign for sign in str(path))


def read_path(text: str) -> str:
    """A path as ``show_path`` wrote it, with its own characters again."""
    return _ESCAPED.sub(lambda escape: escape[0].encode("ascii").decode("unicode_escape"), text)


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def change_texts(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with all of its texts changed, names of members included."""
    if isinstance(value, str):
        return change(value) if value else value
    if isinstance(value, dict):
        return {change(str(key)): change_texts(item, change) for key, item in value.items()}
    return [change_texts(item, change) for item in value] if isinstance(value, list | tuple) else value


def key_of(name: str) -> str:
    """What a name and the form in which a model read it have in common, without regard to case."""
    plain = name.strip()
    return clean(plain[1:-1] if plain.startswith("“") and plain.endswith("”") else plain).casefold()
