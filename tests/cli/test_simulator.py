"""The simulator as a process, started again and again."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from anyio.streams.text import TextReceiveStream
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from drawthings_mcp.api.async_client import AsyncDrawThingsClient
from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.client.trust import Security
from drawthings_mcp.errors import StorageError
from drawthings_mcp.simulator import keep_certificate
from tests.warm_start import list_command

pytestmark = pytest.mark.anyio


@pytest.fixture
def environment(folders: Mapping[str, str]) -> dict[str, str]:
    return {"HOME": os.environ["HOME"], "PYTHONUNBUFFERED": "1", **folders}


@pytest.fixture
def key_file(folders: Mapping[str, str]) -> Path:
    return Path(folders["DRAWTHINGS_STATE_DIR"]) / "simulator.pem"


@asynccontextmanager
async def simulate(environment: Mapping[str, str], *arguments: str) -> AsyncIterator[str]:
    """``drawthings-mcp simulator`` until the context is left; yields its address."""
    command = list_command("-m", "drawthings_mcp", "simulator", *arguments)
    async with await anyio.open_process(command, env=environment, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            yield (await TextReceiveStream(process.stdout).receive()).split()[0]
        finally:
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0


async def greet(address: str, state_dir: Path) -> Security:
    """One call with a client of its own; returns how it was protected."""
    async with AsyncDrawThingsClient(address, state_dir=state_dir) as client:
        assert (await client.echo()).simulated
        assert client.security is not None
        return client.security


async def test_a_restarted_simulator_is_met_again_with_the_same_key(
    environment: dict[str, str], key_file: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(60):
        async with simulate(environment, "--port", "0") as address:
            first = await greet(address, tmp_path / "client")
        async with simulate(environment, "--port", address.split(":")[1]) as again:
            second = await greet(again, tmp_path / "client")
    assert again == address
    assert first == second
    assert first.note == "the simulator's certificate: encrypts, proves no identity"
    assert not (tmp_path / "client").exists()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert [path.name for path in key_file.parent.iterdir()] == ["simulator.pem"]


async def test_a_simulator_whose_key_was_removed_is_met_again_all_the_same(
    environment: dict[str, str], key_file: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(60):
        async with simulate(environment, "--port", "0") as address:
            first = await greet(address, tmp_path / "client")
        key_file.unlink()
        async with simulate(environment, "--port", address.split(":")[1]):
            second = await greet(address, tmp_path / "client")
    assert first.spki_sha256 != second.spki_sha256


async def test_the_key_file_can_vouch_for_the_simulator(
    environment: dict[str, str], key_file: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(60):
        async with (
            simulate(environment, "--port", "0") as address,
            AsyncDrawThingsClient(address, ca_file=key_file) as client,
        ):
            assert (await client.echo()).simulated


async def test_plaintext_needs_no_key(environment: dict[str, str], key_file: Path, tmp_path: Path) -> None:
    with anyio.fail_after(60):
        async with simulate(environment, "--port", "0", "--no-tls") as address:
            assert (await greet(address, tmp_path / "client")).kind == "plaintext"
    assert not key_file.exists()


@pytest.mark.parametrize("content", ["", "not a key", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
async def test_a_damaged_key_file_is_named_and_left_as_it_is(
    environment: dict[str, str], key_file: Path, content: str
) -> None:
    key_file.parent.mkdir()
    key_file.write_text(content)
    command = list_command("-m", "drawthings_mcp", "simulator", "--port", "0")
    with anyio.fail_after(60):
        ended = await anyio.run_process(command, env=environment, check=False)
    assert ended.returncode == 1
    assert f"{key_file} is damaged" in ended.stderr.decode()
    assert "Remove it" in ended.stderr.decode()
    assert key_file.read_text() == content


def test_a_certificate_that_ends_soon_is_renewed_with_its_key(tmp_path: Path) -> None:
    certificate_pem, key_pem = keep_certificate(tmp_path)
    old = x509.load_pem_x509_certificate(certificate_pem)
    key = load_pem_private_key(key_pem, password=None)
    assert isinstance(key, EllipticCurvePrivateKey)
    ending = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime.now(UTC) - timedelta(days=360))
        .not_valid_after(datetime.now(UTC) + timedelta(days=5))
        .sign(key, SHA256())
    )
    path = tmp_path / "simulator.pem"
    path.write_bytes(ending.public_bytes(Encoding.PEM) + key_pem)
    path.chmod(0o644)
    renewed, same_key = keep_certificate(tmp_path)
    assert same_key == key_pem
    assert x509.load_pem_x509_certificate(renewed).not_valid_after_utc > datetime.now(UTC) + timedelta(days=300)
    assert path.read_bytes() == renewed + key_pem
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keep_certificate(tmp_path) == (renewed, key_pem)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match=r"simulator\.pem cannot be used: .*without TLS") as caught:
        keep_certificate(tmp_path / "state")
    assert "set DRAWTHINGS_STATE_DIR to another value" in SHELL.word(caught.value)


async def test_the_certificate_says_that_it_is_the_simulators(environment: dict[str, str], key_file: Path) -> None:
    with anyio.fail_after(60):
        async with simulate(environment, "--port", "0"):
            certificate = x509.load_pem_x509_certificate(key_file.read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=localhost,O=drawthings-mcp simulator"
