"""Draw Things servers that announce themselves on the network (mDNS, protocol §9.3).

Anybody can announce anything. Nothing is connected to here, and what is found is used only once the user has written
it into the settings.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from drawthings_mcp.address import Address
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.tasks import background_tasks

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncZeroconf

_SERVICE = "_dt-grpc._tcp.local."
_TLS, _PLAINTEXT = "_tls", "_notls"
"""What the name of an instance ends with (protocol §9.3)."""
_MOST = 20
"""Servers that are kept: whoever announces thousands wants to fill the memory."""
_REPLY_SECONDS = 3.0
_NO_KEY = re.compile(r"[^A-Za-z0-9_-]+")
_MAX_KEY = 40


@dataclass(frozen=True, slots=True)
class FoundServer:
    """An announcement.

    Attributes
    ----------
    name
        The server's own; anybody's words.
    address
        Numeric.
    tls
        Whether it says that it speaks TLS.
    """

    name: str
    address: Address
    tls: bool

    def describe_table(self) -> str:
        """The lines of ``config.toml`` that accept it."""
        key = _NO_KEY.sub("-", self.name).strip("-")[:_MAX_KEY] or "found"
        return f'[servers.{key}]\naddress = "{self.address}"\ntls = "{"on" if self.tls else "off"}"'


@asynccontextmanager
async def watch_network() -> AsyncIterator[Mapping[str, FoundServer]]:
    """What is announced, as long as the context lasts; it grows and shrinks.

    Raises
    ------
    InvalidInputError
        The library for it is not installed, or the network does not allow it.
    """
    try:
        from zeroconf import ServiceStateChange
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf
    except ImportError as exc:
        raise InvalidInputError("Discovery needs zeroconf: pip install 'drawthings-mcp[server]'.") from exc
    found: dict[str, FoundServer] = {}
    try:
        network = AsyncZeroconf()
    except OSError as exc:
        raise InvalidInputError(f"This network does not let servers be looked for: {exc}.") from exc
    async with background_tasks() as tasks:

        def note(name: str, state_change: ServiceStateChange, **_: object) -> None:
            if state_change is ServiceStateChange.Removed:
                found.pop(name, None)
            elif name in found or len(found) < _MOST:
                tasks.start_soon(_resolve, network, name, found)

        browser = AsyncServiceBrowser(network.zeroconf, _SERVICE, handlers=[note])
        try:
            yield found
        finally:
            with anyio.CancelScope(shield=True):
                await browser.async_cancel()
                await network.async_close()


async def find_servers(seconds: float) -> tuple[FoundServer, ...]:
    """What is announced within some seconds; raises as ``watch_network``."""
    async with watch_network() as found:
        await anyio.sleep(seconds)
        return tuple(found.values())


async def _resolve(network: AsyncZeroconf, name: str, found: dict[str, FoundServer]) -> None:
    from zeroconf import IPVersion
    from zeroconf.asyncio import AsyncServiceInfo

    info = AsyncServiceInfo(_SERVICE, name)
    if not await info.async_request(network.zeroconf, _REPLY_SECONDS * 1000) or not info.port:
        return
    hosts = info.parsed_scoped_addresses(IPVersion.V4Only) or info.parsed_scoped_addresses(IPVersion.V6Only)
    if hosts and (name in found or len(found) < _MOST):
        instance = name.removesuffix(f".{_SERVICE}")
        plain = instance.removesuffix(_PLAINTEXT).removesuffix(_TLS)
        found[name] = FoundServer(plain, Address(hosts[0], info.port), not instance.endswith(_PLAINTEXT))
