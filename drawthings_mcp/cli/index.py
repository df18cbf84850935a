"""``drawthings-mcp index``: the search index brought up to date, in one go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drawthings_mcp.cli.indexing_bar import progress_bar
from drawthings_mcp.cli.options import read_settings, reported_errors, server_options
from drawthings_mcp.cli.output import print_json, print_text, say
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.studio import open_studio

if TYPE_CHECKING:
    from drawthings_mcp.search.indexing import IndexReport


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(file_okay=False, path_type=Path), metavar="[DIR]...")
@click.option("--forget", is_flag=True, help="Search each DIR no more.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@server_options
@click.pass_context
def index(context: click.Context, /, folders: tuple[Path, ...], forget: bool, as_json: bool, **server: Any) -> None:
    """Index the search folders, and each DIR from now on as well."""
    import anyio

    if forget and not folders:
        raise click.UsageError("--forget needs the folders that are to be forgotten.")
    # A folder that is gone can still be forgotten.
    for folder in () if forget else folders:
        if not folder.is_dir():
            raise click.BadParameter(f"{folder} is no folder.")
    settings = read_settings(context, server)
    with reported_errors():
        if forget:
            anyio.run(_forget, settings, folders)
        report = anyio.run(_index, settings, () if forget else folders)
    missing = [str(folder) for folder in report.missing]
    if as_json:
        print_json({"read": report.read, "pending": report.pending, "problems": report.problems, "missing": missing})
        return
    print_text(f"{report.read} files read, {report.pending} left")
    for problem in [*report.problems, *(f"{folder} is not there" for folder in missing)]:
        say(f"note: {problem}")


async def _forget(settings: Settings, folders: tuple[Path, ...]) -> None:
    async with open_studio(settings, reads_anywhere=True, keeps_indexing=False) as studio:
        await studio.finder.forget(folders)


async def _index(settings: Settings, folders: tuple[Path, ...]) -> IndexReport:
    async with open_studio(settings, reads_anywhere=True, keeps_indexing=False) as studio:
        with progress_bar() as report:
            return await studio.finder.index(folders, report)
