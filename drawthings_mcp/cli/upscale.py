"""``drawthings-mcp upscale``: a picture → a large one, for a screen or for print."""

from __future__ import annotations

from pathlib import Path

import click

from drawthings_mcp.cli.generation import PICTURE, run_upscale
from drawthings_mcp.cli.options import with_settings
from drawthings_mcp.cli.output import json_option, say
from drawthings_mcp.limits import MAX_SIDE, PAPERS, PRINT_DPI
from drawthings_mcp.settings import Settings


@click.command()
@click.argument("picture", metavar="ID|FILE", type=PICTURE)
@click.option("--long-edge", type=click.IntRange(1, MAX_SIDE), help="Longest side in pixels. Default: twice as large.")
@click.option(
    "--print",
    "paper",
    type=click.Choice(list(PAPERS), case_sensitive=False),
    help="As large as this paper or photo print needs.",
)
@click.option("--dpi", type=click.IntRange(36, 1200), help=f"Dots per inch of the print. Default: {PRINT_DPI}.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PNG file to write. Default: a new file in the output folder.",
)
@json_option
@with_settings
def upscale(
    settings: Settings,
    picture: str,
    long_edge: int | None,
    paper: str | None,
    dpi: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Enlarge the picture ID or FILE with the server's upscaler and print the path of the new file."""
    if paper and long_edge:
        raise click.UsageError("--long-edge and --print both say how large: give one of them")
    if dpi and not paper:
        raise click.UsageError("--dpi goes with --print")
    run_upscale(settings, picture, _measure(paper, dpi) if paper else long_edge, output, as_json=as_json)


def _measure(paper: str, dpi: int | None) -> int:
    """The longest side of a paper in pixels; as many dots per inch as there can be when nobody said how many."""
    inches = PAPERS[paper]
    pixels, most = round(inches * (dpi or PRINT_DPI)), int(MAX_SIDE / inches)
    if pixels <= MAX_SIDE:
        return pixels
    if dpi:
        raise click.UsageError(f"--dpi: {paper} has {pixels} pixels at {dpi} dpi, {MAX_SIDE} are the most: give {most}")
    say(f"note: {paper} has {pixels} pixels at {PRINT_DPI} dpi; {most} dpi are the most, and fine for a wall")
    return round(inches * most)
