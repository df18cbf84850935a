"""Everything there is to find out about one server, gathered before anything is judged.

Owns the order of the questions. The shared secret is sent only where the settings allow a connection.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from drawthings_mcp.address import Address, parse_address
from drawthings_mcp.client.probe import ProbeResult, Speaks, offers_web_api, probe
from drawthings_mcp.client.server_client import ServerClient, ServerInfo
from drawthings_mcp.client.trust import Security, TrustPolicy, build_policy
from drawthings_mcp.doctor.inventory import Inventory, take_inventory
from drawthings_mcp.doctor.sample import Sample, render_sample
from drawthings_mcp.errors import DrawThingsError, ServerUnreachableError, SharedSecretError
from drawthings_mcp.settings import Settings

_T = TypeVar("_T")

HTTP2 = frozenset({Speaks.TLS, Speaks.PLAINTEXT})
"""Answers behind which there may be a gRPC server."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the server can be reached.

    Attributes
    ----------
    web_api
        It is Draw Things in HTTP mode.
    met_before
        A key was pinned for this address before this look.
    security
        How the connection is protected; None when the settings do not lead to one.
    refusal
        Why they do not.
    """

    found: ProbeResult
    web_api: bool = False
    met_before: bool = False
    security: Security | None = None
    refusal: DrawThingsError | None = None


@dataclass(frozen=True, slots=True)
class Talk:
    """What the server said.

    Attributes
    ----------
    refusal
        Why it said nothing.
    wants_secret
        None when that is not known.
    trial
        The settings lead to no connection; one was made all the same, without the shared secret and without
        trusting what came back.
    sample
        The picture that was made, or why there is none; None when none was asked for.
    """

    info: ServerInfo | None = None
    refusal: DrawThingsError | None = None
    wants_secret: bool | None = None
    trial: bool = False
    inventory: Inventory | None = None
    sample: Sample | DrawThingsError | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one server, and the settings that were used."""

    settings: Settings
    way: Way
    talk: Talk

    @property
    def secret_given(self) -> bool:
        """Whether a shared secret is set."""
        return bool(self.settings.shared_secret.get_secret_value())


async def gather_evidence(address: str, settings: Settings, *, timeout: float, render: bool) -> Evidence:
    """Looks at a server.

    Parameters
    ----------
    timeout
        Seconds for each question but a picture.
    render
        Whether a picture is made.

    Raises
    ------
    InvalidInputError
        The address is none.
    """
    way = await _find_way(parse_address(address), settings, timeout)
    return Evidence(settings, way, await _talk(way, settings, timeout, render=render))


async def _find_way(address: Address, settings: Settings, timeout: float) -> Way:
    found = await probe(address, timeout=timeout)
    web_api = found.speaks is Speaks.HTTP1 and await offers_web_api(address, timeout=timeout)
    try:
        policy = _build_policy(settings, found)
        met_before = await anyio.to_thread.run_sync(_is_pinned, policy, found)
        route = await policy.choose_route(found)
    except DrawThingsError as error:
        return Way(found, web_api, refusal=error)
    return Way(found, web_api, met_before, route.security)


def _build_policy(settings: Settings, found: ProbeResult) -> TrustPolicy:
    # What is wrong where no gRPC server can be has nothing to do with settings that contradict each other.
    tls, ca_file = (settings.tls, settings.ca_file) if found.speaks in HTTP2 else ("auto", None)
    return build_policy(insecure=None, verify_ssl=True, tls=tls, ca_file=ca_file, state_dir=settings.state_dir)


def _is_pinned(policy: TrustPolicy, found: ProbeResult) -> bool:
    if found.speaks is not Speaks.TLS or policy.ca_file is not None:
        return False
    return policy.pins.find(str(found.address)) is not None


async def _talk(way: Way, settings: Settings, timeout: float, *, render: bool) -> Talk:
    address = str(way.found.address)
    if way.security is None:
        return await _try_without_secret(way, timeout) if way.found.speaks in HTTP2 else Talk()
    async with ServerClient(
        address,
        tls=settings.tls,
        ca_file=settings.ca_file,
        shared_secret=settings.shared_secret.get_secret_value(),
        state_dir=settings.state_dir,
        connect_timeout=timeout,
    ) as client:
        talk = await _converse(client, timeout)
        if talk.inventory is not None and render:
            talk = replace(talk, sample=await _render(client, talk.inventory))
    if talk.info is not None and settings.shared_secret.get_secret_value():
        return replace(talk, wants_secret=(await _try_without_secret(way, timeout)).wants_secret)
    return talk


async def _try_without_secret(way: Way, timeout: float) -> Talk:
    plaintext = way.found.speaks is Speaks.PLAINTEXT
    async with ServerClient(
        str(way.found.address), insecure=plaintext, verify_ssl=False, connect_timeout=timeout
    ) as client:
        return replace(await _converse(client, timeout), trial=True)


async def _converse(client: ServerClient, timeout: float) -> Talk:
    try:
        info = await _in_time(client.echo(), client, timeout)
    except SharedSecretError as error:
        return Talk(refusal=error, wants_secret=True)
    except DrawThingsError as error:
        return Talk(refusal=error)
    try:
        inventory = await _in_time(take_inventory(client, info.catalog), client, timeout)
    except DrawThingsError as error:
        return Talk(info, error, wants_secret=False)
    return Talk(info, wants_secret=False, inventory=inventory)


async def _in_time(answer: Awaitable[_T], client: ServerClient, timeout: float) -> _T:
    # A server may hold a reply back until its current run is done (protocol §9.2, --echo-on-queue).
    try:
        with anyio.fail_after(timeout):
            return await answer
    except TimeoutError as exc:
        raise ServerUnreachableError(
            f"{client.address} is connected, but did not reply within {timeout:g} s. It may be busy with a picture: "
            "wait until that is done, or give it more time with --timeout 120."
        ) from exc


async def _render(client: ServerClient, inventory: Inventory) -> Sample | DrawThingsError:
    try:
        return await render_sample(client, inventory.models)
    except DrawThingsError as error:
        return error
