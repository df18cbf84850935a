"""What commands print: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from drawthings_mcp.search.indexing import ReportProgress

_GAP = "  "
_BAR_UNITS = 1000

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


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
    return "\n".join(_GAP.join(map(pad, row, widths)).rstrip() for row in rows)


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


@contextmanager
def progress_bar() -> Iterator[Callable[[float, str], None]]:
    """A bar on stderr from the first report on, which begins again when the share falls; none without a terminal."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def show(share: float, message: str) -> None:
            if not bars:
                bar = click.progressbar(
                    length=_BAR_UNITS,
                    file=sys.stderr,
                    item_show_func=lambda message: message,
                    show_eta=False,
                    update_min_steps=0,
                    hidden=not sys.stderr.isatty(),
                )
                bars.append(stack.enter_context(bar))
            reached = round(share * _BAR_UNITS)
            if reached < bars[0].pos:
                bars[0].pos, bars[0].finished = 0, False
            bars[0].update(reached - bars[0].pos, message)

        yield show


@contextmanager
def indexing_bar() -> Iterator[ReportProgress]:
    """The same for what indexing reports, phase by phase."""
    with progress_bar() as show:
        yield lambda progress: show(
            progress.done / max(progress.total, 1), f"{progress.doing} {progress.done} of {progress.total}"
        )
