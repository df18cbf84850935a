"""Finds out what speaks at an address: TLS, plaintext HTTP/2, HTTP/1 or nothing.

It trusts nobody and sends nothing that a server acts upon.
"""

from __future__ import annotations

import enum
import math
import os
import socket
import ssl
from dataclasses import dataclass, field

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from drawthings_mcp.address import Address

CONNECT_TIMEOUT = 10.0
"""Seconds after which a server that does not answer counts as silent: a busy machine on a wireless network
answers in less."""

_HEAD_START = 1.0
"""Seconds that the TLS handshake has for itself. A peer that speaks something else may wait for more bytes
without a word, so after that it is also asked in plaintext."""

_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""The client's preface and an empty SETTINGS frame (RFC 9113 §3.4)."""

_HTTP1_HELLO = b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"

_FRAME_HEADER = 9
_SETTINGS = 4
"""Length of an HTTP/2 frame's header, and the type of the frame that a server sends first (RFC 9113 §4.1, §6.5)."""

_TLS_ALERT = b"\x15\x03"
"""How a TLS server begins its complaint about plaintext (RFC 8446 §5.1)."""


class Speaks(enum.Enum):
    """What an address answers with; the value completes the sentence ``<address> …``."""

    TLS = "speaks HTTP/2 over TLS"
    PLAINTEXT = "speaks HTTP/2 without TLS"
    TLS_ONLY = "speaks TLS, but not HTTP/2"
    TLS_FAILS = "speaks TLS, but in a form that is not supported here"
    HTTP1 = "speaks HTTP/1"
    OTHER = "speaks neither TLS nor HTTP"
    SILENT = "takes connections, but does not answer"
    CLOSES = "closes connections without an answer"
    REFUSED = "refuses connections"
    UNRESOLVED = "is not a known host name"
    UNREACHABLE = "cannot be reached"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What was found at an address.

    ``ip`` is the numeric address that answered, empty when no connection came about; ``certificate`` the peer's own,
    DER, unverified, empty without TLS; ``detail`` the reason in the words of the system, or the first bytes of an
    unexpected answer, and may be empty.
    """

    address: Address
    speaks: Speaks
    ip: str = ""
    certificate: bytes = field(default=b"", repr=False)
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.address} {self.speaks.value}{f' ({self.detail})' if self.detail else ''}"


async def probe(address: Address, *, timeout: float = CONNECT_TIMEOUT) -> ProbeResult:
    """Finds out what speaks at an address, within ``timeout`` seconds.

    Every finding is a result, never an exception. The certificate is not verified here.
    """
    attempts = _Attempts(address)
    with anyio.move_on_after(timeout):
        await attempts.run()
    return attempts.get_verdict()


_RANKING = (
    *(Speaks.TLS, Speaks.PLAINTEXT, Speaks.TLS_ONLY, Speaks.TLS_FAILS, Speaks.HTTP1, Speaks.OTHER),
    *(Speaks.CLOSES, Speaks.REFUSED, Speaks.UNRESOLVED, Speaks.UNREACHABLE),
)
"""Findings, the more telling first: a peer that closes on one question may answer another."""


_VAGUE = {Speaks.CLOSES, Speaks.OTHER}
"""Findings after which another question may still tell more."""


class _Attempts:
    """The questions that are put to one address, each on a connection of its own, and the answers so far."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._ip = ""
        self._findings: list[ProbeResult] = []
        self._clear = anyio.CancelScope()

    async def run(self) -> None:
        """Asks until the answer is clear; may be cut short at any point."""
        asked_tls = anyio.Event()
        with self._clear:
            async with anyio.create_task_group() as group:
                group.start_soon(self._ask_tls, asked_tls)
                with anyio.move_on_after(_HEAD_START):
                    await asked_tls.wait()
                await self._ask_plaintext()

    def get_verdict(self) -> ProbeResult:
        """The most telling answer so far."""
        if not self._findings:
            silent = Speaks.SILENT if self._ip else Speaks.UNREACHABLE
            return ProbeResult(self._address, silent, self._ip, detail="timed out")
        return min(self._findings, key=lambda finding: _RANKING.index(finding.speaks))

    def _note(self, speaks: Speaks, *, certificate: bytes = b"", detail: str = "") -> None:
        self._findings.append(ProbeResult(self._address, speaks, self._ip, certificate, detail))
        if speaks not in _VAGUE:
            # Nothing that is still under way could tell more.
            self._clear.cancel()

    async def _connect(self) -> ByteStream | None:
        try:
            stream = await anyio.connect_tcp(self._address.host, self._address.port)
        except OSError as exc:
            self._note(_classify(exc), detail=_explain(exc))
            return None
        self._ip = stream.extra(SocketAttribute.remote_address)[0]
        return stream

    async def _ask_tls(self, done: anyio.Event) -> None:
        stream = await self._connect()
        if stream is not None:
            try:
                await self._shake_hands(stream)
            finally:
                await anyio.aclose_forcefully(stream)
        done.set()

    async def _shake_hands(self, stream: ByteStream) -> None:
        try:
            tls = await TLSStream.wrap(
                stream, hostname=self._address.host, ssl_context=_build_context(), standard_compatible=False
            )
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as exc:
            self._note(Speaks.CLOSES, detail=_explain(exc))
            return
        certificate = tls.extra(TLSAttribute.peer_certificate_binary) or b""
        speaks = Speaks.TLS if tls.extra(TLSAttribute.alpn_protocol) == "h2" else Speaks.TLS_ONLY
        self._note(speaks, certificate=certificate)

    async def _ask_plaintext(self) -> None:
        await self._ask(_HTTP2_HELLO)
        puzzled = any(finding.speaks is Speaks.OTHER for finding in self._findings)
        # Some web servers answer what they do not understand with a bare page; a peer that is none may wait for more.
        with anyio.move_on_after(_HEAD_START if puzzled else math.inf):
            await self._ask(_HTTP1_HELLO % str(self._address).encode("ascii"))
        if puzzled:
            self._clear.cancel()

    async def _ask(self, hello: bytes) -> None:
        stream = await self._connect()
        if stream is None:
            return
        try:
            self._read_answer(await _exchange(stream, hello))
        finally:
            await anyio.aclose_forcefully(stream)

    def _read_answer(self, answer: bytes) -> None:
        if not answer:
            self._note(Speaks.CLOSES)
        elif answer.startswith(b"HTTP/1"):
            self._note(Speaks.HTTP1, detail=answer.partition(b"\r\n")[0].decode("latin-1"))
        elif len(answer) >= _FRAME_HEADER and answer[3] == _SETTINGS and answer[5:9] == bytes(4):
            self._note(Speaks.PLAINTEXT)
        elif answer.startswith(_TLS_ALERT):
            self._note(Speaks.TLS_FAILS, detail="; ".join(finding.detail for finding in self._findings[:1]))
        else:
            self._note(Speaks.OTHER, detail=f"first bytes {answer[:16]!r}")


async def _exchange(stream: ByteStream, hello: bytes) -> bytes:
    """The first bytes of a peer's answer, at least a frame's header; empty when it only closes."""
    answer = b""
    try:
        await stream.send(hello)
        while len(answer) < _FRAME_HEADER:
            answer += await stream.receive()
    except (anyio.BrokenResourceError, anyio.EndOfStream):
        pass
    return answer


def _build_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # The certificate is looked at, not trusted: who the peer is, is decided before anything is sent.
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context


def _classify(error: OSError) -> Speaks:
    causes = [error, *_list_causes(error)]
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return Speaks.REFUSED
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Speaks.UNRESOLVED
    return Speaks.UNREACHABLE


def _list_causes(error: BaseException) -> list[BaseException]:
    """What lies behind the error of a connection that was tried on several addresses."""
    cause = error.__cause__
    return list(cause.exceptions) if isinstance(cause, BaseExceptionGroup) else [cause] if cause else []


def _explain(error: BaseException) -> str:
    causes = _list_causes(error) or [error]
    return "; ".join(dict.fromkeys(text for text in map(_name_cause, causes) if text))


def _name_cause(cause: BaseException) -> str:
    if not isinstance(cause, OSError):
        return str(cause)
    if isinstance(cause, ssl.SSLError | socket.gaierror) or not cause.errno:
        return cause.strerror or str(cause)
    # The event loop words refusals and the like in its own way; the system's is the one that people know.
    return os.strerror(cause.errno)


_APP_KEYS = (b'"seed_mode"', b'"guidance_scale"')
"""Keys of the app's configuration, which it gives at its root; no other web server answers with both."""

_MAX_ANSWER = 1 << 16
"""Bytes after which the answer is not the app's: its configuration is a few thousand."""


async def offers_web_api(address: Address, *, timeout: float) -> bool:
    """Whether a web server is Draw Things in HTTP mode; no answer within ``timeout`` seconds counts as no."""
    answer = b""
    with anyio.move_on_after(timeout):
        try:
            async with await anyio.connect_tcp(address.host, address.port) as stream:
                await stream.send(_HTTP1_HELLO % str(address).encode("ascii"))
                while len(answer) < _MAX_ANSWER and not _is_app_configuration(answer):
                    answer += await stream.receive()
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream):
            pass
    return _is_app_configuration(answer)


def _is_app_configuration(answer: bytes) -> bool:
    return all(mark in answer for mark in _APP_KEYS)
