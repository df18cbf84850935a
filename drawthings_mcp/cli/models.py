"""``drawthings-mcp models``: what the server offers."""

from __future__ import annotations

import sys
from typing import Any

import click

from drawthings_mcp.cli.options import read_settings, reported_errors, server_options
from drawthings_mcp.cli.output import format_table, print_json, print_text, say
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.results import CatalogListing, CatalogRow
from drawthings_mcp.studio.studio import open_studio

KINDS = ("models", "loras", "controls", "upscalers", "embeddings", "presets", "all")
MODES = ("text2image", "image2image", "edit", "inpaint")

_BROWSING_OFF = (
    "This server does not list its models, so only files of the built-in presets could be looked for.\n"
    "To see everything, switch on Enable Model Browsing in Draw Things (Advanced settings → API Server), "
    "or start the stand-alone server with --model-browser."
)


@click.command()
@click.option("--kind", type=click.Choice(KINDS), default="models", show_default=True, help="What to list.")
@click.option("--query", default="", metavar="TEXT", help="Words that must occur in name, file or family.")
@click.option("--family", default="", metavar="NAME", help="Only this family, e.g. z-image, qwen-image, flux, sdxl.")
@click.option("--mode", type=click.Choice(MODES), default=None, help="Only what serves this mode.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@server_options
def models(kind: str, query: str, family: str, mode: str | None, as_json: bool, **options: Any) -> None:
    """List what the Draw Things server offers."""
    settings = read_settings(click.get_current_context(), options)

    import anyio

    with reported_errors():
        listing = anyio.run(_list_all, settings, kind, query, family, mode or "")
    if as_json:
        print_json(_to_json(listing))
    else:
        _print_listing(listing, show_kind=kind == "all")
    if not listing.browsing:
        say(_BROWSING_OFF)
    for note in listing.notes:
        say(f"note: {note}")


async def _list_all(settings: Settings, kind: str, query: str, family: str, mode: str) -> CatalogListing:
    async with open_studio(settings) as studio:
        return await studio.list_catalog(kind, query=query, family=family, mode=mode, limit=sys.maxsize)


def _print_listing(listing: CatalogListing, *, show_kind: bool) -> None:
    if not listing.rows:
        say(f"Nothing on {listing.server} matches. Leave out --query, --family or --mode to see more.")
        return
    cells = [_list_cells(row) for row in listing.rows]
    header = ("KIND", "NAME", "FILE", "FAMILY", "DETAILS")
    first = 0 if show_kind else 1
    print_text(format_table([row[first:] for row in (header, *cells)]))


def _list_cells(row: CatalogRow) -> tuple[str, ...]:
    return row.kind, row.name, row.file, row.family, row.detail


def _to_json(listing: CatalogListing) -> dict[str, Any]:
    return {
        "server": listing.server,
        "browsing": listing.browsing,
        "total": listing.total,
        "rows": [row.to_json() for row in listing.rows],
        "notes": list(listing.notes),
    }
