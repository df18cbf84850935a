"""Passes everything that one client says over stdio on to a server that runs elsewhere, and its answers back.

Nothing is understood on the way but what has to be: local pictures are uploaded, since the server may be on another
machine, and what HTTP wants to know of a message stands in its headers.
"""

from __future__ import annotations

import base64
import json
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx2
from anyio.abc import TaskGroup
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
)
from mcp.types import INTERNAL_ERROR, PROTOCOL_VERSION_META_KEY

from drawthings_mcp.address import is_loopback
from drawthings_mcp.errors import DrawThingsError, InvalidImageError, InvalidInputError
from drawthings_mcp.server.face import MCP
from drawthings_mcp.settings import Settings

if TYPE_CHECKING:
    from drawthings_mcp.references.policy import ImportPolicy

_CALL, _CANCELLED, _INITIALIZE = "tools/call", "notifications/cancelled", "initialize"
_PICTURES = ("canvas", "mask", "moodboard", "settings_from", "images", "like")
"""Arguments of tools that take references to pictures."""
_CONNECT_SECONDS = 10.0
_GOODBYE_SECONDS = 1.0
_UNAUTHORIZED, _NOT_FOUND, _REFUSED = 401, 404, 400

_Parsed: TypeAlias = dict[str, Any]


def read_token(settings: Settings) -> str:
    """The token for the server that everything is passed on to; empty when none is set.

    Raises
    ------
    InvalidInputError
        The file cannot be read or holds none, or the token would leave this machine unprotected.
    """
    if settings.mcp_token_file is None:
        return ""
    try:
        lines = settings.mcp_token_file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"{settings.mcp_token_file} cannot be read: {error}", parameter="mcp_token_file"
        ) from error
    # A line is a token, or a name and a token, as in the file of the server.
    words = next((line.split() for line in lines if line.strip() and not line.strip().startswith("#")), [])
    if not words:
        raise InvalidInputError(f"{settings.mcp_token_file} holds no token.", parameter="mcp_token_file")
    url = urlsplit(settings.mcp_url)
    if url.scheme == "http" and not _is_here(url.hostname or ""):
        raise InvalidInputError(
            f"{url.hostname} is another machine, and http:// would show it the token on the way to whoever is in the "
            "network. Use https://, or an address of this machine.",
            parameter="mcp_url",
        )
    return words[-1]


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return is_loopback(host)
    return False


async def pass_on(settings: Settings, lines: AsyncIterator[str], write: Callable[[_Parsed], Any]) -> None:
    """Passes messages on until there are no more.

    Parameters
    ----------
    lines
        What the client says.
    write
        Is awaited with each message for it.
    """
    token = read_token(settings)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = httpx2.Timeout(None, connect=_CONNECT_SECONDS)
    async with (
        # No proxy gets the token; SSL_CERT_FILE counts.
        httpx2.AsyncClient(
            headers=headers, timeout=timeout, trust_env=False, verify=httpx2.create_ssl_context()
        ) as client,
        anyio.create_task_group() as tasks,
    ):
        upstream = _Upstream(settings, client, tasks, write)
        async for line in lines:
            await upstream.take(json.loads(line))
        await upstream.end()
        tasks.cancel_scope.cancel()


class _UpstreamError(Exception):
    """The server did not answer a message as it should; the text is for whoever asked."""


class _Upstream:
    def __init__(
        self, settings: Settings, client: httpx2.AsyncClient, tasks: TaskGroup, write: Callable[[_Parsed], Any]
    ) -> None:
        self._settings = settings
        self._url = settings.mcp_url
        self._client = client
        self._tasks = tasks
        self._write = write
        self._session = ""
        self._version = ""
        self._opening: _Parsed | None = None
        self._running: dict[str, anyio.CancelScope] = {}
        # Clients count from 1, and several of the same name may use one server.
        self._prefix = secrets.token_hex(4)

    async def take(self, message: _Parsed) -> None:
        """One message of the client."""
        if message.get("method") == _CANCELLED:
            await self._cancel(message)
        elif "method" in message and "id" in message:
            if message["method"] == _INITIALIZE:
                self._opening = message
                # What follows needs the session that this opens.
                await self._ask(message)
            else:
                self._tasks.start_soon(self._ask, message)
        else:
            with suppress(_UpstreamError):
                await self._post(message)

    async def end(self) -> None:
        """Says goodbye to the server, as far as it listens."""
        if self._session:
            with anyio.move_on_after(_GOODBYE_SECONDS), suppress(httpx2.HTTPError):
                await self._client.delete(self._url, headers=self._build_headers({}))

    async def _ask(self, message: _Parsed) -> None:
        """Passes a request on, and what comes of it back."""
        name = self._rename(message["id"])
        with anyio.CancelScope() as scope:
            self._running[name] = scope
            try:
                await self._post(await self._upload(message), message["id"])
            except (DrawThingsError, _UpstreamError) as error:
                text = error.word(MCP) if isinstance(error, DrawThingsError) else str(error)
                await self._write(_build_error(message, text))
            finally:
                self._running.pop(name, None)

    async def _cancel(self, message: _Parsed) -> None:
        params = message.get("params") or {}
        name = self._rename(params.get("requestId"))
        scope = self._running.get(name)
        # The newest revision ends a call by its stream alone, which says nothing of why.
        with suppress(_UpstreamError):
            await self._post({**message, "params": {**params, "requestId": name}})
        if scope is not None:
            scope.cancel()

    def _rename(self, request_id: Any) -> str:
        return f"{self._prefix}-{json.dumps(request_id)}"

    async def _post(self, message: _Parsed, request_id: Any = None, *, is_again: bool = False) -> None:
        body = message if request_id is None else {**message, "id": self._rename(request_id)}
        try:
            async with self._client.stream(
                "POST", self._url, json=body, headers=self._build_headers(message)
            ) as response:
                if response.status_code == _NOT_FOUND and self._session and not is_again:
                    await response.aread()
                else:
                    await self._read(response, message, request_id)
                    return
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            server = f"The server at {self._url} (DRAWTHINGS_MCP_URL)"
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise _UpstreamError(
                    f"{server} shows a certificate that is not trusted on this machine ({error}). Have the system "
                    "trust who issued it, or name that one's PEM file in SSL_CERT_FILE, and use a name that it is for."
                ) from error
            raise _UpstreamError(
                f"{server} does not answer: {error or type(error).__name__}. "
                "Start it with `drawthings-mcp serve --http`, or unset the variable to render from here."
            ) from error
        # It was started again and has forgotten the session.
        await self._open_again()
        await self._post(message, request_id, is_again=True)

    async def _open_again(self) -> None:
        assert self._opening is not None
        self._session = ""
        write, self._write = self._write, _drop
        try:
            await self._post(self._opening, self._opening["id"], is_again=True)
            await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, is_again=True)
        finally:
            self._write = write

    async def _read(self, response: httpx2.Response, message: _Parsed, request_id: Any) -> None:
        if message.get("method") == _INITIALIZE:
            self._session = response.headers.get(MCP_SESSION_ID_HEADER, "")
        kind = response.headers.get("content-type", "")
        if kind.startswith("text/event-stream"):
            has_answer = False
            async for event in httpx2.EventSource(response):
                if event.data:
                    has_answer |= await self._give_back(json.loads(event.data), message, request_id)
            if not has_answer and request_id is not None:
                raise _UpstreamError(
                    f"The server at {self._url} ended in the middle of its answer. A render goes on when it is started "
                    "again: get_job() tells, or call again with the same arguments."
                )
            return
        data = await response.aread()
        if response.status_code == _UNAUTHORIZED:
            raise _UpstreamError(
                f"The server at {self._url} wants a token: name a file with yours in DRAWTHINGS_MCP_TOKEN_FILE."
            )
        if request_id is None:
            return
        if not kind.startswith("application/json"):
            said = data[:200].decode("utf-8", "replace")
            raise _UpstreamError(f"The server at {self._url} answered {response.status_code}: {MCP.quote(said)}")
        await self._give_back(json.loads(data), message, request_id)

    async def _give_back(self, answer: _Parsed, message: _Parsed, request_id: Any) -> bool:
        """Gives the client a message of the server; whether that is the answer."""
        is_answer = "method" not in answer
        if is_answer:
            answer = {**answer, "id": request_id}
            if message.get("method") == _INITIALIZE:
                self._version = answer.get("result", {}).get("protocolVersion", "")
        await self._write(answer)
        return is_answer

    def _build_headers(self, message: _Parsed) -> dict[str, str]:
        params, method = message.get("params") or {}, message.get("method", "")
        headers = {"Accept": "application/json, text/event-stream"}
        if version := _find_version(message):
            headers |= {MCP_PROTOCOL_VERSION_HEADER: version, MCP_METHOD_HEADER: method}
            if method in NAME_BEARING_METHODS:
                headers[MCP_NAME_HEADER] = encode_header_value(str(params.get(NAME_BEARING_METHODS[method], "")))
            return headers
        if self._session and method != _INITIALIZE:
            headers[MCP_SESSION_ID_HEADER] = self._session
        if self._version and method != _INITIALIZE:
            headers[MCP_PROTOCOL_VERSION_HEADER] = self._version
        return headers

    async def _upload(self, message: _Parsed) -> _Parsed:
        """The call with local pictures in it, as far as it names some."""
        params = message.get("params") or {}
        arguments = params.get("arguments")
        if message["method"] != _CALL or not isinstance(arguments, dict):
            return message
        uploaded = await anyio.to_thread.run_sync(upload_pictures, arguments, self._settings)
        return {**message, "params": {**params, "arguments": uploaded}}


def _find_version(message: _Parsed) -> str:
    """The revision of the protocol that a message names, as the newest do; empty for none."""
    return str(((message.get("params") or {}).get("_meta") or {}).get(PROTOCOL_VERSION_META_KEY, ""))


async def _drop(_: _Parsed) -> None:
    """In place of a client that has had its answer."""


def _build_error(message: _Parsed, text: str) -> _Parsed:
    """What a model reads where a tool was called, and an error for all else."""
    answer: _Parsed = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == _CALL:
        kind = {"resultType": "complete"} if _find_version(message) else {}
        return {**answer, "result": {"content": [{"type": "text", "text": text}], "isError": True, **kind}}
    return {**answer, "error": {"code": INTERNAL_ERROR, "message": text}}


def upload_pictures(arguments: Mapping[str, Any], settings: Settings) -> _Parsed:
    """Arguments of a tool with ``data:`` URIs in place of the paths of files that are on this machine. Blocks.

    Raises
    ------
    InvalidImageError
        One lies outside the folders that may be read from here, or is no picture.
    """
    from drawthings_mcp.references.policy import build_policy

    policy = build_policy(settings)

    def replace(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [replace(name, one) for one in value]
        try:
            return _upload(value, policy) if isinstance(value, str) else value
        except InvalidImageError as error:
            error.about(name)
            raise

    replaced = {name: replace(name, value) if name in _PICTURES else value for name, value in arguments.items()}
    if isinstance(sweep := replaced.get("sweep"), dict):
        replaced["sweep"] = {
            name: replace(name, value) if name in _PICTURES else value for name, value in sweep.items()
        }
    return replaced


def _upload(reference: str, policy: ImportPolicy) -> str:
    """The picture of a path as a ``data:`` URI; any other reference as it is."""
    from drawthings_mcp.quoting import read_path
    from drawthings_mcp.references.importing import check_file, check_place
    from drawthings_mcp.references.parsing import parse_reference
    from drawthings_mcp.references.policy import MAX_DATA_BYTES
    from drawthings_mcp.studio.results import find_mime_type
    from drawthings_mcp.tensors.picture_files import name_file, open_regular_file

    try:
        parsed = parse_reference(reference)
    except InvalidImageError:
        return reference  # the server says what is wrong with it
    path = Path(read_path(parsed.value)).expanduser() if parsed.form == "path" else None
    if path is None or not path.exists():
        return reference
    with open_regular_file(check_place(path, policy), MAX_DATA_BYTES, follows_links=False) as file:
        info = check_file(file, name_file(path), policy)
        data = base64.b64encode(file.read()).decode()
    return f"data:{find_mime_type(info.format)};base64,{data}"


async def write_line(message: _Parsed, turn: anyio.Lock) -> None:
    """A message to the client on stdout."""

    def write() -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    data = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    async with turn:
        await anyio.to_thread.run_sync(write)
