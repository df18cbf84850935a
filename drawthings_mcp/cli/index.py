"""``drawthings-mcp index``: the search index brought up to date, in one go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.cli.options import with_local_settings
from drawthings_mcp.cli.output import indexing_bar, json_option, print_json, print_text, say
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.studio import open_studio

if TYPE_CHECKING:
    from drawthings_mcp.search.indexing import IndexReport


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(file_okay=False, path_type=Path), metavar="[DIR]...")
@click.option("--forget", is_flag=True, help="Stop searching each DIR, and remove it from the index.")
@json_option
@with_local_settings
def index(settings: Settings, folders: tuple[Path, ...], forget: bool, as_json: bool) -> None:
    """Bring the search index up to date. Each DIR is added to the folders that are searched."""
    import anyio

    if forget and not folders:
        raise click.UsageError("--forget needs the folders that are to be forgotten.")
    # A folder that is gone can still be forgotten.
    for folder in () if forget else folders:
        if not folder.is_dir():
            raise click.BadParameter(f"{folder} is not a folder.")

    async def run() -> IndexReport:
        async with open_studio(settings, reads_anywhere=True, keeps_indexing=False) as studio:
            if forget:
                await studio.finder.forget(folders)
            with indexing_bar() as report:
                return await studio.finder.index(() if forget else folders, report)

    report = anyio.run(run)
    missing = [str(folder) for folder in report.missing]
    skipped = [SHELL.word(note) for note in report.list_skipped()]
    if as_json:
        print_json(
            {
                "read": report.read,
                "pending": report.pending,
                "problems": report.problems,
                "missing": missing,
                "skipped": skipped,
            }
        )
        return
    print_text(f"{report.read} files read, {report.pending} left")
    for problem in [*report.problems, *(f"{folder} is not there" for folder in missing), *skipped]:
        say(f"note: {problem}")
