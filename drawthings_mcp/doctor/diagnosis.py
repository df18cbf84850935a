"""Puts all questions, and sees to it that none is lost because another one failed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from drawthings_mcp.doctor.finding import Check, Finding, SubjectT, blame, ok, problem, skipped, warning
from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.faces import PYTHON, Face, Phrase, Text
from drawthings_mcp.settings import DEMO_SERVER, ServerSettings, Settings, config_path

if TYPE_CHECKING:
    from drawthings_mcp.client.discovery import FoundServer

_logger = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds for each question to a server: a busy machine on a wireless network answers in less."""

MACHINE = "This machine"
EXTRAS = "What you added"
NETWORK = "Announced on the network"
_DISCOVERY_SECONDS = 3.0
"""Announcements are answers to a question, which take a second or two."""
SERVER = "Server "
"""What the name of a server's group begins with."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, those of a group together."""

    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What does not work."""
        return tuple(finding for finding in self.findings if finding.status == "problem")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What could work better."""
        return tuple(finding for finding in self.findings if finding.status == "warning")


def _keep_quiet(message: str) -> None:
    """A report for callers who do not want any."""


async def diagnose(
    settings: Settings,
    *,
    timeout: float = TIMEOUT,
    render: bool = False,
    discovers: bool = False,
    report: Callable[[str], None] = _keep_quiet,
    face: Face = PYTHON,
) -> Diagnosis:
    """Examines this machine and every configured server; whatever is wrong is a finding, never an exception.

    A server's own certificate is pinned, as by any first connection. Nothing else is left behind.

    Parameters
    ----------
    timeout
        Seconds for each question to a server but the picture.
    render
        Whether every server makes a tiny picture.
    discovers
        Whether servers are listed that announce themselves on the network.
    report
        Called with what is being done.
    face
        Names settings and steps in the findings.
    """
    identifiers: dict[str, int] = {}
    servers = (
        _examine_server(server, settings, identifiers, timeout=timeout, render=render, report=report)
        for server in settings.list_servers()
    )
    network = [_examine_network(settings)] if discovers else []
    groups = await _run_all([_examine_machine(settings), _examine_extras(settings), *servers, *network])
    for server, group in zip(settings.list_servers(), groups[2:], strict=False):
        group.extend(_list_same(server.name, settings, identifiers))
    findings = [finding.word(face) for group in groups for finding in group]
    return Diagnosis(tuple(_excuse_spare_servers(findings)))


async def _run_all(examinations: Sequence[Awaitable[list[Finding]]]) -> list[list[Finding]]:
    results: list[list[Finding]] = [[] for _ in examinations]

    async def run(place: int, examination: Awaitable[list[Finding]]) -> None:
        results[place] = await examination

    async with anyio.create_task_group() as tasks:
        for place, examination in enumerate(examinations):
            tasks.start_soon(run, place, examination)
    return results


async def _examine_machine(settings: Settings) -> list[Finding]:
    try:
        from drawthings_mcp.doctor.machine import MACHINE_CHECKS
    except Exception as error:
        return [replace(_confess(error), name="installation", group=MACHINE)]
    return await anyio.to_thread.run_sync(_run_checks, MACHINE_CHECKS, settings, MACHINE)


async def _examine_extras(settings: Settings) -> list[Finding]:
    try:
        from drawthings_mcp.doctor.machine import EXTRA_CHECKS, check_endpoints

        endpoints = await check_endpoints(settings)
    except Exception as error:
        return [replace(_confess(error), name="extras", group=EXTRAS)]
    findings = await anyio.to_thread.run_sync(_run_checks, EXTRA_CHECKS, settings, EXTRAS)
    return [*findings, *(replace(found, name=name, group=EXTRAS) for name, found in endpoints.items())]


async def find_announced() -> Sequence[FoundServer]:
    """Servers that announce themselves; raises as ``watch_network``."""
    from drawthings_mcp.client.discovery import find_servers

    return await find_servers(_DISCOVERY_SECONDS)


async def _examine_network(settings: Settings) -> list[Finding]:
    """A finding for each announcement; nobody is connected to."""
    try:
        found = await find_announced()
    except DrawThingsError as error:
        return [replace(blame(error), name="discovery", group=NETWORK)]
    except Exception as error:
        return [replace(_confess(error), name="discovery", group=NETWORK)]
    if not found:
        nobody = "no Draw Things server announces itself; those on Linux cannot be heard: give their address"
        return [replace(skipped(nobody), name="discovery", group=NETWORK)]
    used = {server.address for server in settings.list_servers()}
    return [replace(_judge_found(server, used), name=str(server.address), group=NETWORK) for server in found]


def _judge_found(server: FoundServer, used: Collection[str]) -> Finding:
    facts = {
        "name": server.name,
        "kind": Phrase("TLS" if server.tls else "no TLS: anybody on the network can read along"),
    }
    if str(server.address) in used:
        return ok(Text("{name}, {kind}; in use", **facts))
    remedy = Text("If it is yours, add to {file}:\n{table}", file=config_path(), table=Phrase(server.describe_table()))
    return skipped(Text("{name}, {kind}; announced, not used and not connected to", **facts), remedy)


def _list_same(name: str, settings: Settings, identifiers: Mapping[str, int]) -> Iterator[Finding]:
    """That a server is one that was named before."""
    first = next(one.name for one in settings.list_servers() if identifiers.get(one.name) == identifiers.get(name))
    if first != name and identifiers.get(name):
        found = warning(f"the same server as {first}, under another name; it is used once", "Name it once.")
        yield replace(found, name="identity", group=f"{SERVER}{name}")


async def _examine_server(
    server: ServerSettings,
    settings: Settings,
    identifiers: dict[str, int],
    *,
    timeout: float,
    render: bool,
    report: Callable[[str], None],
) -> list[Finding]:
    """Findings; notes what the server calls itself by its name in the settings."""
    group = f"{SERVER}{server.name}"
    what = " and making a tiny picture there; loading the model may take a minute" if render else ""
    try:
        from drawthings_mcp.client.status import point_to_table
        from drawthings_mcp.doctor.evidence import gather_evidence
        from drawthings_mcp.doctor.server import SERVER_CHECKS

        async with _started(server.address, settings.focus(server), report) as (actual, effective):
            report(f"Looking at {actual}{what} …")
            evidence = await gather_evidence(actual, effective, timeout=timeout, render=render)
        point_to_table(evidence.replies.refusal, server.name if server.name in settings.servers else "")
        if evidence.replies.info is not None:
            identifiers[server.name] = evidence.replies.info.identifier
    except DrawThingsError as error:
        return [replace(blame(error), name="setting", group=group)]
    except Exception as error:
        return [replace(_confess(error), name="server", group=group)]
    return _run_checks(SERVER_CHECKS, evidence, group)


@asynccontextmanager
async def _started(
    address: str, settings: Settings, report: Callable[[str], None]
) -> AsyncIterator[tuple[str, Settings]]:
    """The address to look at and the settings for it; runs the embedded simulator meanwhile if that is meant."""
    if address != DEMO_SERVER:
        yield address, settings
        return
    from drawthings_mcp.simulator.server import Simulator

    async with Simulator() as simulator:
        report(f"Started the embedded simulator at {simulator.address}.")
        yield simulator.address, settings.model_copy(update={"tls": "off", "ca_file": None})


def _run_checks(checks: Mapping[str, Check[SubjectT]], subject: SubjectT, group: str) -> list[Finding]:
    return [replace(_run_check(check, subject), name=name, group=group) for name, check in checks.items()]


def _run_check(check: Check[SubjectT], subject: SubjectT) -> Finding:
    try:
        return check(subject)
    except Exception as error:
        return _confess(error)


def _confess(error: Exception) -> Finding:
    """What is to be said of an error that nobody expected; the others go on."""
    if isinstance(error, ImportError):
        return problem(
            f"a part of the installation is missing or broken: {error}",
            "Install it again: pip install --force-reinstall drawthings-mcp.",
        )
    _logger.error("A check failed.", exc_info=error)
    return problem(
        f"this check itself failed: {type(error).__name__}: {error}",
        "That is a mistake in drawthings-mcp: please report it with the lines above.",
    )


def _excuse_spare_servers(findings: list[Finding]) -> list[Finding]:
    """A server that is off is no problem while another one answers: those that do are used."""
    if not any(finding.name == "address" and finding.status == "ok" for finding in findings):
        return findings
    return [
        replace(finding, status="warning") if finding.name == "address" and finding.status == "problem" else finding
        for finding in findings
    ]
