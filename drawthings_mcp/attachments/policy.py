"""What one result may carry: limits as a value, and those that are known of each client (``configs/clients.json``)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from drawthings_mcp.attachments.tokens import DEFAULT, Counting, find_counting
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
_TRIAL = {"max_inputs": 0, "max_outputs": 1, "max_edge": 384, "max_characters": 14_000}
"""For a client that is not known: were it to pass the picture on as base64 text, a conversation would survive it."""
_LEAST_TOKENS = 100
"""What pictures of a result may cost however little is left: one of 270 pixels."""
_PATIENCE_SHARE = 0.8
_USUAL_PATIENCE = 50.0
"""Seconds."""
USUAL_TIMEOUT = 60.0
"""Seconds after which a client is expected to end a call of which nothing is known; many do."""


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
    max_tokens
        Of the whole result, by ``counting``, where the client's model may get the pictures.
    window_tokens
        Of the last results of a session together.
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
    is_late
        Whether pictures reach the model with the user's next message only.
    is_known
        Whether anything is known of the client.
    is_careful
        Whether this is what a client gets of which nothing is known or proven: ``with_care``.
    counting
        How the model counts the tokens of a picture.
    timeout
        Seconds that the client waits for a tool call; None when that is not known.
    """

    max_inputs: int = 2
    max_outputs: int = 3
    max_sheet: int = 25
    max_characters: int = 900_000
    max_tokens: int = 2_000
    window_tokens: int = 6_000
    max_edge: int = 1024
    quality: int = 85
    shows_pictures: bool = True
    model_sees: bool | None = None
    takes_links: bool = False
    is_late: bool = False
    is_known: bool = False
    is_careful: bool = False
    counting: Counting = DEFAULT
    timeout: float | None = None

    def __post_init__(self) -> None:
        for name, (least, most) in ATTACHMENT_LIMITS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
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

    def with_care(self) -> Policy:
        """The same for a client that is not known: one small preview, whatever else is allowed."""
        narrowed = {name: min(getattr(self, name), most) for name, most in _TRIAL.items()}
        return self.replace(is_careful=True, **narrowed)

    @property
    def patience(self) -> float:
        """Seconds after which a render is handed back as a job, before the client gives up."""
        return _USUAL_PATIENCE if self.timeout is None else _PATIENCE_SHARE * self.timeout

    @property
    def token_limit(self) -> float:
        """``max_tokens`` where pictures may reach the model; elsewhere they cost it nothing."""
        return math.inf if self.model_sees is False else self.max_tokens

    def narrow(self, spent: int, text_tokens: int) -> Policy:
        """The same with the tokens that pictures of the next result may cost.

        Parameters
        ----------
        spent
            Tokens of the last results of the session. Half of what these leave of the window is given away, so that
            something is left for the result after this one.
        text_tokens
            What the text of the result takes.
        """
        left = min(self.max_tokens, (self.window_tokens - spent) // 2) - text_tokens
        return self.replace(max_tokens=max(left, min(self.max_tokens, _LEAST_TOKENS)))


@dataclass(frozen=True, slots=True)
class _KnownClient:
    """What is known of one client, from one version on (inclusive) up to another (exclusive).

    A name that ends with ``*`` stands for all that begin so.
    """

    names: tuple[str, ...]
    policy: Policy
    since: tuple[int, ...] = ()
    before: tuple[int, ...] = ()

    def matches(self, name: str, version: tuple[int, ...]) -> bool:
        """Whether a client that names itself so is this one. A version that cannot be read counts as the newest."""
        is_old_enough = not self.before or (bool(version) and version < self.before)
        is_new_enough = not version or version >= self.since
        is_named = any(name == own or (own[-1:] == "*" and name.startswith(own[:-1])) for own in self.names)
        return is_named and is_old_enough and is_new_enough


def find_policy(client_name: str, client_version: str = "", model: str = "") -> Policy:
    """The policy for a client by the name and version of its MCP handshake; the default for an unknown one.

    Names are compared without regard to case and separators, and without what a bridge adds to them. The first entry
    of ``configs/clients.json`` that matches counts.

    Parameters
    ----------
    model
        The name of the model behind the client, where the client says it; it decides how pictures are counted.
    """
    name, version = _normalise(client_name), _parse_version(client_version)
    policy = next((client.policy for client in _list_clients() if client.matches(name, version)), Policy())
    return policy.replace(counting=find_counting(model)) if model else policy


@cache
def _list_clients() -> tuple[_KnownClient, ...]:
    return tuple(_parse_client(element) for element in read_packaged(_CLIENTS)["clients"])


def _parse_client(element: Mapping[str, Any]) -> _KnownClient:
    return _KnownClient(
        names=tuple(_normalise(name) for name in element["names"]),
        policy=Policy().replace(
            is_known=True, counting=find_counting(element.get("model", "")), **element.get("policy", {})
        ),
        since=_parse_version(element.get("since", "")),
        before=_parse_version(element.get("before", "")),
    )


def _normalise(name: str) -> str:
    return _SEPARATORS.sub("-", _BRIDGE.sub("", name).strip().casefold())


def _parse_version(version: str) -> tuple[int, ...]:
    """The leading numbers of a version; empty when there are none."""
    leading = re.match(r"v?(\d{1,9}(?:\.\d{1,9})*)", version.strip())
    return tuple(int(part) for part in leading[1].split(".")) if leading else ()
