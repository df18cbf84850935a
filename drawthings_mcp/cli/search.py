"""``drawthings-mcp search``: pictures found again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.cli.generation import PICTURE
from drawthings_mcp.cli.options import with_local_settings
from drawthings_mcp.cli.output import indexing_bar, json_option, print_json, print_text, say
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
    help="Where to search: all is everything but the web.",
)
@click.option("--like", type=PICTURE, help="Find pictures that look like this one.")
@click.option("--model", default="", metavar="NAME", help="Part of a model's name.")
@click.option("--lora", default="", metavar="NAME", help="Part of a LoRA's name.")
@click.option("--size", default="", metavar="WxH", help="E.g. 1024x768, >=2048, or portrait.")
@click.option("--since", default="", metavar="DATE", help="First day, e.g. 2026-11, yesterday, 7d.")
@click.option("--until", default="", metavar="DATE", help="Last day, written like --since.")
@click.option("--tag", default="", metavar="TAG", help="A tag that the pictures have.")
@click.option(
    "--sort",
    type=click.Choice(["best", "newest", "oldest", "rating", "size"]),
    default="best",
    show_default=True,
    help="Order of the hits.",
)
@click.option("--offset", type=click.IntRange(0, 10_000), default=0, help="Hits to skip.")
@click.option("--limit", type=click.IntRange(1, 25), default=12, show_default=True, help="Hits to print at most.")
@json_option
@click.option("--open", "is_opened", is_flag=True, help="Open a labelled sheet of the hits.")
@with_local_settings
def search(settings: Settings, as_json: bool, is_opened: bool, like: str | None, **wanted: Any) -> None:
    """Find pictures by the words of their prompts, e.g. red fox model:flux -blurry "exact phrase".

    Also in the query: fox OR wolf, size:>=1024, steps:<10, cfg:7, negative:blurry, path:holiday, rating:>=4,
    is:duplicate.
    """
    import anyio

    async def run() -> tuple[HitPage, Path | None]:
        async with open_studio(settings, reads_anywhere=True, keeps_indexing=False) as studio:
            with indexing_bar() as report:
                page = await studio.finder.search(**wanted, like=like or "", report=report)
            return page, await studio.finder.draw_sheet(page) if is_opened and page.hits else None

    page, sheet = anyio.run(run)
    if as_json:
        print_json(page.to_json(SHELL))
    else:
        for hit in page.hits:
            print_text(f"{hit.describe(SHELL)}\n    {hit.place}")
        for line in page.describe_rest(SHELL):
            say(line)
    if sheet is not None:
        say(f"sheet: {sheet}")
        click.launch(str(sheet))
