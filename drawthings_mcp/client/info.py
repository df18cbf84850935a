"""What a server says of itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from drawthings_mcp.catalog import Catalog
from drawthings_mcp.limits import SIMULATED_HEADER


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The reply to an echo.

    Attributes
    ----------
    message
        Its greeting.
    identifier
        Drawn at each start of the server: tells a restart, and that two addresses are one server. 0 from a proxy.
    catalog
        None when the server does not let its models be browsed; it may have some all the same.
    simulated
        Whether this is the simulator, whose pictures no model made.
    """

    message: str
    identifier: int
    catalog: Catalog | None
    simulated: bool = False


def is_simulated(headers: Iterable[tuple[str, str | bytes]] | None) -> bool:
    """Whether the headers of a response are the simulator's."""
    return any(name == SIMULATED_HEADER for name, _ in headers or ())
