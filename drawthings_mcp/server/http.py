"""Serves MCP and pictures over HTTP to many clients at once, until a signal arrives."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import signal
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import uvicorn
from mcp.server import MCPServer
from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER, StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, request_response
from starlette.types import ASGIApp

from drawthings_mcp.address import Address, is_loopback
from drawthings_mcp.errors import InvalidInputError, StorageError
from drawthings_mcp.memory import keep_freed_memory
from drawthings_mcp.private import open_private
from drawthings_mcp.server.access import (
    GALLERY_PATH,
    HEALTH_PATH,
    IMAGES_PATH,
    MCP_PATH,
    PAGE_PATH,
    SIGN_IN_PATH,
    Access,
    AccessRules,
    name_host,
)
from drawthings_mcp.server.app import build_server, open_session
from drawthings_mcp.server.clients import Clients, find_crowding
from drawthings_mcp.server.connections import KEEP_ALIVE_SECONDS, MAX_BODY, STRANGERS_BODY, Bodies, limit_connections
from drawthings_mcp.server.gallery import GalleryRoutes
from drawthings_mcp.server.images import serve_image
from drawthings_mcp.server.page import Page
from drawthings_mcp.server.session import Session
from drawthings_mcp.server.sign_in import SignIns
from drawthings_mcp.server.stdio import end_on_signal
from drawthings_mcp.server.tokens import TokenFile
from drawthings_mcp.settings import APP_NAME, Settings

TOKENS_NAME = "tokens.txt"
_PLACE_NAME = "server.json"
_ORIGIN = re.compile(r"https?://[A-Za-z0-9._\[\]:-]+/?")
_WILDCARDS = ("0.0.0.0", "::")

_MAX_SESSIONS = 500
_IDLE_SECONDS = 4 * 3_600.0
"""Sessions of the protocol's older revisions; most clients open another when theirs has ended, not all."""
_GOODBYE_SECONDS = 2
"""For answers under way when the server ends."""


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How the server is reached.

    Attributes
    ----------
    token_file
        Default: ``tokens.txt`` in the state folder. When it is given, programs on this machine need a token, too.
    hosts, origins
        Names under which other machines reach the server; pages of other servers that may speak to it.
    tls_cert, tls_key
        PEM files.
    insecure_lan
        Whether other machines may speak to it without TLS.
    opened
        Gets a link that signs a browser in, as soon as it serves.
    discovers
        Whether Draw Things servers on the network are listed.
    """

    address: Address
    token_file: Path | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure_lan: bool = False
    opened: Callable[[str], None] | None = None
    discovers: bool = False

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return "https" if self.tls_cert is not None else "http"


async def serve_http(
    settings: Settings,
    options: HttpOptions,
    announce: Callable[[str], None],
    build: Callable[[Settings, Session], MCPServer[Session]] = build_server,
) -> None:
    """Serves clients until SIGTERM or SIGINT.

    Parameters
    ----------
    announce
        Gets what the user should know, a line each: where the server is, a token that was made, what is unsafe.
    build
        Puts the MCP server together.

    Raises
    ------
    InvalidInputError
        Other machines could reach the server without what protects it, or a file of a certificate cannot be used.
    StorageError
        The file of tokens cannot be used, or the address is taken.
    """
    keep_freed_memory()
    family, host, is_local = await _resolve(options.address)
    context = _load_certificate(options)
    _check_options(options, is_local)
    tokens = TokenFile(options.token_file or settings.state_dir.absolute() / TOKENS_NAME)
    made = tokens.prepare()
    hosts = {*map(name_host, options.hosts), *([] if is_local else [options.address.host])}
    rules = AccessRules(
        tokens,
        SignIns(tokens),
        frozenset(hosts - set(_WILDCARDS)),
        frozenset(origin.lower().rstrip("/") for origin in options.origins),
        needs_token=not is_local or options.token_file is not None,
    )
    with _listen(family, host, options.address) as listening, _note_place(settings.state_dir) as note:
        async with (
            open_session(settings) as session,
            session.studio.watch_network(active=options.discovers),
            _keep_jobs(settings, session, announce),
        ):
            app, sessions = _build_app(build(settings, session), session, rules)
            async with sessions.run():
                server = _Server(_configure(app, context))
                end_on_signal(partial(server.handle_exit, signal.SIGTERM, None))
                port = listening.getsockname()[1]
                for line in _describe(options, Address(options.address.host, port), rules, made, is_local):
                    announce(line)
                if is_local and options.scheme == "http":
                    note(RunningServer(str(Address(options.address.host, port)), tokens.path, os.getpid()))
                if options.opened is not None:
                    options.opened(
                        f"{options.scheme}://{options.address.host}:{port}/#code={rules.sign_ins.make_code()}"
                    )
                await server.serve([listening])


@asynccontextmanager
async def _keep_jobs(settings: Settings, session: Session, announce: Callable[[str], None]) -> AsyncIterator[None]:
    """Has jobs outlive the server, where what that needs is installed; says so where they do not."""
    try:
        from drawthings_mcp.jobs.durable import JobStoreBusyError, open_durable_jobs
    except ImportError as error:
        install = "pip install 'drawthings-mcp[server]'"
        if settings.database_url.get_secret_value():
            needs = f"DRAWTHINGS_DATABASE_URL needs libraries that are not installed: {install}."
            raise InvalidInputError(needs) from error
        announce(f"Jobs end with this server. `{install}` has them go on after a restart.")
        yield
        return
    async with AsyncExitStack() as stack:
        try:
            opening = open_durable_jobs(settings, session.tasks, session.studio)
            session.jobs = await stack.enter_async_context(opening)
        except JobStoreBusyError as error:
            announce(str(error))
        yield


def _describe(options: HttpOptions, address: Address, rules: AccessRules, made: str, is_local: bool) -> Iterator[str]:
    host = name_host(options.hosts[0]) if address.host in _WILDCARDS else address.host
    url = f"{options.scheme}://{Address(host, address.port)}"
    yield f"Serving MCP at {url}{MCP_PATH}"
    if _is_logged() or options.opened is not None:
        yield f"Pictures are at {url}/ (drawthings-mcp gallery opens them)"
    else:
        yield f"Pictures are at {url}/#code={rules.sign_ins.make_code()} (once, within five minutes)"
    if made:
        yield f"A token was made, which is shown this once: {made}"
    yield f"Tokens are in {rules.tokens.path}"
    if not is_local and options.scheme == "http":
        yield "WARNING: without TLS whoever is in this network can read tokens, prompts and pictures (--insecure-lan)."


class RunningServer(NamedTuple):
    """A server of this machine, for programs of its owner: where it is, who may use it, and its process."""

    address: str
    tokens: Path
    pid: int


def find_place(state_dir: Path) -> RunningServer | None:
    """The server that runs with a state folder; None when there is none, or none that is for this machine alone."""
    try:
        address, tokens, pid = json.loads((state_dir / _PLACE_NAME).read_text(encoding="utf-8"))
        os.kill(int(pid), 0)
    except (OSError, ValueError, TypeError):
        return None
    return RunningServer(str(address), Path(tokens), int(pid))


@contextmanager
def _note_place(state_dir: Path) -> Iterator[Callable[[RunningServer], None]]:
    """What notes where a server is as long as it runs; in a file that nobody else can write."""
    path = state_dir.absolute() / _PLACE_NAME

    def note(server: RunningServer) -> None:
        path.unlink(missing_ok=True)
        with os.fdopen(open_private(path, os.O_WRONLY | os.O_EXCL), "w", encoding="utf-8") as file:
            json.dump([server.address, str(server.tokens), server.pid], file)

    try:
        yield note
    finally:
        running = find_place(state_dir)
        if running is not None and running.pid == os.getpid():
            path.unlink(missing_ok=True)


def _is_logged() -> bool:
    """Whether what is said is kept: in a file, as an agent of launchd has one, or in the journal of systemd."""
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) or os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


async def _resolve(address: Address) -> tuple[socket.AddressFamily, str, bool]:
    """Family and number of the address to listen at, and whether only this machine reaches it."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InvalidInputError(
            f"{address.host!r} is no address of this machine: {error.strerror}; give one, e.g. 127.0.0.1:7868.",
            parameter="http",
        ) from error
    family, *_, place = found[0]
    return family, str(place[0]), all(is_loopback(str(each[4][0])) for each in found)


def _check_options(options: HttpOptions, is_local: bool) -> None:
    """Refuses names that no request can have, and to be reached from other machines without what that needs."""
    for name in options.hosts:
        if not name_host(name):
            raise InvalidInputError(f"{name!r} is no name or address, e.g. studio.local.", parameter="allow_host")
    for origin in options.origins:
        if not _ORIGIN.fullmatch(origin):
            raise InvalidInputError(
                f"{origin!r} is no origin of a page, e.g. https://page.example.", parameter="allow_origin"
            )
    if is_local:
        return
    if options.scheme == "http" and not options.insecure_lan:
        raise InvalidInputError(
            f"{options.address} can be reached from other machines: give --tls-cert and --tls-key, or --insecure-lan "
            "where everybody in the network may read tokens, prompts and pictures.",
            parameter="http",
        )
    if options.address.host in _WILDCARDS and not options.hosts:
        raise InvalidInputError(
            f"{options.address} stands for every address of this machine: say with --allow-host under which name or "
            "address others reach it, e.g. --allow-host studio.local.",
            parameter="http",
        )


def _load_certificate(options: HttpOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None and options.tls_key is None:
        return None
    if options.tls_cert is None or options.tls_key is None:
        raise InvalidInputError("a certificate needs its key: give --tls-cert and --tls-key.", parameter="tls_cert")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A key with a password is refused: nobody is there to type it.
        context.load_cert_chain(options.tls_cert, options.tls_key, password="")
    except OSError as error:
        problem = f"{options.tls_cert} and {options.tls_key} are no certificate with its key in PEM files: {error}"
        raise InvalidInputError(problem, parameter="tls_cert") from error
    return context


@contextmanager
def _listen(family: socket.AddressFamily, host: str, address: Address) -> Iterator[socket.socket]:
    is_dual = family == socket.AF_INET6 and host in _WILDCARDS and socket.has_dualstack_ipv6()
    try:
        listening = socket.create_server((host, address.port), family=family, dualstack_ipv6=is_dual)
    except OSError as error:
        raise StorageError(
            f"{address} cannot be listened at: {error.strerror}. Is the server running already? Give another port with "
            f"--http {Address(address.host, address.port + 1)}."
        ) from error
    with listening:
        yield listening


def _build_app(
    mcp: MCPServer[Session], session: Session, rules: AccessRules
) -> tuple[ASGIApp, StreamableHTTPSessionManager]:
    server = mcp._lowlevel_server  # MCPServer's own app has no place for our checks
    clients = Clients(session)
    server.middleware.insert(0, clients)
    sessions = _Sessions(
        server, max_request_body_size=MAX_BODY, session_idle_timeout=_IDLE_SECONDS, max_sessions=_MAX_SESSIONS
    )
    gallery, page = GalleryRoutes(session, rules.sign_ins), Page()
    routes = [
        Route(MCP_PATH, Bodies(sessions.handle_request, clients)),
        Route(HEALTH_PATH, _tell_health),
        Route(f"{IMAGES_PATH}/{{id}}", partial(serve_image, session.studio.gallery)),
        Route("/", page.send_index),
        Route(f"{PAGE_PATH}/{{name}}", page.send_file),
        Route(SIGN_IN_PATH, Bodies(request_response(gallery.sign_in), most=STRANGERS_BODY), methods=["POST"]),
        Route(SIGN_IN_PATH, gallery.sign_out, methods=["DELETE"]),
        Mount(GALLERY_PATH, Bodies(Starlette(routes=gallery.list_routes()))),
    ]
    app: ASGIApp = (plain := Starlette(routes=routes))
    plain.router.redirect_slashes = False  # to another scheme, behind a proxy
    if rules.origins:
        app = CORSMiddleware(
            app,
            allow_origins=sorted(rules.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=[MCP_SESSION_ID_HEADER, MCP_PROTOCOL_VERSION_HEADER],
        )
    return Access(app, rules), sessions


class _Sessions(StreamableHTTPSessionManager):
    """Ends a session that is idle rather than refuse a new one: many clients open them and never end any."""

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        if len(self._server_instances) >= _MAX_SESSIONS:
            self._end_idle()
        return super()._admit_session(requestor)

    def _end_idle(self) -> None:
        """The session that was idle the longest, of the token that has the most of those."""
        ends = {
            key: transport.idle_scope.deadline
            for key, transport in self._server_instances.items()
            if transport.idle_scope is not None and math.isfinite(transport.idle_scope.deadline)
        }
        if not ends:
            return
        key = find_crowding(sorted(ends, key=ends.__getitem__), lambda key: str(self._session_owners.get(key)))
        if (scope := self._server_instances.pop(key).idle_scope) is not None:
            scope.cancel()


async def _tell_health(_: Request) -> Response:
    return JSONResponse({"status": "ok", "name": APP_NAME, "version": version(APP_NAME)})


class _Server(uvicorn.Server):
    """Leaves signals to us; uvicorn's own way ends the process by the signal that it got."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _configure(app: ASGIApp, context: ssl.SSLContext | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=limit_connections(context),  # type: ignore[arg-type] # it is only called
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # strangers must not be able to fill a log
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
    )
