"""Certificates that identify a simulator as one, and the file that keeps their key."""

from __future__ import annotations

import datetime
import ipaddress
import os
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from drawthings_mcp.errors import InvalidInputError, StorageError
from drawthings_mcp.faces import Step, Text
from drawthings_mcp.limits import SIMULATOR_ORGANISATION

_NAMES = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
)
_VALID = datetime.timedelta(days=365)
_CLOCK_SLACK = datetime.timedelta(hours=1)
_RENEWED_BEFORE = datetime.timedelta(days=30)
"""A certificate is renewed this long before it ends: no run of a simulator should outlast it."""
_KEY_MARK = b"-----BEGIN PRIVATE KEY-----"


def make_certificate(key_pem: bytes = b"") -> tuple[bytes, bytes]:
    """Return a self-signed certificate for the loopback names and its private key, both PEM.

    Without an elliptic-curve key it makes one.
    """
    key = serialization.load_pem_private_key(key_pem, password=None) if key_pem else None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, SIMULATOR_ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, "localhost"),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SLACK)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(_NAMES), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def check_pair(certificate_pem: bytes, key_pem: bytes) -> None:
    """Refuse a certificate and a key that are not PEM or do not belong together, with ``InvalidInputError``."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as exc:
        raise InvalidInputError(f"The certificate and its key must be PEM without a password ({exc}).") from exc
    if key.public_key() != certificate.public_key():
        raise InvalidInputError("The private key does not belong to the certificate; pass a pair made together.")


def keep_certificate(folder: Path) -> tuple[bytes, bytes]:
    """Return the certificate and the private key of ``simulator.pem`` in a folder, both PEM; the key never changes.

    The first call makes the file, readable by its owner alone, with the certificate before the key, so that clients can
    verify the simulator with it. A certificate that ends soon is renewed with its key.

    Raises ``StorageError`` when the file cannot be read or written, or is damaged.
    """
    path = folder / "simulator.pem"
    try:
        pair = _read(path)
        if pair is None or _ends_soon(pair[0]):
            pair = make_certificate(pair[1] if pair else b"")
            _write(path, b"".join(pair))
    except OSError as exc:
        text = "{path} cannot be used: {reason}. Check its permissions, {move}, or start the simulator without TLS."
        raise StorageError(Text(text, path=path, reason=exc.strerror, move=Step("set", setting="state_dir"))) from exc
    return pair


def _read(path: Path) -> tuple[bytes, bytes] | None:
    try:
        certificate, mark, key = path.read_bytes().partition(_KEY_MARK)
    except FileNotFoundError:
        return None
    pair = certificate, mark + key
    try:
        check_pair(*pair)
    except InvalidInputError as exc:
        raise StorageError(
            f"{path} is damaged: it does not hold a certificate with its private key. Remove it; the next start makes "
            "another one."
        ) from exc
    return pair


def _ends_soon(certificate_pem: bytes) -> bool:
    end = x509.load_pem_x509_certificate(certificate_pem).not_valid_after_utc
    return end - datetime.datetime.now(datetime.UTC) < _RENEWED_BEFORE


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    # A temporary file is readable by its owner alone, and stays so under its final name.
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
