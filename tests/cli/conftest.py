"""Commands as a person runs them, and peers with a fault."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from drawthings_mcp.cli import main
from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.doctor.diagnosis import diagnose
from drawthings_mcp.doctor.finding import Finding
from drawthings_mcp.settings import load_settings
from tests import raw_peer
from tests.warm_start import list_command


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on stdout."""
        parsed: dict[str, Any] = json.loads(self.stdout)
        return parsed

    @property
    def findings(self) -> dict[str, Finding]:
        """What the doctor found, by name."""
        return {found["name"]: Finding(**found) for found in self.document["findings"]}


Run: TypeAlias = Callable[..., Awaitable[Outcome]]
Examine: TypeAlias = Callable[..., Awaitable[dict[str, Finding]]]
Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Variables that keep a command's files in the test's folder."""
    return {
        "DRAWTHINGS_OUTPUT_DIR": str(tmp_path / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(tmp_path / "state"),
    }


@pytest.fixture
def run(folders: Mapping[str, str]) -> Run:
    """``await run("doctor", "--json")``: a process of its own."""

    async def start(*arguments: str, **variables: str) -> Outcome:
        command = list_command("-m", "drawthings_mcp", *arguments)
        environment = {"HOME": os.environ["HOME"], "PYTHONIOENCODING": "utf-8", **folders, **variables}
        with anyio.fail_after(60):
            ended = await anyio.run_process(command, env=environment, check=False)
        return Outcome(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    return start


@pytest.fixture
def invoke(folders: Mapping[str, str]) -> Callable[..., Outcome]:
    """``invoke("doctor", "--json")``: in this process, for commands without a server."""

    def start(*arguments: str, **variables: str) -> Outcome:
        result: Result = CliRunner().invoke(main, arguments, env={**folders, **variables})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return start


@pytest.fixture
def examine(folders: Mapping[str, str]) -> Examine:
    """``await examine("host:port", tls="on")``: what a diagnosis of one server finds, by name."""

    async def look(server: str, *, timeout: float = 20.0, render: bool = False, **options: str) -> dict[str, Finding]:
        settings = load_settings({"server": server, **options}, environment=folders)
        with anyio.fail_after(60):
            diagnosis = await diagnose(settings, timeout=timeout, render=render, face=SHELL)
        return {finding.name: finding for finding in diagnosis.findings}

    return look


@pytest.fixture
def serve_tcp() -> Serve:
    """``serve_tcp(handler)``: a raw peer on a free port; yields its address."""
    return raw_peer.serve_tcp


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An address where nothing listens, and nobody else will while the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def issue() -> Callable[..., tuple[bytes, bytes]]:
    """``issue(not_after)``: a certificate for this machine and its key, PEM."""

    def make(not_after: datetime = datetime(2120, 1, 1, tzinfo=UTC)) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(not_after)
            .add_extension(names, critical=False)
            .sign(key, hashes.SHA256())
        )
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), key_pem

    return make
