"""Certificates for this machine which say that a simulator made them for itself. Writes nothing to disk."""

from __future__ import annotations

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.limits import SIMULATOR_ORGANISATION

_NAMES = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
)
_VALID = datetime.timedelta(days=365)
_CLOCK_SLACK = datetime.timedelta(hours=1)


def make_certificate(key: ec.EllipticCurvePrivateKey | None = None) -> tuple[bytes, bytes]:
    """A self-signed certificate for the loopback names and its private key, both PEM.

    Parameters
    ----------
    key
        None makes one.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
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
    """Refuse a certificate and a key that do not belong together.

    Raises
    ------
    InvalidInputError
        One of them is no PEM, or the key is another certificate's.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as exc:
        raise InvalidInputError(f"The certificate and its key must be PEM without a password ({exc}).") from exc
    if key.public_key() != certificate.public_key():
        raise InvalidInputError(
            "The private key does not belong to the certificate; give the pair that was made together."
        )
