"""Connections, limits, codecs and pieces."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import anyio
import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from drawthings_mcp._generated import image_service_pb2 as pb
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


def test_secrets_do_not_show_in_the_options(own_certificate: tuple[bytes, bytes]) -> None:
    shown = repr(Simulator(shared_secret="sesame", certificate=own_certificate).options)
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


async def test_small_images_stay_whole_beside_others(wire: Wire) -> None:
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


@pytest.fixture
def own_certificate() -> tuple[bytes, bytes]:
    return make_certificate()
