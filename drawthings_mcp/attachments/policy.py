"""What one result may carry: limits as a value, and those that are known of each client (``configs/clients.json``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.limits import ATTACHMENT_LIMITS
from drawthings_mcp.packaged import read_packaged
from drawthings_mcp.validation import suggest

if TYPE_CHECKING:
    from drawthings_mcp.params import PreviewMode

_CLIENTS = "clients.json"
_BRIDGE = re.compile(r"\s*\(via [^)]*\)\s*$")
"""What a stdio-to-HTTP bridge adds to the name of the client behind it."""
_SEPARATORS = re.compile(r"[\s_-]+")


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of one tool result, and what becomes of its pictures.

    Attributes
    ----------
    max_inputs, max_outputs
        Places for pictures of each sort; a contact sheet takes one place.
    max_sheet
        Pictures on a contact sheet; more of them would be stamps.
    max_characters
        Of the whole result, text and all. Popular clients refuse 1,048,576.
    max_edge
        Longest side of a preview in pixels.
    quality
        JPEG quality of a preview, 1 to 95.
    shows_pictures
        Whether pictures are attached at all.
    model_sees
        Whether the client passes attached pictures on to its model; None when that is not known.
    takes_links
        Whether the client is known to do something sensible with links to resources: others hand them on as text.
    pixels_per_token
        For estimates only: a vision model counts about this many pixels as one token. 750 is the rule that one vendor
        published; others differ by a factor of two either way.
    timeout
        Seconds that the client waits for a tool call.
    """

    max_inputs: int = 2
    max_outputs: int = 3
    max_sheet: int = 25
    max_characters: int = 900_000
    max_edge: int = 1024
    quality: int = 85
    shows_pictures: bool = True
    model_sees: bool | None = None
    takes_links: bool = False
    pixels_per_token: int = 750
    timeout: float = 60.0

    def __post_init__(self) -> None:
        for name, (least, most) in ATTACHMENT_LIMITS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise InvalidInputError(f"must be from {least} to {most}, got {value}.", parameter=name, value=value)

    def replace(self, **changes: Any) -> Policy:
        """The same with other limits.

        Raises
        ------
        InvalidInputError
            There is no such limit, or its value makes no sense.
        """
        names = [limit.name for limit in fields(self)]
        for name in changes:
            if name not in names:
                raise InvalidInputError(f"a policy has no such limit.{suggest(name, names)}", parameter=name)
        return replace(self, **changes)

    def with_preview(self, preview: PreviewMode) -> Policy:
        """The same after what the user said: ``always`` and ``never`` outvote what is known of the client."""
        return self if preview == "auto" else self.replace(shows_pictures=preview == "always")

    def estimate_tokens(self, size: tuple[int, int]) -> int:
        """About how many tokens a picture of a width and height costs a vision model."""
        return -(-size[0] * size[1] // self.pixels_per_token)


@dataclass(frozen=True, slots=True)
class _KnownClient:
    """What is known of one client, from one version on (inclusive) up to another (exclusive)."""

    names: frozenset[str]
    policy: Policy
    since: tuple[int, ...] = ()
    before: tuple[int, ...] = ()

    def matches(self, name: str, version: tuple[int, ...]) -> bool:
        """Whether a client that names itself so is this one. A version that cannot be read counts as the newest."""
        is_old_enough = not self.before or (bool(version) and version < self.before)
        is_new_enough = not version or version >= self.since
        return name in self.names and is_old_enough and is_new_enough


def find_policy(client_name: str, client_version: str = "") -> Policy:
    """The policy for a client by the name and version of its MCP handshake; the default for an unknown one.

    Names are compared without regard to case and separators, and without what a bridge adds to them. The first entry
    of ``configs/clients.json`` that matches counts.
    """
    name, version = _normalise(client_name), _parse_version(client_version)
    return next((client.policy for client in _list_clients() if client.matches(name, version)), Policy())


@cache
def _list_clients() -> tuple[_KnownClient, ...]:
    return tuple(_parse_client(element) for element in read_packaged(_CLIENTS)["clients"])


def _parse_client(element: Mapping[str, Any]) -> _KnownClient:
    return _KnownClient(
        names=frozenset(_normalise(name) for name in element["names"]),
        policy=Policy().replace(**element.get("policy", {})),
        since=_parse_version(element.get("since", "")),
        before=_parse_version(element.get("before", "")),
    )


def _normalise(name: str) -> str:
    return _SEPARATORS.sub("-", _BRIDGE.sub("", name).strip().casefold())


def _parse_version(version: str) -> tuple[int, ...]:
    """The leading numbers of a version; empty when there are none."""
    leading = re.match(r"v?(\d{1,9}(?:\.\d{1,9})*)", version.strip())
    return tuple(int(part) for part in leading[1].split(".")) if leading else ()
