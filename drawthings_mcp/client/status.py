"""Translates gRPC's errors into this package's, each with the next step.

What a status means for a whole request, e.g. a wrong secret, is found out by the client.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import grpc.aio
from grpc import StatusCode

from drawthings_mcp.address import DEFAULT_PORT
from drawthings_mcp.errors import (
    DrawThingsError,
    InvalidInputError,
    MessageTooLargeError,
    RequestRefusedError,
    ServerDiedError,
    ServerError,
    ServerUnreachableError,
    SharedSecretError,
    UnsupportedRequestError,
    WrongProtocolError,
)
from drawthings_mcp.faces import Phrase, Step, Text


def point_to_table(error: DrawThingsError | None, table: str) -> None:
    """Has what is said of a missing secret name the table where that of this server stands; empty for none."""
    if isinstance(error, SharedSecretError) and isinstance(error.problem, Text) and table:
        step = Step("set", setting="shared_secret", table=table)
        error.problem = Text(error.problem.template, **{**error.problem.facts, "step": step})


SET_SECRET = Step("set", setting="shared_secret", value="…")
_FACTS = {
    "log": Phrase("The server's log says more."),
    "list_models": Step("list_models"),
    "set_secret": SET_SECRET,
    "update_server": Step("update_server"),
}

STATUS_ERRORS: Mapping[StatusCode, tuple[type[ServerError], str]] = {
    StatusCode.CANCELLED: (
        RequestRefusedError,
        "{server} cancelled the request{details}. Was it stopped there? Otherwise try again.",
    ),
    StatusCode.UNKNOWN: (RequestRefusedError, "{server} failed without naming a reason{details}. {log}"),
    StatusCode.INVALID_ARGUMENT: (RequestRefusedError, "{server} does not accept the request{details}. {log}"),
    StatusCode.DEADLINE_EXCEEDED: (
        ServerUnreachableError,
        "{server} did not answer in time{details}. It may be busy with another run; try again later or restart it.",
    ),
    StatusCode.NOT_FOUND: (
        RequestRefusedError,
        "{server} lacks something that the request names{details}. Compare {model}, {loras} and {controls} with what "
        "it has: {list_models}.",
    ),
    StatusCode.ALREADY_EXISTS: (
        RequestRefusedError,
        "{server} refused the request, because something is there already{details}. {log}",
    ),
    StatusCode.PERMISSION_DENIED: (
        RequestRefusedError,
        "{server} does not permit the request{details}. A proxy in front of it wants an account token or limits the "
        "use; use the address of the server itself.",
    ),
    StatusCode.RESOURCE_EXHAUSTED: (
        MessageTooLargeError,
        "A message to or from {server} is over the limit of 1 GiB{details}. Use a smaller size, fewer frames or fewer "
        "input pictures.",
    ),
    StatusCode.FAILED_PRECONDITION: (
        RequestRefusedError,
        "{server} is not in a state to take the request{details}. {log}",
    ),
    StatusCode.ABORTED: (
        RequestRefusedError,
        "{server} gave the request up{details}. A proxy does so after an hour in its queue; try again later.",
    ),
    StatusCode.OUT_OF_RANGE: (RequestRefusedError, "{server} does not accept a value of the request{details}. {log}"),
    StatusCode.UNIMPLEMENTED: (
        UnsupportedRequestError,
        "{server} does not know this request{details}. {update_server:C}, or check that the address is not that of "
        "another gRPC server.",
    ),
    StatusCode.INTERNAL: (
        RequestRefusedError,
        "{server} could not process the request{details}. The shared secret may be wrong, or a LoRA could not be "
        "fetched. {log}",
    ),
    StatusCode.UNAVAILABLE: (
        ServerDiedError,
        "{server} went away while it worked{details}. Draw Things may have crashed on this request: start it again, "
        "then check that the model and all files exist there, and try a smaller size.",
    ),
    StatusCode.DATA_LOSS: (RequestRefusedError, "{server} reports lost or damaged data{details}. Try again."),
    StatusCode.UNAUTHENTICATED: (
        SharedSecretError,
        "{server} wants to know who asks{details}. Give the shared secret: {set_secret}. If this is a proxy, use the "
        "address of the server itself.",
    ),
}
"""Error and template of every status but OK (protocol §7.7, §11)."""

_HTTP_STATUS = re.compile(r"^Received http2 header with status: (\d+)$")
"""gRPC's words for an answer without a gRPC status; it makes up a status code that means nothing to us."""

_GATEWAY_STATUSES = {502, 503, 504}
"""What a proxy answers in place of a server that it does not reach (RFC 9110 §15.6)."""

_MAX_DETAILS = 200
"""Characters of a server's own words that are quoted; some send whole stack traces."""


@contextmanager
def translated_errors(server: str) -> Iterator[None]:
    """Raises this package's errors, which name the server, in place of gRPC's; cancellation passes as it is."""
    try:
        yield
    except grpc.aio.AioRpcError as exc:
        raise build_error(exc, server) from exc
    except grpc.aio.UsageError as exc:
        raise InvalidInputError(f"The client of {server} is closed; open another one.") from exc


def build_error(error: grpc.aio.AioRpcError, server: str) -> ServerError:
    """The error that stands for a failed call."""
    if answered := _HTTP_STATUS.search(error.details() or ""):
        return _build_http_error(server, int(answered[1]))
    kind, template = STATUS_ERRORS[error.code()]
    return kind(Text(template, server=server, details=_quote(error.details()), **_FACTS))


def _build_http_error(server: str, status: int) -> WrongProtocolError:
    who = "another web server or a proxy"
    if status in _GATEWAY_STATUSES:
        who = "a proxy that does not reach the server behind it, or another web server"
    return WrongProtocolError(
        f"{server} answers in plain HTTP (status {status}) where gRPC is expected: this is {who}. Correct the port "
        f"({DEFAULT_PORT} by default), or use the address of Draw Things itself."
    )


def rule_out_secret(error: RequestRefusedError) -> RequestRefusedError:
    """The same refusal once the server has accepted the shared secret."""
    facts = error.problem.facts if isinstance(error.problem, Text) else {}
    template = "{server} could not process the request{details}. Perhaps a LoRA could not be fetched. {log}"
    return RequestRefusedError(Text(template, **facts)) if facts else error


def may_be_a_wrong_secret(error: DrawThingsError) -> bool:
    """Whether a translated error is what servers answer to a wrong secret, among other things (protocol §7.7)."""
    cause = error.__cause__
    return isinstance(cause, grpc.aio.AioRpcError) and cause.code() is StatusCode.INTERNAL


def _quote(details: str | None) -> Text:
    """A server's own words in brackets, if it has any."""
    words = " ".join((details or "")[: 2 * _MAX_DETAILS].split())
    shown = words if len(words) <= _MAX_DETAILS else f"{words[: _MAX_DETAILS - 1]}…"
    return Text(" ({details})", details=shown) if words else Text("")
