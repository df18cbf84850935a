"""``drawthings-mcp doctor``: what works, what does not, and the switch to flip."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby

import click

from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.cli.options import with_settings
from drawthings_mcp.cli.output import can_print, format_table, json_option, measure, pad, print_json, print_text, say
from drawthings_mcp.doctor.diagnosis import Diagnosis, diagnose
from drawthings_mcp.doctor.finding import Finding, FindingStatus
from drawthings_mcp.quoting import hide_password
from drawthings_mcp.settings import NAMES, Settings, variable

_SYMBOLS: Mapping[FindingStatus, str] = {"ok": "✓", "warning": "!", "problem": "✗", "skipped": "–"}
_COLOURS: Mapping[FindingStatus, str] = {
    "ok": "green",
    "warning": "yellow",
    "problem": "red",
    "skipped": "bright_black",
}
_STATUS_WIDTH = max(map(len, _SYMBOLS))

_NARROWEST = 60
"""Columns below which lines are left to the terminal to break."""

_NOTE = (
    "A chat client starts the server with the options and variables of its own configuration file. To test those, "
    "give the same here."
)


@click.command()
@click.option("--render", is_flag=True, help="Also render one tiny picture, for which the server loads a model.")
@click.option(
    "--timeout",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600),
    metavar="SECONDS",
    help="How long to wait for each answer.",
)
@click.option("--discover", is_flag=True, help="Also list servers that announce themselves on the network.")
@json_option
@with_settings
def doctor(settings: Settings, render: bool, timeout: float, discover: bool, as_json: bool) -> None:
    """Find out what works, what does not, and what to do about it. The exit code is 1 when there is a problem."""
    import anyio

    async def run() -> Diagnosis:
        return await diagnose(settings, timeout=timeout, render=render, discovers=discover, report=say, face=SHELL)

    diagnosis = anyio.run(run)
    values = _list_values(settings)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in diagnosis.findings], "settings": values})
    else:
        print_text("\n".join([*_describe_settings(values), *_describe_groups(diagnosis), *_summarise(diagnosis)]))
    click.get_current_context().exit(1 if diagnosis.problems else 0)


def _list_values(settings: Settings) -> dict[str, dict[str, str | None]]:
    """Value, origin and environment variable of every setting; of a secret only that it is set."""
    return {
        name: {
            "value": _show(getattr(settings, name)),
            "origin": settings.origins.get(name, "default"),
            "variable": variable(name),
        }
        for name in NAMES
    }


def _show(value: object) -> str | None:
    secret = getattr(value, "get_secret_value", None)
    if secret is not None:
        return "set" if secret() else None
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={limit}" for name, limit in value.items()) or None
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or None
    return None if value is None or value == "" else hide_password(str(value))


def _describe_settings(values: Mapping[str, Mapping[str, str | None]]) -> Iterator[str]:
    yield _title("Settings")
    rows = [(name, *(fact or "not set" for fact in entry.values())) for name, entry in values.items()]
    yield textwrap.indent(format_table(rows), "  ")
    yield from _wrap(_NOTE, indent=2)


def _describe_groups(diagnosis: Diagnosis) -> Iterator[str]:
    width = max(measure(finding.name) for finding in diagnosis.findings)
    for group, findings in groupby(diagnosis.findings, key=lambda finding: finding.group):
        yield ""
        yield _title(group)
        for (status, detail), alike in groupby(findings, key=lambda finding: (finding.status, finding.detail)):
            yield from _describe(status, detail, list(alike), width)


def _describe(status: FindingStatus, detail: str, alike: Sequence[Finding], width: int) -> Iterator[str]:
    """Findings with the same detail, such as questions that could not be asked, in one entry."""
    symbol = _SYMBOLS[status] if can_print(_SYMBOLS[status]) else "*"
    head = f"  {symbol} {status:{_STATUS_WIDTH}}  "
    coloured = click.style(head, fg=_COLOURS[status])
    indent = len(head) + width + 2
    if len(alike) > 1:
        names = ", ".join(finding.name for finding in alike)
        first, *rest = _wrap(f"{names}: {detail}", indent=len(head))
    else:
        first, *rest = _wrap(detail, indent=indent)
        first = f"{' ' * len(head)}{pad(alike[0].name, width)}  {first.strip()}"
    yield coloured + first[len(head) :]
    yield from rest
    if alike[0].remedy:
        arrow = "→" if can_print("→") else "->"
        yield from _wrap(f"{arrow} {alike[0].remedy}", indent=indent)


def _summarise(diagnosis: Diagnosis) -> Iterator[str]:
    problems, warnings = len(diagnosis.problems), len(diagnosis.warnings)
    yield ""
    if problems:
        yield click.style(
            f"{_count(problems, 'problem')} to solve, {_count(warnings, 'warning')}.", fg="red", bold=True
        )
        first = diagnosis.problems[0]
        yield from _wrap(f'Begin with "{first.name}": {first.remedy or first.detail}', indent=0)
    else:
        yield click.style(f"Everything needed works; {_count(warnings, 'warning')}.", fg="green", bold=True)


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _title(text: str) -> str:
    return click.style(text, bold=True)


def _wrap(text: str, indent: int) -> list[str]:
    """Lines that fit the terminal; those of the text where stdout is none, so that it can be searched."""
    if "\n" in text:
        return [line for part in text.split("\n") for line in _wrap(part, indent)]
    columns = shutil.get_terminal_size().columns
    blanks = " " * indent
    if not sys.stdout.isatty() or columns - indent < _NARROWEST:
        return [blanks + text]
    return textwrap.wrap(
        text,
        columns,
        initial_indent=blanks,
        subsequent_indent=blanks,
        break_long_words=False,
        break_on_hyphens=False,
    )
