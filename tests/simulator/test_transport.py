"""Connections, limits, codecs and pieces."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import grpc
import grpc.aio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp._generated import image_service_pb2_grpc as pb_grpc
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.simulator.certificate import make_certificate

if TYPE_CHECKING:
    from tests.simulator.conftest import Wire

pytestmark = pytest.mark.anyio

CHUNK = 4_194_304
RAW, FPZIP = 0, 0xF7217
LARGE: dict[str, Any] = {"startWidth": 16, "startHeight": 16, "steps": 1}
"""1024 x 1024 pixels, which are 6,291,524 bytes when they are not packed."""


async def test_tls_shows_a_leaf_for_this_machine_that_can_be_trusted_as_it_is(wire: Wire) -> None:
    async with Simulator(tls=True) as simulator:
        assert simulator.certificate_pem is not None
        certificate = x509.load_pem_x509_certificate(simulator.certificate_pem)
        assert len((await wire.run(simulator)).payloads) == 1
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert "127.0.0.1" in map(str, names.get_values_for_type(x509.IPAddress))
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert certificate.issuer == certificate.subject
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


async def test_every_start_makes_another_certificate_and_plaintext_has_none() -> None:
    assert Simulator(tls=True).certificate_pem != Simulator(tls=True).certificate_pem
    assert Simulator().certificate_pem is None


async def test_a_certificate_of_ones_own_is_shown(wire: Wire, own_certificate: tuple[bytes, bytes]) -> None:
    async with Simulator(tls=True, certificate=own_certificate) as simulator:
        assert simulator.certificate_pem == own_certificate[0]
        assert len((await wire.run(simulator)).payloads) == 1


def test_a_key_of_another_certificate_is_refused(own_certificate: tuple[bytes, bytes]) -> None:
    stranger = Simulator(tls=True).certificate_pem
    assert stranger is not None
    with pytest.raises(InvalidInputError, match="does not belong"):
        Simulator(tls=True, certificate=(stranger, own_certificate[1]))
    with pytest.raises(InvalidInputError, match="must be PEM"):
        Simulator(tls=True, certificate=(b"no certificate", own_certificate[1]))


@pytest.mark.parametrize("fields", [{"port": 65536}, {"port": -1}, {"step_seconds": -1.0}])
def test_senseless_options_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        Simulator(**fields)


def test_secrets_do_not_show(own_certificate: tuple[bytes, bytes]) -> None:
    shown = repr(Simulator(shared_secret="sesame", tls=True, certificate=own_certificate))
    assert "sesame" not in shown
    assert "PRIVATE" not in shown


async def test_a_port_is_not_shared_by_two_servers() -> None:
    async with Simulator() as first:
        port = int(first.address.rpartition(":")[2])
        with pytest.raises(InvalidInputError, match="port is taken"):
            async with Simulator(port=port):
                raise AssertionError("two servers listen at one port")


async def test_serving_lasts_until_it_is_cancelled(wire: Wire) -> None:
    simulator = Simulator()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(simulator.serve)
            while simulator.address.endswith(":0"):
                await anyio.lowlevel.checkpoint()
            assert len((await wire.run(simulator)).payloads) == 1
            tasks.cancel_scope.cancel()
    async with wire.open(simulator) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await stub.Echo(pb.EchoRequest(name="too late"))


async def test_an_error_inside_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with Simulator():
            raise KeyError("mine")


async def test_a_compressed_request_is_not_implemented(wire: Wire, simulator: Simulator) -> None:
    async with wire.open(simulator, compression=grpc.Compression.Gzip) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Echo(pb.EchoRequest(name="x" * 10_000))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(("compression", "identifier"), [(True, FPZIP), (False, RAW)])
async def test_tensors_are_half_floats_packed_or_not(wire: Wire, compression: bool, identifier: int) -> None:
    async with Simulator(response_compression=compression) as simulator:
        answer = await wire.run(simulator, startWidth=4, startHeight=3, steps=4)
    image = struct.unpack_from("<I4i12i", answer.payloads[0])
    assert image[:4] == (identifier, 1, 2, 0x20000)
    assert image[5:9] == (1, 192, 256, 3)
    preview = struct.unpack_from("<I4i12i", answer.previews["sampling 3"])
    assert preview[1:4] == (1, 2, 0x20000)
    assert preview[5:9] == (1, 24, 32, 16)
    assert preview[0] in {identifier, RAW}  # early previews are mostly noise, which does not get smaller


async def test_large_images_are_cut_only_when_the_client_can_join_them(wire: Wire) -> None:
    async with Simulator(response_compression=False) as simulator:
        cut = await wire.run(simulator, **LARGE)
        whole = await wire.run(simulator, **LARGE, chunked=False)
    sizes = [(len(m.generatedImages[0]), m.chunkState) for m in cut.messages if m.generatedImages]
    assert sizes == [(CHUNK, pb.MORE_CHUNKS), (6_291_524 - CHUNK, pb.LAST_CHUNK)]
    sizes = [(len(m.generatedImages[0]), m.chunkState) for m in whole.messages if m.generatedImages]
    assert sizes == [(6_291_524, pb.LAST_CHUNK)]
    assert cut.payloads == whole.payloads
    announced = [m.downloadSize for m in cut.messages if m.HasField("downloadSize")]
    assert announced == [6_291_524]


async def test_small_images_stay_whole_among_others(wire: Wire) -> None:
    # Four images of 512 x 512 are 6.3 MB together, each is below the size of a piece.
    async with Simulator(response_compression=False) as simulator:
        answer = await wire.run(simulator, startWidth=8, startHeight=8, batchSize=4, steps=1)
    states = [m.chunkState for m in answer.messages if m.generatedImages]
    assert states == [pb.LAST_CHUNK] * 4


async def test_a_client_at_the_default_limit_fails_even_with_pieces(wire: Wire) -> None:
    async with Simulator(response_compression=False) as simulator, wire.open(simulator, options=()) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.GenerateImage(wire.request(**LARGE)):
                pass
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@asynccontextmanager
async def relay(address: str) -> AsyncIterator[str]:
    """Another address of a server; all connections through it break when the context is left."""
    host, port = address.split(":")

    async def carry(source: ByteStream, sink: ByteStream) -> None:
        async for data in source:
            await sink.send(data)

    async def handle(client: ByteStream) -> None:
        async with client, await anyio.connect_tcp(host, int(port)) as server, anyio.create_task_group() as tasks:
            tasks.start_soon(carry, client, server)
            tasks.start_soon(carry, server, client)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


def count_handlers() -> int:
    """Calls that a server of this loop is still busy with, by the tasks that gRPC makes for them."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    return sum(getattr(coroutine, "__name__", "") == "_handle_exceptions" for coroutine in coroutines)


async def test_clients_that_vanish_while_pictures_are_sent_are_no_fault(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(60))
        simulator = await stack.enter_async_context(Simulator(response_compression=False))
        async with relay(simulator.address) as address:
            for _ in range(8):
                options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(address, options=options))
                call = pb_grpc.ImageGenerationServiceStub(channel).GenerateImage(wire.request(**LARGE))
                assert (await call.read()).HasField("currentSignpost")
            # Nobody reads on, so the pictures wait in the server.
            while len(simulator.runs) < 8:
                await anyio.lowlevel.checkpoint()
            assert count_handlers() > 0
        while count_handlers():
            await anyio.lowlevel.checkpoint()
        assert len((await wire.run(simulator)).payloads) == 1
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.fixture
def own_certificate() -> tuple[bytes, bytes]:
    return make_certificate()
