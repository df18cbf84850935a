"""The XMP packet that Draw Things puts into its pictures: three texts and nothing else (formats §3.1).

Only the XML is read and written here; what the texts mean is up to the dialects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from xml.etree.ElementTree import ParseError, XMLParser

from drawthings_mcp.errors import InvalidImageError

XMP_KEYWORD = "XML:com.adobe.xmp"
"""Keyword of the PNG text that carries the packet (formats §3.1)."""

_PIECE = 16 * 1024
"""Characters that are parsed at once; only between pieces can a packet be given up."""
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_FIELDS = {
    "{http://ns.adobe.com/xap/1.0/}CreatorTool": "software",
    "{http://purl.org/dc/elements/1.1/}description": "description",
    "{http://ns.adobe.com/exif/1.0/}UserComment": "comment",
}

_TEMPLATE = """\
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 6.0.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/">
   <xmp:CreatorTool>{software}</xmp:CreatorTool>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{description}</rdf:li></rdf:Alt></dc:description>
   <exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">{comment}</rdf:li></rdf:Alt></exif:UserComment>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>"""

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": "&#xA;", "\r": "&#xD;"})
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What XML 1.0 cannot contain, not even escaped."""

_ENTITY = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6}));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_MARKUP = re.compile(rf"<|&(?!{_ENTITY.pattern[1:]})")
_MAX_DEPTH = 64
"""Elements within each other; packets have about eight, and the parser remembers every one that is open."""


@dataclass(frozen=True, slots=True)
class Packet:
    """The texts of a packet; empty when it lacks them."""

    software: str = ""
    description: str = ""
    comment: str = ""


def build_packet(packet: Packet) -> str:
    """The packet as XML 1.0. Characters that XML cannot contain are dropped."""
    return _TEMPLATE.format(
        software=_escape(packet.software),
        description=_escape(packet.description),
        comment=_escape(packet.comment),
    )


def parse_packet(text: str) -> Packet:
    """The texts of a packet, also of one whose comment was written without escapes (formats §3.1).

    Raises
    ------
    InvalidImageError
        The packet declares a document type or entities, which no picture needs, or is nested very deep.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InvalidImageError("The picture's XMP metadata declares entities and is not read.")
    collector = _Collector()
    parser = XMLParser(target=collector)
    try:
        xml = text.strip("\ufeff\0 \r\n\t")
        for start in range(0, len(xml), _PIECE):
            parser.feed(xml[start : start + _PIECE])
        parser.close()
    except InvalidImageError:
        raise
    except (ParseError, ValueError):
        return _search_packet(text)
    return collector.packet


def _escape(text: str) -> str:
    return _NOT_XML.sub("", text).translate(_ESCAPES)


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        name, decimal, hexadecimal = match.groups()
        code = int(decimal) if decimal else int(hexadecimal or "0", 16)
        if name:
            return _NAMED[name]
        return chr(code) if code <= 0x10FFFF else match[0]

    return _ENTITY.sub(character, text)


def _search_packet(text: str) -> Packet:
    """The texts of a packet that is no XML, by search: the comment is its outermost ``{…}``."""
    inner = _find_between(text, "exif:UserComment")
    comment = inner[inner.find("{") : inner.rfind("}") + 1] if "{" in inner else ""
    # A bare "<" or "&" shows that nothing was escaped, so that "&lt;" then stands for itself.
    comment = comment if _MARKUP.search(comment) else _unescape(comment)
    return Packet(software=_unescape(_find_between(text, "xmp:CreatorTool")), comment=comment)


def _find_between(text: str, tag: str) -> str:
    """What stands between the first opening and the last closing tag of a name; empty when one is missing."""
    start = text.find(">", text.find(f"<{tag}")) + 1
    end = text.rfind(f"</{tag}>")
    return text[start:end] if f"<{tag}" in text and 0 < start <= end else ""


class _Collector:
    """Target of a parser that keeps the three texts only, so that no tree is built."""

    def __init__(self) -> None:
        self.packet = Packet()
        self._field = ""
        self._parts: list[str] = []
        self._depth = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise InvalidImageError("The picture's XMP metadata are nested too deep and are not read.")
        for name, value in attributes.items():
            if name in _FIELDS:
                self._keep(_FIELDS[name], value)
        if tag in _FIELDS:
            self._field = _FIELDS[tag]
        # Space between a field and its list items is not text.
        self._parts = []

    def data(self, text: str) -> None:
        if self._field:
            self._parts.append(text)

    def end(self, tag: str) -> None:
        self._depth -= 1
        if self._field and (tag == f"{_RDF}li" or tag in _FIELDS):
            self._keep(self._field, "".join(self._parts))
            self._parts = []
        if tag in _FIELDS:
            self._field = ""

    def close(self) -> None:
        """Nothing is left to do; the parser asks for it."""

    def _keep(self, field: str, text: str) -> None:
        if text.strip() and not getattr(self.packet, field):
            self.packet = replace(self.packet, **{field: text})
