"""Every source that the code cites is a section of a document in ``docs/``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
_DOCUMENTS = ("protocol", "formats")
_FOLDERS = ("drawthings_mcp", "tests", "configs", "proto", "fbs", "benchmarks", "docs")
_SUFFIXES = {".py", ".md", ".json", ".proto", ".fbs"}

_GAP = r"[\s#*>]*"
"""Between the words of a citation that is broken over two lines, also in comments."""

_NUMBER = r"§\d+(?:\.\d+)*"
_LIST = rf"{_NUMBER}(?:{_GAP}(?:,|and|to|–)(?:{_GAP}and)?{_GAP}{_NUMBER})*"
_CITATION = re.compile(rf"\b([A-Za-z_/]+)(?:\.md)?[`*]*{_GAP}({_LIST})")
_RULE = re.compile(r'\b(?:refuse|warn)\(\s*"([^"]*)"')
_HEADING = re.compile(r"^#{2,4} (\d+(?:\.\d+)*)\.? ", re.MULTILINE)


class Citation(NamedTuple):
    """A section of a document, and where it is cited."""

    place: str
    document: str
    section: str


def find_citations(text: str, place: str) -> Iterator[Citation]:
    """Citations with the name of their document; standards have other names and are none of ours."""
    for match in _CITATION.finditer(text):
        document = match[1].removeprefix("docs/").lower()
        if document in (*_DOCUMENTS, "design", "contract", "clients"):
            line = text.count("\n", 0, match.start()) + 1
            for section in re.findall(_NUMBER, match[2]):
                yield Citation(f"{place}:{line}", document, section[1:])


def list_sections(document: str) -> set[str]:
    return set(_HEADING.findall((ROOT / "docs" / f"{document}.md").read_text(encoding="utf-8")))


def list_files() -> list[Path]:
    files = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in _SUFFIXES]
    return [path for path in [*files, *ROOT.glob("*.md")] if path != Path(__file__)]


def list_cited() -> Iterator[Citation]:
    for path in list_files():
        place = str(path.relative_to(ROOT))
        yield from find_citations(path.read_text(encoding="utf-8"), place)


def list_rules() -> Iterator[Citation]:
    """Rules of the guard name sections of the protocol without its name."""
    for path in (ROOT / "drawthings_mcp" / "planning" / "rules").glob("*.py"):
        for sections in _RULE.findall(path.read_text(encoding="utf-8")):
            for section in re.findall(_NUMBER, sections) or [f"{sections!r}, which is no section"]:
                yield Citation(str(path.relative_to(ROOT)), "protocol", section.removeprefix("§"))


def list_own() -> Iterator[Citation]:
    """A document names its own sections by their number alone."""
    for document in _DOCUMENTS:
        text = (ROOT / "docs" / f"{document}.md").read_text(encoding="utf-8")
        other = re.compile(rf"(?:{'|'.join(_DOCUMENTS)}) {_LIST}")
        for section in re.findall(_NUMBER, other.sub("", text)):
            yield Citation(f"docs/{document}.md", document, section[1:])


def test_every_citation_is_a_section_of_a_document_in_the_repository() -> None:
    sections = {document: list_sections(document) for document in _DOCUMENTS}
    cited = [*list_cited(), *list_rules(), *list_own()]
    assert len(cited) > 250, "the search for citations finds too few"
    missing = [cite for cite in cited if cite.section not in sections.get(cite.document, ())]
    assert not missing, "\n".join(f"{cite.place}: {cite.document} §{cite.section}" for cite in missing)


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("as it says (protocol §5.4, §5.5; formats §6.5)", ["protocol 5.4", "protocol 5.5", "formats 6.5"]),
        ("Protocol §2.5.", ["protocol 2.5"]),
        ("see `protocol.md` §3", ["protocol 3"]),
        ("formats §3 and §4", ["formats 3", "formats 4"]),
        ("protocol §5.1 to §5.3", ["protocol 5.1", "protocol 5.3"]),
        ("# the reason (protocol\n    # §4.2, and §6.1)", ["protocol 4.2", "protocol 6.1"]),
        ("(contract §6, design §6)", ["contract 6", "design 6"]),
        ("ISO/IEC 14496-12 §8.11, PNG 3, §11.2", []),
    ],
)
def test_a_citation_is_found_however_it_is_written(text: str, cited: list[str]) -> None:
    assert [f"{cite.document} {cite.section}" for cite in find_citations(text, "")] == cited
