"""Who a server is: its certificate, and the keys of servers met before; ``trust`` says what both are worth."""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from drawthings_mcp.errors import CertificateError, StorageError
from drawthings_mcp.limits import SIMULATOR_ORGANISATION
from drawthings_mcp.private import open_private, prepare_state

SHARED_SPKI_SHA256 = "9968b7b74e50c0cc10084ccc8a0efef2af8a94fdf1786745601f05acef5edd16"
"""SHA-256 of the public key (SubjectPublicKeyInfo) of the certificate that is compiled into every Draw Things
server. Its private key is public as well, so whoever presents it proves nothing (protocol §9.1)."""

_FIRST_LABEL = "drawthings"
"""Stands for the asterisk of a wildcard name; any label would do."""


_UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion)
"""What the parser finds wrong with a certificate; there is no common base."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A leaf certificate, as PEM.

    ``spki_sha256`` is the SHA-256 of its public key, hexadecimal, which stays the same when it is renewed with its key.
    ``names`` are what it is issued for, as gRPC reads it: DNS names and numeric addresses, or the common name when
    there is no DNS name. ``is_simulators``: it says that a simulator made it for itself.
    """

    pem: bytes = field(repr=False)
    spki_sha256: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    is_simulators: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether it has the key that every Draw Things server has."""
        return self.spki_sha256 == SHARED_SPKI_SHA256

    def check_validity(self) -> None:
        """Raises ``CertificateError`` outside its dates; gRPC would refuse it, without saying so."""
        now = datetime.now(UTC)
        if now > self.not_after:
            raise CertificateError(
                f"The server's certificate expired on {self.not_after:%Y-%m-%d}, and gRPC takes none outside its "
                "dates, verified or not. Renew it on the server."
            )
        if now < self.not_before:
            raise CertificateError(
                f"The server's certificate is valid only from {self.not_before:%Y-%m-%d %H:%M} UTC on; "
                "check the clocks of both machines."
            )

    def choose_name(self, host: str) -> str:
        """The name to expect in the certificate: the host itself when it is in there, else the first.

        Raises ``CertificateError`` when it holds no name that gRPC accepts for any host, verified or not.
        """
        usable = [name for name in self.names if _is_usable(name)]
        if not usable:
            names = ", ".join(self.names)
            problem = f"is issued only for {names}, which gRPC accepts for no host" if names else "holds no name at all"
            raise CertificateError(
                f"The server's certificate {problem}. Issue one with a subject alternative name, e.g. DNS:localhost."
            )
        if any(_matches(name, host) for name in usable):
            return host
        return usable[0].replace("*", _FIRST_LABEL)


def parse_certificate(data: bytes) -> Certificate:
    """The certificate of DER bytes; raises ``CertificateError`` when it cannot be read."""
    try:
        parsed = x509.load_der_x509_certificate(data)
        key = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        names = tuple(_list_names(parsed))
    except _UNREADABLE as exc:
        raise CertificateError(f"The server's certificate cannot be read: {exc}. Issue a new one.") from exc
    return Certificate(
        pem=parsed.public_bytes(Encoding.PEM),
        spki_sha256=hashlib.sha256(key).hexdigest(),
        names=names,
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        is_simulators=SIMULATOR_ORGANISATION in _list_subject(parsed, NameOID.ORGANIZATION_NAME),
    )


def _list_names(certificate: x509.Certificate) -> list[str]:
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        alternative = x509.SubjectAlternativeName([])
    dns = alternative.get_values_for_type(x509.DNSName) or _list_subject(certificate, NameOID.COMMON_NAME)
    return [name for name in [*dns, *map(str, alternative.get_values_for_type(x509.IPAddress))] if name]


def _list_subject(certificate: x509.Certificate, attribute: x509.ObjectIdentifier) -> list[str]:
    return [str(item.value) for item in certificate.subject.get_attributes_for_oid(attribute)]


def _is_usable(name: str) -> bool:
    """Whether gRPC accepts a name for some host: an asterisk only as the first of three labels or more."""
    first, _, rest = name.partition(".")
    return "*" not in name or (first == "*" and "*" not in rest and "." in rest.strip("."))


def _matches(name: str, host: str) -> bool:
    name, host = name.lower(), host.lower()
    if name.startswith("*."):
        return not _is_numeric(host) and host.partition(".")[2] == name[2:]
    return name == host


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class PinStore:
    """Public keys by ``host:port``: ``pins.json`` in a folder, a JSON object of SHA-256 in hexadecimal. Blocking.

    Several processes may use one folder, which is made when the first key is pinned: every look is under a lock, every
    change replaces the file whole. A file that cannot be understood is never replaced, for that would forget whom to
    trust: it raises ``StorageError``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pins.json"
        self._lock_path = folder / "pins.lock"

    def check(self, server: str, spki_sha256: str, *, pin: bool = True) -> None:
        """Compares a server's key with the pinned one, and with ``pin`` pins it at the first use.

        Raises ``CertificateError`` when another key is pinned.
        """
        if not pin and not self.path.exists():
            return
        with self._translated_errors(), self._locked():
            pins = self._read()
            known = pins.get(server)
            if known is None and pin:
                self._write({**pins, server: spki_sha256})
        if known not in {None, spki_sha256}:
            raise CertificateError(
                f"{server} presents another key than before: {spki_sha256[:16]}…, pinned is {known[:16]}…. "
                "Somebody may be in between. If the server's certificate was really replaced, remove the entry "
                f"{server!r} from {self.path}."
            )

    def find(self, server: str) -> str | None:
        """The key that is pinned for a server, SHA-256 in hexadecimal; None when there is none."""
        with self._translated_errors():
            # Every change replaces the file whole, so reading takes no lock.
            return self._read().get(server)

    def _read(self) -> Mapping[str, str]:
        try:
            pins = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as exc:
            raise self._damaged(f"it is not JSON ({exc})") from exc
        if not isinstance(pins, dict):
            raise self._damaged("it is not a JSON object")
        for server, pin in pins.items():
            if not isinstance(pin, str) or not _SHA256.fullmatch(pin):
                raise self._damaged(f"the entry {server!r} is not a SHA-256 in hexadecimal")
        return pins

    def _write(self, pins: Mapping[str, str]) -> None:
        text = json.dumps(dict(sorted(pins.items())), indent=2, ensure_ascii=False) + "\n"
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self.path.parent, delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(self.path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        prepare_state(self.path.parent)
        with os.fdopen(open_private(self._lock_path, os.O_WRONLY), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StorageError(f"{self.path} cannot be used: {exc.strerror}. Check the folder's permissions.") from exc

    def _damaged(self, what: str) -> StorageError:
        return StorageError(
            f"{self.path} is damaged: {what}. It holds the keys of servers that you trust, so it is left as it is; "
            "repair it, or remove it to trust every server again."
        )
