"""The XMP packet: what is written is read again, and what others wrote too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.metadata.xmp import Packet, build_packet, parse_packet

_XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=[*map(chr, range(32)), "\ufffe", "\uffff"])
    | st.sampled_from("\n\t\r<&>\"']")
)


@given(_XML_TEXT, _XML_TEXT)
def test_every_text_survives(description: str, comment: str) -> None:
    read = parse_packet(build_packet(Packet("tool", description, comment)))
    assert read.software == "tool"
    assert read.description == (description if description.strip() else "")
    assert read.comment == (comment if comment.strip() else "")


def test_what_xml_cannot_contain_is_dropped() -> None:
    assert parse_packet(build_packet(Packet(description="a\0b\x1bc\ufffed\ud800e"))).description == "abcde"


@pytest.mark.parametrize(
    "declaration",
    ['<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>', '<!DOCTYPE x SYSTEM "file:///etc/passwd">'],
)
def test_a_packet_that_declares_entities_is_refused(declaration: str) -> None:
    packet = build_packet(Packet(comment="{}")).replace("{}", "&b;")
    with pytest.raises(InvalidImageError, match="declares entities"):
        parse_packet(declaration + packet)


def test_fields_may_be_attributes_or_plain_elements() -> None:
    text = (
        '<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<r:Description xmlns:t="http://ns.adobe.com/xap/1.0/" t:CreatorTool="Draw Things">'
        '<e:UserComment xmlns:e="http://ns.adobe.com/exif/1.0/">{"c": "x"}</e:UserComment>'
        "</r:Description></r:RDF>"
    )
    assert parse_packet(text) == Packet(software="Draw Things", comment='{"c": "x"}')


def test_the_first_language_counts() -> None:
    packet = build_packet(Packet(description="one")).replace(
        "</rdf:li></rdf:Alt></dc:", "</rdf:li><rdf:li>two</rdf:li></rdf:Alt></dc:"
    )
    assert parse_packet(packet).description == "one"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"c":"a < b & c"}', '{"c":"a < b & c"}'),
        ('{"c":"x < y &lt; z"}', '{"c":"x < y &lt; z"}'),
        ('{"c":"if a&&b {c}"}', '{"c":"if a&&b {c}"}'),
    ],
)
def test_a_comment_without_escapes_is_found_by_search(written: str, read: str) -> None:
    packet = build_packet(Packet(software="Draw Things", comment="HERE")).replace("HERE", written)
    assert parse_packet(packet) == Packet(software="Draw Things", comment=read)


def test_an_escaped_comment_is_unescaped_when_the_packet_is_broken_elsewhere() -> None:
    packet = build_packet(Packet(comment='{"c":"a < b &#x41;"}')).replace("</rdf:RDF>", "")
    assert parse_packet(packet).comment == '{"c":"a < b &#x41;"}'


def test_an_empty_packet_says_nothing() -> None:
    assert parse_packet("") == Packet()
