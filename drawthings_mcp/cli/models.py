"""``drawthings-mcp models``: what the server offers."""

from __future__ import annotations

import sys
from typing import get_args

import click

from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.cli.options import with_settings
from drawthings_mcp.cli.output import format_table, json_option, print_json, print_text, say
from drawthings_mcp.faces import Step, Text
from drawthings_mcp.params import GenerationMode
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.listing import KINDS, CatalogListing
from drawthings_mcp.studio.studio import open_studio

_BROWSING_OFF = Text(
    "This server does not list its models, so only files of the built-in presets could be looked for.\n"
    "To see everything, {browsing}.",
    browsing=Step("switch_on_browsing"),
)


@click.command()
@click.option("--kind", type=click.Choice(KINDS), default="models", show_default=True, help="What to list.")
@click.option("--query", default="", metavar="TEXT", help="Words in name, file, family or purpose.")
@click.option("--family", default="", metavar="NAME", help="Only this family, e.g. z-image, qwen-image, flux, sdxl.")
@click.option("--mode", type=click.Choice(get_args(GenerationMode)), help="Only what serves this mode.")
@json_option
@with_settings
def models(settings: Settings, kind: str, query: str, family: str, mode: str | None, as_json: bool) -> None:
    """List what the Draw Things server offers."""
    import anyio

    async def run() -> CatalogListing:
        async with open_studio(settings) as studio:
            return await studio.list_catalog(kind, query=query, family=family, mode=mode or "", limit=sys.maxsize)

    listing = anyio.run(run)
    if as_json:
        print_json(
            {
                "server": listing.server,
                "browsing": listing.browsing,
                "total": listing.total,
                "rows": [row.to_json() for row in listing.rows],
                "notes": list(map(SHELL.word, listing.notes)),
            }
        )
    elif listing.rows:
        rows = [(row.kind, row.name, row.file, row.family, SHELL.word(row.describe())) for row in listing.rows]
        first = 0 if kind == "all" else 1
        print_text(format_table([row[first:] for row in (("KIND", "NAME", "FILE", "FAMILY", "DETAILS"), *rows)]))
    else:
        say(f"Nothing on {listing.server} matches. Leave out --query, --family or --mode to see more.")
    if not listing.browsing:
        say(SHELL.word(_BROWSING_OFF))
    for note in listing.notes:
        say(f"note: {SHELL.word(note)}")
