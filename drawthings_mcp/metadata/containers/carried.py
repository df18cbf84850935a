"""What the readers of all formats give back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Carried:
    """What a picture file carries beside its pixels.

    Attributes
    ----------
    texts
        By PNG keyword; the XMP packet of other formats stands under the keyword it has in PNG.
    exif
        A TIFF structure, with or without the ``Exif`` prefix of JPEG.
    width, height
        Pixels as stored, 0 when unknown.
    is_upright
        Whether width and height are those of the picture as it is shown, whatever EXIF says of its orientation.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    exif: bytes = b""
    width: int = 0
    height: int = 0
    is_upright: bool = False


def decode_text(data: bytes) -> str:
    """Text of a PNG; many writers put UTF-8 where the format says Latin-1 (formats §4.1)."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
