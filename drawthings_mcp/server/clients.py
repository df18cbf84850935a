"""The clients of ``serve --http``, each with a session of its own."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER

from drawthings_mcp.server.access import get_caller
from drawthings_mcp.server.session import Caller, Session

_MOST = 1_000
"""Clients that are remembered; of the token that has the most of them, the one that was silent the longest is
forgotten."""
_CANCELLED = b"notifications/cancelled"
_MAX_CANCELLATION = 10_000
_MAX_REASONS = 100
_Key = TypeVar("_Key")


class ClientKey(NamedTuple):
    """What tells a client from others: its token, what it says that it is, its session where the protocol has any."""

    caller: Caller
    name: str
    version: str
    session_id: str


def find_crowding(keys: Sequence[_Key], find_owner: Callable[[_Key], str]) -> _Key:
    """The first of the keys whose owner has the most of them, so that nobody can drive others out."""
    (owner, _), *_others = Counter(map(find_owner, keys)).most_common(1)
    return next(key for key in keys if find_owner(key) == owner)


class Clients:
    """Gives each call the session of its client, in place of the one that the server was opened with.

    Parameters
    ----------
    base
        What all of them share.
    """

    def __init__(self, base: Session) -> None:
        self._base = base
        self._sessions: OrderedDict[ClientKey, Session] = OrderedDict()

    async def __call__(self, ctx: ServerRequestContext[Session, Any], call_next: CallNext) -> HandlerResult:
        """Sees every message, as the SDK's middleware does."""
        return await call_next(replace(ctx, lifespan_context=self._find(ctx)))

    def note_cancellation(self, caller: Caller, session_id: str, body: bytes) -> None:
        """Keeps the reason of a cancellation, of which the tool that is cancelled is not told.

        Parameters
        ----------
        body
            Of any request.
        """
        if len(body) > _MAX_CANCELLATION or _CANCELLED not in body:
            return
        try:
            message: Any = json.loads(body)
            params = dict(message["params"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return
        for key, session in self._sessions.items():
            if key.session_id == session_id and key.caller.token == caller.token:
                session.cancelled[str(params.get("requestId"))] = str(params.get("reason", ""))
                while len(session.cancelled) > _MAX_REASONS:
                    del session.cancelled[next(iter(session.cancelled))]

    def _find(self, ctx: ServerRequestContext[Session, Any]) -> Session:
        if ctx.request is None:
            return self._base
        caller, params = get_caller(ctx.request.scope), ctx.session.client_params
        name, version = (params.client_info.name, params.client_info.version) if params is not None else ("", "")
        key = ClientKey(caller, name, version, ctx.request.headers.get(MCP_SESSION_ID_HEADER, ""))
        if key not in self._sessions:
            self._sessions[key] = self._base.open_to(caller, name)
            if len(self._sessions) > _MOST:
                del self._sessions[find_crowding(tuple(self._sessions), lambda key: key.caller.token)]
        self._sessions.move_to_end(key)
        return self._sessions[key]
