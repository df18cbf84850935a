"""Puts all questions, and sees to it that none is lost because another one failed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import anyio
import anyio.to_thread

from drawthings_mcp.doctor.finding import Finding, Verdict, blame, problem
from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.settings import DEMO_SERVER, Settings
from drawthings_mcp.studio.background import load_room

_logger = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds for each question to a server: a busy machine on a wireless network answers in less."""

MACHINE = "This machine"
EXTRAS = "What you added"

_RENDERING = " and making a tiny picture there; loading the model may take a minute"


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


@dataclass(frozen=True, slots=True)
class _Scope:
    """How far an examination goes; parameters as in ``diagnose``."""

    timeout: float
    render: bool
    report: Callable[[str], None]


def _keep_quiet(message: str) -> None:
    """A report for callers who do not want any."""


async def diagnose(
    settings: Settings,
    *,
    timeout: float = TIMEOUT,
    render: bool = False,
    report: Callable[[str], None] = _keep_quiet,
) -> Diagnosis:
    """Examines this machine and every configured server; whatever is wrong is a finding, never an exception.

    A server's own certificate is pinned, as by any first connection. Nothing else is left behind.

    Parameters
    ----------
    timeout
        Seconds for each question to a server but the picture.
    render
        Whether every server makes a tiny picture.
    report
        Told what is being done.
    """
    scope = _Scope(timeout, render, report)
    servers = (_examine_server(name, settings, scope) for name in settings.servers)
    examinations = [_examine_machine(settings), _examine_extras(settings), *servers]
    groups = await _run_all(examinations)
    return Diagnosis(tuple(_excuse_spare_servers([finding for group in groups for finding in group])))


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
        room = await load_room("doctor.machine")
    except Exception as error:
        return [_confess(error).name("installation", MACHINE)]
    return await anyio.to_thread.run_sync(_put_all, room.MACHINE_CHECKS, settings, MACHINE)


async def _examine_extras(settings: Settings) -> list[Finding]:
    try:
        room = await load_room("doctor.extras")
    except Exception as error:
        return [_confess(error).name("extras", EXTRAS)]
    findings = await anyio.to_thread.run_sync(_put_all, room.EXTRA_CHECKS, settings, EXTRAS)
    endpoints = await room.check_endpoints(settings)
    return [*findings, *(verdict.name(name, EXTRAS) for name, verdict in endpoints.items())]


async def _examine_server(address: str, settings: Settings, scope: _Scope) -> list[Finding]:
    group = f"Server {address}"
    try:
        evidence_room = await load_room("doctor.evidence")
        server_room = await load_room("doctor.server")
        recommended_room = await load_room("doctor.recommended")
        async with _started(address, settings, scope) as (actual, effective):
            scope.report(f"Looking at {actual}{_RENDERING if scope.render else ''} …")
            evidence = await evidence_room.gather_evidence(
                actual, effective, timeout=scope.timeout, render=scope.render
            )
    except DrawThingsError as error:
        return [blame(error).name("setting", group)]
    except Exception as error:
        return [_confess(error).name("server", group)]
    return _put_all({**server_room.SERVER_CHECKS, **recommended_room.MODEL_CHECKS}, evidence, group)


@asynccontextmanager
async def _started(address: str, settings: Settings, scope: _Scope) -> AsyncIterator[tuple[str, Settings]]:
    """The address to look at and the settings for it; runs the embedded simulator meanwhile if that is meant."""
    if address != DEMO_SERVER:
        yield address, settings
        return
    simulator_room = await load_room("simulator")
    async with simulator_room.Simulator() as simulator:
        scope.report(f"Started the embedded simulator at {simulator.address}.")
        yield simulator.address, settings.model_copy(update={"tls": "off", "ca_file": None})


def _put_all(checks: Mapping[str, Callable[[Any], Verdict]], subject: object, group: str) -> list[Finding]:
    return [_put(check, subject).name(name, group) for name, check in checks.items()]


def _put(check: Callable[[Any], Verdict], subject: object) -> Verdict:
    try:
        return check(subject)
    except Exception as error:
        return _confess(error)


def _confess(error: Exception) -> Verdict:
    """What is to be said of an error that nobody expected; the others go on."""
    if isinstance(error, ImportError):
        return problem(
            f"a part of the installation is missing or broken: {error}",
            "Install it anew: pip install --force-reinstall drawthings-mcp.",
        )
    _logger.error("A check failed.", exc_info=error)
    return problem(
        f"this check itself failed: {type(error).__name__}: {error}",
        "That is a mistake in drawthings-mcp: please report it with the lines above.",
    )


def _excuse_spare_servers(findings: list[Finding]) -> list[Finding]:
    """A server that is off is no problem while another one answers: the first that does is used."""
    if not any(finding.name == "address" and finding.status == "ok" for finding in findings):
        return findings
    return [
        replace(finding, status="warning") if finding.name == "address" and finding.status == "problem" else finding
        for finding in findings
    ]
