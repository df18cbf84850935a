"""``drawthings-mcp jobs``: what is rendered, by whichever process, and the end of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drawthings_mcp.cli.options import with_local_settings
from drawthings_mcp.cli.output import format_table, json_option, print_json, print_text, say
from drawthings_mcp.quoting import clean, label, quote
from drawthings_mcp.settings import Settings

if TYPE_CHECKING:
    from drawthings_mcp.jobs.board import JobRow

_LISTED = 20
_SECONDS = 0.5
_BAR = 20
_LOOKS = 10
"""At a job that is to end, before it is left to its process."""
_MAX_PROMPT = 40
_MAX_REASON = 120


@click.command()
@click.option("--watch", is_flag=True, help="Go on until nothing is queued or rendered any more.")
@click.option("--cancel", metavar="JOB", help="End a job; its finished pictures stay.")
@json_option
@with_local_settings
def jobs(settings: Settings, watch: bool, cancel: str | None, as_json: bool) -> None:
    """List the renders of all programs here, newest first: how far they are, and the time that is left."""
    if watch and (as_json or cancel):
        raise click.UsageError("--watch goes with no other option.")
    if cancel:
        _cancel(settings.state_dir, cancel, as_json)
    elif watch:
        _watch(settings.state_dir)
    else:
        _show(_read(settings.state_dir), as_json)


def _read(state_dir: Path) -> Sequence[JobRow]:
    from drawthings_mcp.jobs.board import JobBoard

    return JobBoard(state_dir).list_jobs(_LISTED)


def _cancel(state_dir: Path, job: str, as_json: bool) -> None:
    from drawthings_mcp.jobs.board import JobBoard

    board = JobBoard(state_dir)
    found = board.request_stop(job)
    if found is None:
        raise click.ClickException(f"There is no job {label(job)}; run `drawthings-mcp jobs`.")
    if found.is_done:
        raise click.ClickException(f"{found.id} has ended already: {found.state}.")
    # Its process looks twice a second.
    for _ in range(_LOOKS):
        if found is None or not found.is_active:
            break
        time.sleep(_SECONDS)
        found = board.find(found.id)
    assert found is not None
    say(f"{found.id}: {found.state}" if found.is_done else f"{found.id} will be stopped.")
    if as_json:
        print_json(found.to_json())


def _show(rows: Sequence[JobRow], as_json: bool) -> None:
    if as_json:
        print_json([row.to_json() for row in rows])
    elif rows:
        print_text(_format(rows))
    else:
        say("No jobs yet.")


def _watch(state_dir: Path) -> None:
    height, watched = 0, set[str]()
    while True:
        rows = _read(state_dir)
        active = {row.id for row in rows if row.is_active}
        watched |= active
        text = _format([row for row in rows if row.id in watched] or rows[:1]) if rows else ""
        if sys.stdout.isatty() and height:
            click.echo(f"\x1b[{height}A\x1b[J", nl=False)
        if sys.stdout.isatty() or not active:
            print_text(text)
        height = text.count("\n") + 1
        if not active:
            break
        time.sleep(_SECONDS)


def _format(rows: Sequence[JobRow]) -> str:
    return format_table(
        [(row.id, clean(row.client, _MAX_PROMPT), quote(row.prompt, _MAX_PROMPT), _describe(row)) for row in rows]
    )


def _describe(row: JobRow) -> str:
    """A bar of what is rendered, with the time that is left; of all else the state and what came of it."""
    if row.state == "failed":
        return f"failed: {quote(row.message, _MAX_REASON)}"
    if row.state != "running":
        came = f" {' '.join(row.pictures)}" if row.pictures else ""
        return f"{row.state}{came}{', being stopped' if row.is_stopping and not row.is_done else ''}"
    filled = round(row.fraction * _BAR)
    return f"[{'#' * filled}{'-' * (_BAR - filled)}] {row.fraction:.0%} {row.message}"
