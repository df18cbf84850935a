"""``drawthings-mcp tag``: words given to pictures, to find them by."""

from __future__ import annotations

from typing import Any

import click

from drawthings_mcp.cli.generation import PICTURE
from drawthings_mcp.cli.options import with_local_settings
from drawthings_mcp.cli.output import json_option, print_json, print_text
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.studio import open_studio


@click.command()
@click.argument("images", nargs=-1, type=PICTURE, metavar="[FILE|ID]...")
@click.option("--add", multiple=True, metavar="TAG", help="Tag to add; may be given several times.")
@click.option("--remove", multiple=True, metavar="TAG", help="Tag to remove; may be given several times.")
@click.option("--rating", type=click.IntRange(0, 5), help="Stars, 1 to 5; 0 removes them.")
@json_option
@with_local_settings
def tag(
    settings: Settings,
    images: tuple[str, ...],
    add: tuple[str, ...],
    remove: tuple[str, ...],
    rating: int | None,
    as_json: bool,
) -> None:
    """Rate pictures, add or remove tags, and print the tags they have. Without a picture: list all tags."""
    import anyio

    async def run() -> dict[str, Any]:
        async with open_studio(settings, reads_anywhere=True, keeps_indexing=False) as studio:
            if not images:
                return dict(await studio.finder.list_tags())
            return dict(await studio.finder.change_tags(images, add, remove, rating))

    found = anyio.run(run)
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        print_text(f"{name}: {value if isinstance(value, int) else ', '.join(value)}")
