"""``drawthings-mcp tag``: words given to pictures, to find them by."""

from __future__ import annotations

from typing import Any

import click

from drawthings_mcp.cli.generation import PICTURE
from drawthings_mcp.cli.options import read_settings, reported_errors, server_options
from drawthings_mcp.cli.output import print_json, print_text
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.studio import open_studio


@click.command()
@click.argument("images", nargs=-1, type=PICTURE, metavar="[FILE|ID]...")
@click.option("--add", multiple=True, metavar="TAG", help="Can be given several times.")
@click.option("--remove", multiple=True, metavar="TAG", help="Can be given several times.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@server_options
@click.pass_context
def tag(
    context: click.Context,
    /,
    images: tuple[str, ...],
    add: tuple[str, ...],
    remove: tuple[str, ...],
    as_json: bool,
    **server: Any,
) -> None:
    """Add or remove tags of pictures, and print those they have; without a picture, list all tags."""
    import anyio

    settings = read_settings(context, server)
    with reported_errors():
        found = anyio.run(_tag, settings, images, add, remove)
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        print_text(f"{name}: {value if isinstance(value, int) else ', '.join(value)}")


async def _tag(
    settings: Settings, images: tuple[str, ...], add: tuple[str, ...], remove: tuple[str, ...]
) -> dict[str, Any]:
    async with open_studio(settings, reads_anywhere=True, keeps_indexing=False) as studio:
        if not images:
            return dict(await studio.finder.list_tags())
        return dict(await studio.finder.change_tags(images, add, remove))
