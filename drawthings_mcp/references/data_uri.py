"""``data:`` URIs → their bytes (RFC 2397). Pure."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from drawthings_mcp.errors import InvalidImageError

_BASE64_GROWTH = 4 / 3
_PERCENT_GROWTH = 3


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


_URL_SAFE = bytes.maketrans(b"-_", b"+/")
