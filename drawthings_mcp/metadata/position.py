"""Metadata without the place where a picture was taken, to be given to others: EXIF, XMP and texts."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

from PIL import ExifTags, Image

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.metadata.containers.bounded import RawMetadata
from drawthings_mcp.metadata.exif import MAKER_NOTE, SOFTWARE
from drawthings_mcp.metadata.xmp import XMP_KEYWORD, build_packet, parse_packet

_EMBEDDED = (ExifTags.Base.XMLPacket, ExifTags.Base.IPTCNAA, 0x8649, 0xEA1C, 0x02BC)
"""Tags that carry other metadata whole, or nothing."""
_NAMES = re.compile(
    r"gps|geo(?:tag|loc|ref|$)|latitude|longitude|altitude|location|^city$|^state$|country|province|^raw profile",
    re.IGNORECASE,
)
"""What is called so says where a picture was taken; a raw profile is EXIF, IPTC or XMP in hexadecimal digits."""
_COORDINATES = re.compile(
    r"(?:gps\w*|\blat(?:itude)?|\blon(?:g|gitude)?)[\"']?\s*[:=]\s*[\"']?[-+]?\d|\bgeo:-?\d", re.IGNORECASE
)
_HIDDEN = "google"
"""In namespaces under which whole pictures are hidden, each with metadata of its own."""
_PREFIXES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
}


def remove_position(raw: RawMetadata) -> RawMetadata:
    """The same metadata without what says where the picture was taken.

    Notes of a camera's maker, thumbnails and hidden pictures are left out too, since they can say it again. What cannot
    be read is left out whole. The orientation becomes upright, as the pixels are here.
    """
    texts = {
        key: text
        for key, text in raw.texts.items()
        if key == XMP_KEYWORD or not (_NAMES.search(key) or _COORDINATES.search(text))
    }
    packet = _clean_packet(texts.pop(XMP_KEYWORD, ""))
    return replace(raw, texts={**texts, **({XMP_KEYWORD: packet} if packet else {})}, exif=_clean_exif(raw.exif))


def _clean_exif(data: bytes) -> bytes:
    if not data:
        return b""
    exif = Image.Exif()
    try:
        exif.load(data)
        own = exif.get_ifd(ExifTags.IFD.Exif)
        # Fooocus writes its settings where cameras write notes.
        if not str(exif.get(SOFTWARE, "")).startswith("Fooocus"):
            own.pop(MAKER_NOTE, None)
        for tag in (*_EMBEDDED, ExifTags.IFD.GPSInfo):
            exif.pop(tag, None)
        for tags in (exif, own):
            for tag in [tag for tag, value in tags.items() if _tells(value)]:
                del tags[tag]
        if ExifTags.Base.Orientation in exif:
            exif[ExifTags.Base.Orientation] = 1
        return exif.tobytes() if len(exif) else b""
    except Exception:  # what Pillow raises on broken metadata is not documented
        return b""


def _tells(value: object) -> bool:
    text = value.decode("latin-1").replace("\0", "") if isinstance(value, bytes) else value
    return isinstance(text, str) and _COORDINATES.search(text) is not None


def _clean_packet(text: str) -> str:
    """A packet as it is when nothing in it says where; empty when it cannot be read."""
    try:
        packet = parse_packet(text)
        root = ElementTree.fromstring(text.strip("\ufeff\0 \r\n\t"))
    except InvalidImageError:
        return ""
    except (ElementTree.ParseError, ValueError):
        # Draw Things writes some without escapes (formats §3.1): they have its three texts and nothing else.
        return build_packet(packet) if packet.comment else ""
    if not _clean_element(root):
        return text
    for prefix, uri in _PREFIXES.items():
        ElementTree.register_namespace(prefix, uri)
    return ElementTree.tostring(root, encoding="unicode")


def _clean_element(element: ElementTree.Element) -> bool:
    """Remove what says where from an element; whether there was anything."""
    found = [name for name, value in element.attrib.items() if _is_about_place(name, value)]
    for name in found:
        del element.attrib[name]
    children = [child for child in element if _is_about_place(child.tag, child.text or "")]
    for child in children:
        element.remove(child)
    cleaned = [_clean_element(child) for child in element]
    return bool(found or children or any(cleaned))


def _is_about_place(tag: str, text: str) -> bool:
    namespace, _, name = tag.rpartition("}")
    return _HIDDEN in namespace or _NAMES.search(name) is not None or _COORDINATES.search(text) is not None
