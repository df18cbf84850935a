"""``drawthings-mcp index``: the search index brought up to date, in one go."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from drawthings_mcp.cli.options import read_settings, reported_errors, server_options
from drawthings_mcp.cli.output import print_json, print_text, say
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio import open_studio

_BAR_UNITS = 1000


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="[DIR]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@server_options
@click.pass_context
def index(context: click.Context, /, folders: tuple[Path, ...], as_json: bool, **server: Any) -> None:
    """Index the search folders, and each DIR from now on as well."""
    import anyio

    settings = read_settings(context, server)
    with reported_errors():
        report = anyio.run(_index, settings, folders)
    missing = [str(folder) for folder in report.missing]
    if as_json:
        print_json({"read": report.read, "pending": report.pending, "problems": report.problems, "missing": missing})
        return
    print_text(f"{report.read} files read, {report.pending} left")
    for problem in [*report.problems, *(f"{folder} is not there" for folder in missing)]:
        say(f"note: {problem}")


async def _index(settings: Settings, folders: tuple[Path, ...]) -> Any:
    async with open_studio(settings, reads_anywhere=True, keeps_indexing=False) as studio:
        with _progress_bar() as report:
            return await studio.finder.index(folders, report)


@contextmanager
def _progress_bar() -> Iterator[Any]:
    """A bar on stderr for each phase in turn; nothing when stderr is no terminal."""
    with click.progressbar(
        length=_BAR_UNITS,
        file=sys.stderr,
        item_show_func=lambda message: message,
        hidden=not sys.stderr.isatty(),
    ) as bar:

        def report(progress: Any) -> None:
            reached = round(progress.done / max(progress.total, 1) * _BAR_UNITS)
            bar.update(reached - bar.pos, f"{progress.doing} {progress.done} of {progress.total}")

        yield report
