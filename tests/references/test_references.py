"""What a text that names an image can be."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.references.parsing import ReferenceForm, parse_reference


@pytest.mark.parametrize(
    ("text", "form", "value"),
    [
        ("v3", "id", "v3"),
        (" V12 ", "id", "v12"),
        ("a1", "id", "a1"),
        ("image://v3", "id", "v3"),
        ("image://V3/preview", "id", "v3"),
        ("latest", "latest", "v1"),
        ("LATEST", "latest", "v1"),
        ("last", "latest", "v1"),
        ("the newest", "latest", "v1"),
        ("latest:2", "latest", "v2"),
        ("latest:a", "latest", "a1"),
        ("latest:A2", "latest", "a2"),
        ("latest: P", "latest", "p1"),
        ("/pictures/a b.png", "path", "/pictures/a b.png"),
        ("~/fox.png", "path", "~/fox.png"),
        ("file:///pictures/a%20b.png", "path", "/pictures/a b.png"),
        ("FILE://localhost/fox.png", "path", "/fox.png"),
        ("data:image/png;base64,AA==", "data", "data:image/png;base64,AA=="),
        ("https://example.com/fox.png", "web", "https://example.com/fox.png"),
        ("http://example.com/fox.png", "web", "http://example.com/fox.png"),
        ("project:///p.sqlite3#3", "origin", "project:///p.sqlite3#3"),
        ("2026-11-20_a-red-fox_s42.png", "name", "2026-11-20_a-red-fox_s42.png"),
        ("v0", "name", "v0"),
    ],
)
def test_a_reference_is_known_by_its_form(text: str, form: ReferenceForm, value: str) -> None:
    reference = parse_reference(text)
    assert (reference.form, reference.value) == (form, value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty; give an id such as v3"),
        ("  ", "is empty"),
        ("pictures/fox.png", "is not absolute; give the whole path"),
        ("../fox.png", "is not absolute"),
        ("C:\\fox.png", "is no image reference; give an id"),
        ("\\\\server\\fox.png", "is not absolute"),
        ("latest:x", "write latest for the newest variant, or latest:a"),
        ("ftp://example.com/fox.png", "is no image reference; give an id"),
        ("javascript:alert(1)", "is no image reference"),
        ("file://server/fox.png", "is no file of this machine"),
        ("file:fox.png", "is no file of this machine"),
        ("file:///fox%00.png", "control characters"),
        ("image://fox", "names no image"),
        ("/fox\0.png", "control characters"),
        ("/fox\n.png", "control characters"),
        ("/" + "x" * 5000, "has 5001 characters"),
        ("file://[/x", "no valid file"),
    ],
)
def test_what_is_no_reference_is_refused_with_what_would_be(text: str, reason: str) -> None:
    with pytest.raises(InvalidImageError, match=reason):
        parse_reference(text)


@given(
    st.text()
    | st.sampled_from(["file:", "https:", "data:", "latest:", "image://", "/"]).flatmap(
        lambda head: st.text().map(lambda tail: head + tail)
    )
)
def test_any_text_is_a_reference_or_one_printable_sentence(text: str) -> None:
    try:
        answer = parse_reference(text).value
    except InvalidImageError as error:
        answer = str(error)
        is_sentence = re.sub("[\u200c\u200d]", "", answer).isprintable() and len(answer) < 500
    else:
        is_sentence = bool(answer)
    assert is_sentence
