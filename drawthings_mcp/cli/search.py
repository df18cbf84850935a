"""``drawthings-mcp search``: pictures found again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.cli.generation import PICTURE
from drawthings_mcp.cli.indexing_bar import progress_bar
from drawthings_mcp.cli.options import SERVER_NAMES, read_settings, reported_errors, server_options
from drawthings_mcp.cli.output import print_json, print_text, say
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.studio import open_studio

if TYPE_CHECKING:
    from drawthings_mcp.search.hits import HitPage


@click.command()
@click.argument("query", default="")
@click.option(
    "--source",
    type=click.Choice(["all", "generated", "folders", "projects", "web"]),
    default="all",
    show_default=True,
)
@click.option("--like", type=PICTURE, help="Find pictures that look like this one.")
@click.option("--model", default="", metavar="NAME", help="Part of a model's name.")
@click.option("--lora", default="", metavar="NAME", help="Part of a LoRA's name.")
@click.option("--size", default="", metavar="WxH")
@click.option("--since", default="", metavar="DATE", help="E.g. 2026-11, yesterday, 7d.")
@click.option("--until", default="", metavar="DATE")
@click.option("--tag", default="", metavar="TAG")
@click.option("--offset", type=click.IntRange(0, 10_000), default=0)
@click.option("--limit", type=click.IntRange(1, 25), default=12, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--open", "is_opened", is_flag=True, help="Show a labelled sheet of the hits.")
@server_options
@click.pass_context
def search(context: click.Context, /, as_json: bool, is_opened: bool, **options: Any) -> None:
    """Find pictures by words of their prompts: red fox model:flux -blurry "exact phrase"."""
    import anyio

    server = {name: options.pop(name) for name in SERVER_NAMES}
    settings = read_settings(context, server)
    with reported_errors():
        page, sheet = anyio.run(_search, settings, {**options, "like": options["like"] or ""}, is_opened)
    if as_json:
        print_json(page.to_json(SHELL))
    else:
        for hit in page.hits:
            print_text(f"{hit.describe()}\n    {hit.place}")
        for line in page.describe_rest(SHELL):
            say(line)
    if sheet is not None:
        say(f"sheet: {sheet}")
        click.launch(str(sheet))


async def _search(settings: Settings, wanted: dict[str, Any], is_opened: bool) -> tuple[HitPage, Path | None]:
    async with open_studio(settings, reads_anywhere=True, keeps_indexing=False) as studio:
        with progress_bar() as report:
            page = await studio.finder.search(**wanted, report=report)
        return page, await studio.finder.draw_sheet(page) if is_opened and page.hits else None
