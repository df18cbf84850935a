"""``drawthings-mcp edit``: a picture, and what to change → a new picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from drawthings_mcp.cli.generation import PICTURE, generation_options, read_job, run_jobs
from drawthings_mcp.settings import Settings


@click.command()
@click.argument("input_image", metavar="INPUT", type=PICTURE)
@click.argument("prompt", required=False)
@generation_options
def edit(settings: Settings, input_image: str, prompt: str | None, output: Path | None, **options: Any) -> None:
    """Change the picture INPUT as PROMPT says, and print the path of the new file. INPUT itself stays as it is."""
    mode = options["mode"] if options["mode"] not in (None, "auto") else "inpaint" if options["mask"] else "edit"
    job = read_job(prompt, output, {**options, "canvas": input_image, "mode": mode})
    run_jobs(settings, [job], as_json=options["as_json"])
