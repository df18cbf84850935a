"""The key of a simulator that is started again and again, kept in one file. Knows no server."""

from __future__ import annotations

import datetime
import os
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from drawthings_mcp.errors import InvalidInputError, StorageError
from drawthings_mcp.simulator.certificate import check_pair, make_certificate

_KEY_MARK = b"-----BEGIN PRIVATE KEY-----"

_RENEWED_BEFORE = datetime.timedelta(days=30)
"""Before its end a certificate is made anew: no run of a simulator should outlast it."""


def keep_certificate(folder: Path) -> tuple[bytes, bytes]:
    """The certificate and the private key of ``simulator.pem``, both PEM; the key stays the same from call to call.

    The file is made at the first call, for its owner alone, and holds both, the certificate first; so it can also be
    what a client verifies the simulator with. A certificate that ends soon is renewed with its key.

    Parameters
    ----------
    folder
        Made when it is missing.

    Raises
    ------
    StorageError
        The file cannot be read or written, or is damaged.
    """
    path = folder / "simulator.pem"
    try:
        pair = _read(path)
        if pair is None or _ends_soon(pair[0]):
            pair = make_certificate(_load_key(pair[1]) if pair else None)
            _write(path, b"".join(pair))
    except OSError as exc:
        raise StorageError(
            f"{path} cannot be used: {exc.strerror}. Check the folder's permissions, name another one in "
            "DRAWTHINGS_STATE_DIR, or start the simulator with --no-tls."
        ) from exc
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


def _load_key(key_pem: bytes) -> ec.EllipticCurvePrivateKey | None:
    key = serialization.load_pem_private_key(key_pem, password=None)
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Temporary files are for their owner alone, and so is what one of them becomes.
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
