"""``drawthings-mcp upscale``: a picture → a large one, for a screen or for print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from drawthings_mcp.cli.generation import PICTURE, run_upscale
from drawthings_mcp.cli.options import with_settings
from drawthings_mcp.cli.output import json_option, say
from drawthings_mcp.limits import MAX_SIDE
from drawthings_mcp.settings import Settings

_MM_PER_INCH = 25.4
_DPI = 300
_PAPERS: Mapping[str, float] = {
    **{"a0": 1189, "a1": 841, "a2": 594, "a3": 420, "a4": 297, "a5": 210, "a6": 148},
    **{"9x13cm": 130, "10x15cm": 150, "13x18cm": 180, "20x30cm": 300, "30x45cm": 450},
    **{"letter": 279.4, "legal": 355.6, "tabloid": 431.8, "4x6": 152.4, "5x7": 177.8, "8x10": 254, "11x14": 355.6},
}
"""Longest sides in millimetres: ISO 216, photo prints, and North American sizes, those without a name in inches."""


@click.command()
@click.argument("picture", metavar="ID|FILE", type=PICTURE)
@click.option("--long-edge", type=click.IntRange(1, MAX_SIDE), help="Longest side in pixels. Default: twice as large.")
@click.option(
    "--print",
    "paper",
    type=click.Choice(list(_PAPERS), case_sensitive=False),
    help="As large as this paper or photo print needs.",
)
@click.option("--dpi", type=click.IntRange(36, 1200), help=f"Dots per inch of the print. Default: {_DPI}.")
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
    inches = _PAPERS[paper] / _MM_PER_INCH
    pixels, most = round(inches * (dpi or _DPI)), int(MAX_SIDE / inches)
    if pixels <= MAX_SIDE:
        return pixels
    if dpi:
        raise click.UsageError(f"--dpi: {paper} has {pixels} pixels at {dpi} dpi, {MAX_SIDE} are the most: give {most}")
    say(f"note: {paper} has {pixels} pixels at {_DPI} dpi; {most} dpi are the most, and fine for a wall")
    return round(inches * most)
