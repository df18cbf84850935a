"""What a server says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from drawthings_mcp.catalog import Catalog


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
    """

    message: str
    identifier: int
    catalog: Catalog | None
