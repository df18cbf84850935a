"""Peers to connect to: raw sockets with a script, gRPC servers with a fault, and certificates for them."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp._generated import image_service_pb2_grpc as pb_grpc
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig
from tests import raw_peer

DATES = {
    "now": (datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)),
    "expired": (datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)),
    "not yet": (datetime(2119, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)),
}


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def credentials(self) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials([(self.key_pem, self.pem)])

    def write(self, folder: Path, name: str = "ca.pem") -> Path:
        path = folder / name
        path.write_bytes(self.pem)
        return path

    def build_context(self, folder: Path, protocols: Sequence[str]) -> ssl.SSLContext:
        chain = folder / "chain.pem"
        chain.write_bytes(self.pem + self.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        context.set_alpn_protocols(list(protocols))
        return context


def _issue(
    *names: str,
    common_name: str = "a test",
    issuer: Issued | None = None,
    authority: bool = False,
    valid: str = "now",
) -> Issued:
    """A certificate for names and numeric addresses, self-signed without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(DATES[valid][0])
        .not_valid_after(DATES[valid][1])
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
    return Issued(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


Context: TypeAlias = grpc.aio.ServicerContext[pb.ImageGenerationRequest, pb.ImageGenerationResponse]
Generate: TypeAlias = Callable[[pb.ImageGenerationRequest, Context], AsyncIterator[pb.ImageGenerationResponse]]


class Servicer(pb_grpc.ImageGenerationServiceServicer):
    """A server whose runs are a test's own."""

    def __init__(self, generate: Generate, secret: str, before_echo: Callable[[], Awaitable[None]] | None) -> None:
        self._generate = generate
        self._secret = secret
        self._before_echo = before_echo

    async def Echo(self, request: pb.EchoRequest, context: object) -> pb.EchoReply:  # noqa: N802
        if self._before_echo is not None:
            await self._before_echo()
        if request.sharedSecret != self._secret:
            return pb.EchoReply(sharedSecretMissing=True)
        return pb.EchoReply(message=f"HELLO {request.name}", serverIdentifier=7)

    async def GenerateImage(  # noqa: N802
        self, request: pb.ImageGenerationRequest, context: Context
    ) -> AsyncIterator[pb.ImageGenerationResponse]:
        async for message in self._generate(request, context):
            yield message


async def _send_nothing(request: object, context: object) -> AsyncIterator[pb.ImageGenerationResponse]:
    return
    yield


@asynccontextmanager
async def _serve_grpc(
    generate: Generate = _send_nothing,
    *,
    certificate: Issued | None = None,
    secret: str = "",
    host: str = "127.0.0.1",
    port: int = 0,
    before_echo: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[str]:
    # Without exclusive ports a server that was restarted would share its port with a stranger.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)])
    pb_grpc.add_ImageGenerationServiceServicer_to_server(Servicer(generate, secret, before_echo), server)
    at = f"{host}:{port}"
    bound = server.add_secure_port(at, certificate.credentials) if certificate else server.add_insecure_port(at)
    await server.start()
    try:
        yield f"{host}:{bound}"
    finally:
        await server.stop(None)


@pytest.fixture
def issue() -> Callable[..., Issued]:
    """``issue(*names, common_name, issuer, authority, valid)``: a certificate, self-signed without an issuer."""
    return _issue


@pytest.fixture
def serve_tcp() -> Callable[..., AbstractAsyncContextManager[str]]:
    """``serve_tcp(handler, context)``: a raw peer on a free port; yields its address."""
    return raw_peer.serve_tcp


@pytest.fixture
def serve_grpc() -> Callable[..., AbstractAsyncContextManager[str]]:
    """``serve_grpc(generate, certificate, secret, host, port, before_echo)``: a gRPC server; yields its address."""
    return _serve_grpc


@pytest.fixture
def network_ip() -> str:
    """A numeric address of this machine that is not a loopback one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            # Connecting a datagram socket sends nothing, it only chooses the way to an address of documentation.
            asked.connect(("198.51.100.1", 9))
        except OSError as exc:
            pytest.skip(f"this machine has no network: {exc}")
        ip: str = asked.getsockname()[0]
    if ipaddress.ip_address(ip).is_loopback:
        pytest.skip("this machine has only loopback addresses")
    return ip


@pytest.fixture
def small_request() -> GenerationRequest:
    """A small request that any server takes."""
    configuration = ImageGenerationConfig(model="z_image_turbo_1.0_q6p.ckpt", width=128, height=128, steps=4, seed=42)
    return GenerationRequest(prompt="a lighthouse", configuration=configuration)
