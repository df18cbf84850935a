"""``drawthings-mcp show``: how a picture was made, or what is different about another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.cli.generation import PICTURE
from drawthings_mcp.cli.options import with_local_settings
from drawthings_mcp.cli.output import json_option, print_json, print_text, say
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.studio import open_studio

if TYPE_CHECKING:
    from drawthings_mcp.studio.recipes import RecordedRecipe


@click.command()
@click.argument("image", type=PICTURE)
@click.argument("other", type=PICTURE, required=False)
@json_option
@with_local_settings
def show(settings: Settings, image: str, other: str | None, as_json: bool) -> None:
    """Print how IMAGE was made: prompts, model, settings, LoRAs, controls, seed. With OTHER: what is different."""
    import anyio

    async def run() -> list[RecordedRecipe]:
        async with open_studio(settings, reads_anywhere=True, keeps_indexing=False) as studio:
            return await studio.gallery.find_recipes([image, other] if other else [image])

    from drawthings_mcp.studio.recipes import describe_recipes, recipes_to_json

    recipes = anyio.run(run)
    if as_json:
        print_json(recipes_to_json(recipes))
        return
    for line in describe_recipes(recipes, SHELL):
        print_text(line)
    for note in dict.fromkeys(note for recipe in recipes for note in recipe.notes):
        say(f"note: {SHELL.word(note)}")
