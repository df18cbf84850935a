"""Text that names an image → what kind of reference it is, and the bytes of ``data:`` URIs (RFC 2397). Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.library.records import MEDIA_KINDS, parse_id
from drawthings_mcp.validation import shorten

ReferenceForm: TypeAlias = Literal["id", "latest", "path", "data", "web", "name", "origin"]
ALLOWED = (
    "an id such as v3, latest, latest:a or latest:a2 (the newest but one), the absolute path of a picture, the file "
    "name of a saved one, a data: URI or an https:// URL"
)
"""What a reference can be, for errors."""
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LATEST = frozenset({"latest", "last", "newest", "latest image", "last image", "latest picture", "last picture"})
_PLACE = re.compile(rf"([{''.join(MEDIA_KINDS)}]?)([1-9]\d?)?")
"""Of which kind, and the how manieth from the newest."""
_MEANT = re.compile(
    r"[\s\"'`\[(<#]*(?:(?:the|id|image|picture|photo|variant|output|input)[\s:=#_-]*){0,3}"
    r"([avpi])[\s_-]?(\d+)(?:\.(?:png|jpe?g|webp))?[\s\"'`\])>]*",
    re.IGNORECASE,
)
_MAX_TEXT = 4096
"""Characters of anything but a data: URI; no path or URL that works is longer."""
_SHOWN = 60
_BASE64_GROWTH = 4 / 3
_PERCENT_GROWTH = 3
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference and its form.

    Attributes
    ----------
    value
        Of an ``id``, in lower case: ``v3``; of ``latest``, the letter of the kind and the place: ``a2``; of a ``path``,
        absolute or with ``~`` for the home folder; of a ``name``, that of a file; else the URI or URL as given.
    """

    form: ReferenceForm
    value: str = field(repr=False)


def parse_reference(text: str) -> Reference:
    """What kind of reference a text is.

    Raises
    ------
    InvalidImageError
        It is none; says what would be one.
    """
    text = text.strip()
    if text[:5].lower() == "data:":
        return Reference("data", text)
    _check_text(text)
    if parse_id(text):
        return Reference("id", text.lower())
    word, _, kind = text.lower().partition(":")
    if word.strip().removeprefix("the ") in _LATEST:
        return _parse_latest(text, kind.strip())
    if text.startswith(("/", "~/")):
        return Reference("path", text)
    scheme = _SCHEME.match(text)
    if scheme:
        return _parse_uri(text, scheme[1].lower())
    if "/" in text or "\\" in text:
        raise InvalidImageError(f"The path {shorten(text)} is not absolute; give the whole path, from / on.")
    return Reference("name", text)


def find_meant_id(name: str) -> str | None:
    """The id in ``image v3``, ``#v3``, ``V 3`` or ``v3.png``, as models write it; None when a name holds more."""
    match = _MEANT.fullmatch(name)
    meant = (match[1] + match[2]).lower() if match else ""
    return meant if parse_id(meant) else None


def _check_text(text: str) -> None:
    if not text:
        raise InvalidImageError(f"An image reference is empty; give {ALLOWED}.")
    if len(text) > _MAX_TEXT:
        raise InvalidImageError(
            f"An image reference that begins with {shorten(text)} has {len(text)} characters; give {ALLOWED}."
        )
    if _CONTROL.search(text):
        raise InvalidImageError(f"The image reference {shorten(text)} has control characters in it; give {ALLOWED}.")


def _parse_latest(text: str, kind: str) -> Reference:
    asked = _PLACE.fullmatch(kind)
    if asked is None:
        raise InvalidImageError(
            f"{shorten(text)} is no image reference; write latest for the newest variant, or latest:a, latest:v, "
            "latest:p or latest:i; latest:a2 is the newest but one."
        )
    return Reference("latest", f"{asked[1] or 'v'}{asked[2] or 1}")


def _parse_uri(text: str, scheme: str) -> Reference:
    parse = _SCHEMES.get(scheme)
    if parse is None:
        raise InvalidImageError(f"{shorten(text)} is no image reference; give {ALLOWED}.")
    return parse(text)


def _parse_file(text: str) -> Reference:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise InvalidImageError(f"{shorten(text)} is no valid file:// URI; give an absolute path.") from error
    path = unquote(parts.path)
    if parts.netloc.lower() not in {"", "localhost"} or not path.startswith("/"):
        raise InvalidImageError(f"{shorten(text)} is no file of this machine; give an absolute path.")
    _check_text(path)
    return Reference("path", path)


def _parse_image(text: str) -> Reference:
    """One of our own resources: ``image://v3`` or ``image://v3/preview``."""
    name = text.partition(":")[2].strip("/").removesuffix("/preview")
    if not parse_id(name):
        raise InvalidImageError(f"{shorten(text)} names no image; write image:// and an id such as v3.")
    return Reference("id", name.lower())


_SCHEMES: Mapping[str, Callable[[str], Reference]] = {
    "file": _parse_file,
    "https": lambda text: Reference("web", text),
    "http": lambda text: Reference("web", text),
    "project": lambda text: Reference("origin", text),
    "image": _parse_image,
}


def decode_data_uri(uri: str, max_bytes: int) -> bytes:
    """The bytes in a ``data:`` URI.

    Raises
    ------
    InvalidImageError
        It is none, holds nothing, or more than ``max_bytes``.
    """
    head, comma, body = uri.partition(",")
    if not comma:
        raise InvalidImageError("The data: URI has no comma; write data:image/png;base64, and then the picture.")
    is_base64 = head.lower().endswith(";base64")
    growth = _BASE64_GROWTH if is_base64 else _PERCENT_GROWTH
    # Judged by its length first, so that nothing is made of what is too long anyway.
    data = _decode(body, is_base64) if len(body) <= max_bytes * growth + 4 else None
    if data is None or len(data) > max_bytes:
        raise InvalidImageError(
            f"The data: URI holds more than {max_bytes / 1e6:.0f} MB; save the picture as a file and give its path."
        )
    if not data:
        raise InvalidImageError("The data: URI holds nothing; give a picture with content.")
    return data


def _decode(body: str, is_base64: bool) -> bytes:
    if not is_base64:
        return unquote_to_bytes(body)
    try:
        packed = unquote_to_bytes(body).translate(None, b" \t\r\n").rstrip(b"=")
        # Many writers leave out the signs that fill up the last group, or use the alphabet of URLs.
        return base64.b64decode(packed.translate(_URL_SAFE) + b"=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImageError(
            "The data: URI is no valid base64; encode the whole file again, or save it and give its path."
        ) from error
