"""Which servers are trusted: the rules about TLS, plaintext, verification and pins."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args
from urllib.parse import quote

import anyio
import anyio.to_thread
from anyio.streams.tls import TLSStream

from drawthings_mcp.address import DEFAULT_PORT, is_loopback
from drawthings_mcp.client.certificate import Certificate, PinStore, parse_certificate
from drawthings_mcp.client.probe import ProbeResult, Speaks
from drawthings_mcp.errors import (
    CertificateError,
    InvalidInputError,
    ServerError,
    ServerUnreachableError,
    WrongProtocolError,
)
from drawthings_mcp.faces import Phrase, Step, Text
from drawthings_mcp.settings import default_state_dir

TlsMode: TypeAlias = Literal["auto", "on", "off"]

_FACTS: Mapping[str, object] = {
    "port": DEFAULT_PORT,
    "start_server": Step("start_server"),
    "tls_auto": Step("set", setting="tls", value="auto"),
    "tls_off": Step("set", setting="tls", value="off"),
}

_NOT_REACHED: Mapping[Speaks, str] = {
    Speaks.REFUSED: "{found}: nothing listens there. {start_server:C}, or correct the address.",
    Speaks.UNRESOLVED: "{found}. Check the spelling, or give the numeric address of the machine.",
    Speaks.UNREACHABLE: "{found}. Check that the machine is on, in the same network and not behind a firewall.",
    Speaks.SILENT: "{found}. Draw Things may hang or still be starting: wait a moment, restart it, or check the port.",
    Speaks.CLOSES: "{found}, as a tunnel does whose other end is not running. {start_server:C}.",
}

_WRONG_PROTOCOL: Mapping[Speaks, str] = {
    Speaks.HTTP1: (
        "{found}: this is Draw Things' HTTP API mode, or another web server. In Draw Things set Advanced settings → "
        "API Server → Protocol to gRPC, or correct the port ({port} by default)."
    ),
    Speaks.TLS_ONLY: "{found}: another server listens there. Correct the port ({port} by default).",
    Speaks.TLS_FAILS: "{found}. TLS 1.2 or later without a client certificate is needed.",
    Speaks.OTHER: "{found}: another server listens there. Correct the port ({port} by default).",
}


@dataclass(frozen=True, slots=True)
class Security:
    """How a connection is protected, and what that is worth in a few words.

    ``spki_sha256`` is the SHA-256 of the server's public key, hexadecimal; empty for plaintext.
    """

    kind: Literal["plaintext", "TLS"]
    note: str
    spki_sha256: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.note}"


@dataclass(frozen=True, slots=True)
class Route:
    """Everything that opening a channel takes.

    ``target`` is the numeric address that answered, as gRPC writes it. The name is not resolved a second time: gRPC's
    own resolver does not know the ``.local`` names of a Mac, and might come to another machine. ``name`` is what the
    server is called: the authority of plaintext requests, the name expected in a certificate. ``roots`` are the
    certificates to trust, PEM; None for plaintext.
    """

    target: str
    name: str
    roots: bytes | None
    security: Security


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """The caller's wishes; ``tls``, ``ca_file`` and ``verify`` mean what ``ServerClient`` says of its parameters."""

    tls: TlsMode
    ca_file: Path | None
    verify: bool
    pins: PinStore

    async def choose_route(self, found: ProbeResult) -> Route:
        """The way to what was found.

        Raises
        ------
        ServerUnreachableError
            Nothing answers.
        WrongProtocolError
            Something answers in a protocol that is wrong or not allowed.
        CertificateError
            The certificate is not trusted or cannot be used.
        InvalidInputError, StorageError
            The CA file or the pins cannot be used.
        """
        if found.speaks in _NOT_REACHED:
            raise _refuse(found, _NOT_REACHED[found.speaks], ServerUnreachableError)
        if found.speaks in _WRONG_PROTOCOL:
            raise _refuse(found, _WRONG_PROTOCOL[found.speaks])
        if found.speaks is Speaks.PLAINTEXT:
            return await self._choose_plaintext(found)
        return await self._choose_tls(found)

    async def _choose_plaintext(self, found: ProbeResult) -> Route:
        local = is_loopback(found.ip)
        if self.tls != "off" and (self.tls == "on" or not local or self.ca_file):
            raise _refuse(
                found,
                "{found}. Switch TLS on in the server. To allow plaintext, which others can read, {tls_off}.",
            )
        if self.tls == "auto" and self.verify:
            await anyio.to_thread.run_sync(self._refuse_downgrade, found)
        note = "not encrypted, on this machine" if local else "not encrypted, readable on the network"
        return Route(_build_target(found), str(found.address), None, Security("plaintext", note))

    def _refuse_downgrade(self, found: ProbeResult) -> None:
        """Whoever took the port of a server that had a key must not be told the secret; blocking."""
        if self.pins.find(str(found.address)) is not None:
            raise _refuse(
                found,
                "{found}, but spoke TLS with a key of its own before: another server may have taken its place. Switch "
                "TLS on in the server. To allow plaintext, {tls_off}. If the server has given up TLS for good, remove "
                "the entry {address!r} from {pins}.",
                pins=str(self.pins.path),
            )

    async def _choose_tls(self, found: ProbeResult) -> Route:
        if self.tls == "off":
            raise _refuse(
                found, "{found}, and TLS is switched off here. {tls_auto:C}, or switch TLS off in the server."
            )
        certificate = parse_certificate(found.certificate)
        if self.ca_file is not None:
            return await self._choose_verified(found, certificate, self.ca_file)
        certificate.check_validity()
        name = certificate.choose_name(found.address.host)
        note = await anyio.to_thread.run_sync(self._judge, found, certificate)
        # Trusting the leaf itself, and nothing else, binds the channel to the key that was just judged.
        return Route(_build_target(found), name, certificate.pem, Security("TLS", note, certificate.spki_sha256))

    def _judge(self, found: ProbeResult, certificate: Certificate) -> str:
        """Says what a certificate is worth that no CA vouches for; blocking."""
        if not self.verify:
            return "any certificate is accepted: encrypts, proves no identity"
        anonymous = certificate.is_shared or certificate.is_simulators
        # A server that had a key of its own must not fall back to one that proves nothing unnoticed.
        self.pins.check(str(found.address), certificate.spki_sha256, pin=not anonymous)
        if certificate.is_shared:
            return "Draw Things' shared public certificate: encrypts, proves no identity"
        if certificate.is_simulators:
            return "the simulator's certificate: encrypts, proves no identity"
        return "the server's own certificate, pinned at first use"

    async def _choose_verified(self, found: ProbeResult, certificate: Certificate, ca_file: Path) -> Route:
        roots = await anyio.to_thread.run_sync(_read_roots, ca_file)
        await _verify(found, roots)
        security = Security("TLS", f"verified against {ca_file}", certificate.spki_sha256)
        return Route(_build_target(found), found.address.host, roots, security)


def _refuse(
    found: ProbeResult, template: str, kind: type[ServerError] = WrongProtocolError, **facts: str
) -> ServerError:
    return kind(Text(template, found=Phrase(found), address=str(found.address), **_FACTS, **facts))


def _build_target(found: ProbeResult) -> str:
    # A zone such as fe80::1%4 has to be quoted in gRPC's address syntax.
    family, ip = ("ipv6", f"[{quote(found.ip, safe=':')}]") if ":" in found.ip else ("ipv4", found.ip)
    return f"{family}:{ip}:{found.address.port}"


def _read_roots(ca_file: Path) -> bytes:
    try:
        roots = ca_file.read_bytes()
        _build_verifying_context(roots)
    except (OSError, ValueError) as exc:
        problem = f"{ca_file} holds no certificate in PEM form that can be read: {exc}."
        raise InvalidInputError(problem, parameter="ca_file", value=str(ca_file)) from exc
    return roots


def _build_verifying_context(roots: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The file may hold the server's own certificate in place of a CA's.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(cadata=roots.decode("ascii", "ignore"))
    return context


async def _verify(found: ProbeResult, roots: bytes) -> None:
    """One verified handshake ahead of gRPC's own, which gives no reason when it fails."""
    try:
        async with await anyio.connect_tcp(found.ip, found.address.port) as stream:
            await TLSStream.wrap(
                stream,
                hostname=found.address.host,
                ssl_context=_build_verifying_context(roots),
                standard_compatible=False,
            )
    except ssl.SSLCertVerificationError as exc:
        raise _refuse(
            found,
            "The certificate of {address} does not pass: {reason}. Give the CA that issued it as {ca_file} and the "
            "name that it is issued for, or leave {ca_file} out to pin the certificate at first use.",
            CertificateError,
            reason=exc.verify_message,
        ) from exc
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as exc:
        raise ServerUnreachableError(f"{found.address} broke off the second handshake: {exc}. Try again.") from exc


def build_policy(
    *, insecure: bool | None, verify_ssl: bool, tls: TlsMode, ca_file: str | Path | None, state_dir: str | Path | None
) -> TrustPolicy:
    """The policy that a client's options mean; raises ``InvalidInputError`` when two contradict each other."""
    if tls not in get_args(TlsMode):
        modes = get_args(TlsMode)
        raise InvalidInputError(
            f"must be one of {', '.join(modes)}, got {tls!r}.", parameter="tls", value=tls, nearest=modes
        )
    mode = _merge_modes(insecure, tls)
    if ca_file is not None and mode == "off":
        raise InvalidInputError(
            "there is no certificate to verify without TLS; leave one of both out.", parameter="ca_file", value=ca_file
        )
    if ca_file is not None and not verify_ssl:
        raise InvalidInputError(
            "is there to verify with, so verify_ssl cannot be False.", parameter="ca_file", value=ca_file
        )
    return TrustPolicy(
        tls=mode,
        ca_file=Path(ca_file).expanduser() if ca_file is not None else None,
        verify=verify_ssl,
        pins=PinStore(Path(state_dir) if state_dir is not None else default_state_dir()),
    )


def _merge_modes(insecure: bool | None, tls: TlsMode) -> TlsMode:
    if insecure is None:
        return tls
    mode: TlsMode = "off" if insecure else "on"
    if tls not in {"auto", mode}:
        raise InvalidInputError(
            f"{insecure} contradicts tls={tls!r}; leave one of both out.", parameter="insecure", value=insecure
        )
    return mode
