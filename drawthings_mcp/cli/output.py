"""What commands print: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import click

_GAP = "  "


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    print_text(json.dumps(document, indent=2, ensure_ascii=not can_print("é→✓")))


def print_text(text: str) -> None:
    """Text on stdout; characters that the terminal cannot show become question marks."""
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(text.encode(encoding, "replace").decode(encoding))


def say(message: str) -> None:
    """A message on stderr."""
    click.echo(message, err=True)


def can_print(text: str) -> bool:
    """Whether stdout can take every character of a text."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equally many cells with aligned columns; the last column is not padded.

    Letters of East Asian scripts take two columns, as terminals show them.
    """
    widths = [max(map(measure, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_GAP.join(_pad(row, widths)).rstrip() for row in rows)


def _pad(cells: Iterable[str], widths: Iterable[int]) -> list[str]:
    return [pad(cell, width) for cell, width in zip(cells, widths, strict=True)]


def pad(text: str, width: int) -> str:
    """A text with blanks up to a width in columns."""
    return text + " " * (width - measure(text))


def measure(text: str) -> int:
    """Columns that a text takes in a terminal."""
    return sum(_measure_character(character) for character in text)


def _measure_character(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
