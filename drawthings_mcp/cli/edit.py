"""``drawthings-mcp edit``: a picture and what to change to a new picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from drawthings_mcp.cli.generation import PICTURE, generation_options, run_jobs


@click.command()
@click.argument("input_image", metavar="INPUT", type=PICTURE)
@click.argument("prompt")
@generation_options
def edit(input_image: str, prompt: str, output: Path | None, **options: Any) -> None:
    """Change INPUT as PROMPT says and print the path of the new file; INPUT stays as it is."""
    if not prompt.strip():
        raise click.UsageError("the PROMPT is empty")
    run_jobs([(prompt, output)], {**options, "canvas": input_image, "mode": _read_mode(options)})


def _read_mode(options: dict[str, Any]) -> str:
    if options["mode"] not in (None, "auto"):
        return str(options["mode"])
    return "inpaint" if options["mask"] else "edit"
