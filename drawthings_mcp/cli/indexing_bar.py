"""How far indexing is, as a bar on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from drawthings_mcp.search.indexing import Progress, ReportProgress

_BAR_UNITS = 1000


@contextmanager
def progress_bar() -> Iterator[ReportProgress]:
    """A bar on stderr for each phase in turn, from the first report on; nothing when stderr is no terminal."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def report(progress: Progress) -> None:
            if not bars:
                bars.append(stack.enter_context(_build_bar()))
            reached = round(progress.done / max(progress.total, 1) * _BAR_UNITS)
            bars[0].update(reached - bars[0].pos, f"{progress.doing} {progress.done} of {progress.total}")

        yield report


def _build_bar() -> Any:
    return click.progressbar(
        length=_BAR_UNITS,
        file=sys.stderr,
        item_show_func=lambda message: message,
        hidden=not sys.stderr.isatty(),
    )
