"""Addresses of servers: ``host:port`` as people write it, read into a value. No name is resolved here."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Text

DEFAULT_PORT = 7859
"""The port that Draw Things' gRPC server listens on by default (protocol §9.2)."""

MAX_PORT = 65_535

_FORMS = f"Write host, host:port or [IPv6]:port, e.g. localhost:{DEFAULT_PORT}."
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_BRACKETED = re.compile(r"\[(?P<host>[^\[\]]*)\](?::(?P<port>.*))?")


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port.

    Attributes
    ----------
    host
        A name or a numeric address, IPv6 without brackets.
    port
        1 to 65535.
    """

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_port: int = DEFAULT_PORT, *, least_port: int = 1) -> Address:
    """The address that a text means: ``host``, ``host:port``, ``[IPv6]:port`` or a bare IPv6 address.

    Parameters
    ----------
    least_port
        0 where that stands for any port that is free.

    Raises
    ------
    InvalidInputError
        It is none of these; a URL's scheme is named with what to write in its place.
    """
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if separator:
        bare = rest.partition("/")[0] or f"localhost:{DEFAULT_PORT}"
        template = (
            "write the address without {scheme!r}: {bare!r}. It is a gRPC server; TLS has a setting of its own, {tls}."
        )
        problem = Text(template, scheme=scheme + separator, bare=bare)
        raise InvalidInputError(problem, parameter="server", value=text)
    if bracketed := _BRACKETED.fullmatch(text):
        port = default_port if bracketed["port"] is None else _parse_port(bracketed["port"], text, least_port)
        return Address(_parse_ipv6(bracketed["host"], text), port)
    if text.count(":") > 1:
        return Address(_parse_ipv6(text, text), default_port)
    host, colon, given = text.partition(":")
    # Names that end in a dot are what Bonjour's own tools print.
    host = host.removesuffix(".")
    if not _HOST.fullmatch(host) or host.isdigit():
        raise InvalidInputError(f"{text!r} is not an address. {_FORMS}", parameter="server", value=text)
    return Address(host.lower(), _parse_port(given, text, least_port) if colon else default_port)


def is_loopback(ip: str) -> bool:
    """Whether a numeric address is that of this machine itself."""
    address = ipaddress.ip_address(ip)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _parse_port(text: str, whole: str, least: int) -> int:
    if text.isascii() and text.isdigit() and least <= int(text) <= MAX_PORT:
        return int(text)
    problem = f"the port in {whole!r} must be a number from {least} to {MAX_PORT}. {_FORMS}"
    raise InvalidInputError(problem, parameter="server", value=whole)


def _parse_ipv6(host: str, whole: str) -> str:
    try:
        return str(ipaddress.IPv6Address(host))
    except ValueError as exc:
        problem = f"{host!r} in {whole!r} is not an IPv6 address. {_FORMS}"
        raise InvalidInputError(problem, parameter="server", value=whole) from exc
