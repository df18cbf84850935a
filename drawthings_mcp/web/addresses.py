"""Which IP addresses belong to the public internet, and what a host's name stands for.

Owns that judgement. Opens no connection.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TypeAlias

import anyio

from drawthings_mcp.errors import WebError

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses in IPv6 clothes (RFC 6052)."""
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
"""The same in clothes that went out of use (RFC 4291, §2.5.5.1)."""
_IPV4_BITS = 0xFFFF_FFFF


def is_public(address: IPAddress) -> bool:
    """Whether an address is one of the public internet, and so is the IPv4 address in it, if there is one.

    Loopback, private and shared networks, link-local, multicast, reserved and unspecified addresses are not.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = _find_inner(address)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _find_inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 host that an IPv6 address leads to."""
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        return ipaddress.IPv4Address(int(address) & _IPV4_BITS)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


async def resolve_host(host: str, port: int) -> list[IPAddress]:
    """The addresses of a host, in the order in which they should be tried.

    Raises
    ------
    WebError
        It has none.
    """
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise WebError(f"The host {host!r} cannot be found; check the address and the network.") from error
    # Without the zone of link-local addresses, which ends nothing here but confuses the parser.
    addresses = [ipaddress.ip_address(str(target[0]).partition("%")[0]) for *_, target in found]
    return list(dict.fromkeys(addresses))
