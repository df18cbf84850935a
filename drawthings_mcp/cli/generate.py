"""``drawthings-mcp generate``: a prompt, or a file of them, to pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from drawthings_mcp.cli.generation import build_option, generation_options, run_jobs
from drawthings_mcp.cli.output import say
from drawthings_mcp.settings import Settings


@click.command()
@click.argument("prompt", required=False)
@build_option("canvas")
@click.option(
    "--prompt-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with one prompt per line. The pictures are numbered; those that exist already are not made again.",
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
    if (prompt is None) == (prompt_file is None):
        raise click.UsageError("give either a PROMPT or --prompt-file")
    if prompt is not None:
        run_jobs(settings, [(prompt, output)], options)
    elif output is not None:
        raise click.UsageError("--output names one file; with --prompt-file use --output-dir and --prefix")
    elif prompt_file is not None:
        run_jobs(settings, _list_missing(prompt_file, output_dir.absolute(), prefix), options, many=True)


def _list_missing(prompt_file: Path, folder: Path, prefix: str) -> list[tuple[str, Path | None]]:
    """Prompts whose picture does not exist yet, each with the file to write; the number is that of the line."""
    lines = prompt_file.read_text(encoding="utf-8-sig").splitlines()
    digits = max(len(str(len(lines))), 3)
    jobs: list[tuple[str, Path | None]] = []
    for number, line in enumerate(lines, 1):
        path = folder / f"{prefix}-{number:0{digits}}.png"
        if not line.strip():
            continue
        if path.exists():
            say(f"{path} exists, skipped")
        else:
            jobs.append((line.strip(), path))
    return jobs
