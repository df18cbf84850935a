"""``drawthings-mcp generate``: a prompt, or a file of them, to pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from drawthings_mcp.cli.generation import build_option, generation_options, read_job, run_jobs
from drawthings_mcp.cli.prompt_file import list_missing
from drawthings_mcp.settings import Settings


@click.command()
@click.argument("prompt", required=False)
@build_option("canvas")
@click.option(
    "--prompt-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with one prompt per line, or one JSON object with settings per line. Lines that begin with # do not "
    "count. The pictures are numbered; those that are there already are not made again.",
)
@click.option(
    "--prefix", default="image", show_default=True, metavar="NAME", help="Start of the file names, with --prompt-file."
)
@click.option(
    "--output-dir",
    default=Path("output"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the pictures, with --prompt-file.",
)
@generation_options
def generate(
    settings: Settings,
    prompt: str | None,
    prompt_file: Path | None,
    prefix: str,
    output_dir: Path,
    output: Path | None,
    **options: Any,
) -> None:
    """Make a picture from PROMPT and print the path of the file."""
    if prompt is not None and prompt_file is not None:
        raise click.UsageError("give either a PROMPT or --prompt-file")
    stands_for_prompt = (prompt, prompt_file, *(options[name] for name in ("settings_from", "prompts", "sweep")))
    if not any(stands_for_prompt) and prompt is None:
        raise click.UsageError("give a PROMPT, --prompt-file, --prompts or --settings-from")
    if prompt_file is None:
        run_jobs(settings, [read_job(prompt, output, options)], as_json=options["as_json"])
    elif output is not None:
        raise click.UsageError("--output names one file; with --prompt-file use --output-dir and --prefix")
    else:
        jobs = list_missing(prompt_file, output_dir.absolute(), prefix, options)
        run_jobs(settings, jobs, as_json=options["as_json"], many=True)
