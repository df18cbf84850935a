"""How a simulated server is set up; the counterpart of a real one's command line (protocol §9.2)."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

from drawthings_mcp.errors import InvalidInputError

_LAST_PORT = 65_535


@dataclass(frozen=True)
class Options:
    """The options of one simulated server.

    Attributes
    ----------
    host, port
        Where to listen; port 0 takes a free one.
    tls
        Whether to speak TLS, with ``certificate`` or one made at start.
    certificate
        Certificate and private key, both PEM.
    shared_secret
        The password that clients have to send; empty for none.
    response_compression
        Whether tensors are packed with fpzip.
    model_browser
        Whether Echo lists files and their specifications.
    step_seconds
        How long one step of sampling takes.
    missing_files
        Built-in files that are not there.
    name
        What the server calls itself in its log.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: bool = False
    certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)
    shared_secret: str = field(default="", repr=False)
    response_compression: bool = True
    model_browser: bool = True
    step_seconds: float = 0.0
    missing_files: Collection[str] = ()
    name: str = "simulator"

    def __post_init__(self) -> None:
        if not 0 <= self.port <= _LAST_PORT:
            raise InvalidInputError(f"A port is 0 to {_LAST_PORT}, not {self.port}; 0 takes a free one.")
        if not (math.isfinite(self.step_seconds) and self.step_seconds >= 0):
            raise InvalidInputError(f"step_seconds is 0 or more, not {self.step_seconds}.")

    @property
    def bracketed_host(self) -> str:
        """The host as it stands in an address."""
        return f"[{self.host}]" if ":" in self.host else self.host
