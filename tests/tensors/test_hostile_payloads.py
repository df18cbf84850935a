"""Whatever the bytes are, the outcome is an array or a TensorError, quickly and in little memory."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import fpzip
import numpy as np
import pytest
from numpy.typing import NDArray

from drawthings_mcp.errors import TensorError
from drawthings_mcp.tensors import decode_image, encode_image
from drawthings_mcp.tensors.audio import decode_audio
from drawthings_mcp.tensors.header import HEADER_SIZE, Codec, DataType, TensorFormat, TensorHeader, build_header
from drawthings_mcp.tensors.latent import decode_latent
from drawthings_mcp.tensors.mask import decode_mask
from drawthings_mcp.tensors.tensor import decode_tensor, encode_tensor

DECODERS: tuple[Callable[[bytes], NDArray[Any]], ...] = (
    decode_tensor,
    lambda payload: decode_image(payload, report=str),
    decode_mask,
    decode_latent,
    decode_audio,
)
MIB = 1 << 20


def attempt(payload: bytes) -> bool:
    """Whether some decoder took the payload."""
    taken = False
    for decode in DECODERS:
        try:
            decode(payload)
            taken = True
        except TensorError:
            continue
    return taken


def measure_peak(work: Callable[[], object]) -> int:
    """Bytes that were allocated at once, at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(params=[Codec.RAW, Codec.DEFLATE, Codec.FPZIP], ids=lambda codec: codec.name)
def payload(request: pytest.FixtureRequest) -> bytes:
    picture = np.full((16, 16, 3), 200, np.uint8)
    picture[4:8] = 17
    return encode_image(picture, codec=request.param)


def test_every_truncation_is_refused(payload: bytes) -> None:
    needed = len(payload)
    if payload[:4] == build_header(TensorHeader(Codec.FPZIP, DataType.U8, TensorFormat.NCHW, (1,)))[:4]:
        needed = HEADER_SIZE + 26  # behind its own header a stream has no marks that could be checked
    for size in range(needed):
        assert not attempt(payload[:size])


def test_thousands_of_damaged_headers_give_arrays_or_tensor_errors(payload: bytes) -> None:
    rng = random.Random(11)
    for _ in range(2000):
        broken = bytearray(payload)
        for _ in range(rng.randint(1, 4)):
            broken[rng.randrange(HEADER_SIZE)] = rng.choice((0, 1, 2, 3, 4, 16, 64, 127, 128, 255, rng.randrange(256)))
        attempt(bytes(broken))


def test_every_single_bit_of_a_header_may_be_wrong(payload: bytes) -> None:
    for bit in range(HEADER_SIZE * 8):
        broken = bytearray(payload)
        broken[bit // 8] ^= 1 << bit % 8
        attempt(bytes(broken))


@pytest.mark.parametrize("codec", [Codec.RAW, Codec.DEFLATE])
def test_thousands_of_damaged_bodies_give_arrays_or_tensor_errors(codec: Codec) -> None:
    payload = encode_tensor(np.arange(900, dtype=np.float32).reshape(1, 10, 30, 3) // 7, codec=codec)
    rng = random.Random(13)
    for _ in range(1000):
        broken = bytearray(payload)
        for _ in range(rng.randint(1, 8)):
            broken[rng.randrange(HEADER_SIZE, len(broken))] = rng.randrange(256)
        attempt(bytes(broken))


def test_thousands_of_damaged_stream_headers_give_arrays_or_tensor_errors() -> None:
    payload = encode_image(np.full((16, 16, 3), 200, np.uint8), codec=Codec.FPZIP)
    rng = random.Random(17)
    refused = 0
    for _ in range(2000):
        broken = bytearray(payload)
        broken[rng.randrange(HEADER_SIZE, HEADER_SIZE + 20)] ^= rng.randrange(1, 256)
        refused += not attempt(bytes(broken))
    assert refused > 1500


def test_noise_is_refused() -> None:
    rng = random.Random(19)
    for _ in range(500):
        assert not attempt(rng.randbytes(rng.randrange(200)))


def claim(codec: Codec, datatype: DataType, dims: tuple[int, ...], body: bytes) -> bytes:
    tensor_format = TensorFormat.NHWC if len(dims) > 2 else TensorFormat.NCHW
    return build_header(TensorHeader(codec, datatype, tensor_format, dims)) + body


def compress_zeros(*shape: int) -> bytes:
    return bytes(fpzip.compress(np.zeros(shape, np.float32), precision=19, order="C"))


HUGE = (1, 8192, 8192, 4)


@pytest.mark.parametrize(
    "payload",
    [
        claim(Codec.RAW, DataType.F16, HUGE, bytes(60)),
        claim(Codec.RAW, DataType.S64, (4096, 2048), bytes(60)),
        claim(Codec.DEFLATE, DataType.F16, HUGE, bytes(60)),
        claim(Codec.FPZIP, DataType.F16, HUGE, bytes(60)),
        claim(Codec.FPZIP, DataType.F16, HUGE, compress_zeros(1, 8, 8, 4)),
        claim(Codec.FPZIP, DataType.F16, (1, 2048, 2048, 4), compress_zeros(1, 2048, 2048, 4)[:60]),
        build_header(TensorHeader(Codec.FPZIP, DataType.F16, TensorFormat.NHWC, HUGE))[:20]
        + struct.pack("<12i", *[1 << 30] * 12)
        + bytes(60),
    ],
    ids=["raw", "raw 64-bit", "deflate", "noise as fpzip", "small fpzip", "cut fpzip", "overflow"],
)
def test_a_few_bytes_cannot_make_the_decoder_allocate_much(payload: bytes) -> None:
    assert not attempt(payload)  # and whatever is imported at first use is imported now
    assert measure_peak(lambda: attempt(payload)) < MIB // 4


def test_a_deflate_bomb_stops_at_the_size_that_the_header_says() -> None:
    deflater = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(deflater.compress(bytes(MIB)) for _ in range(64)) + deflater.flush()
    payload = claim(Codec.DEFLATE, DataType.U8, (100, 100), bomb)
    assert not attempt(payload)
    assert measure_peak(lambda: attempt(payload)) < MIB


def test_a_deflate_body_is_unpacked_into_little_more_than_its_values() -> None:
    values = np.zeros((8 * MIB,), np.uint8)
    payload = encode_tensor(values, codec=Codec.DEFLATE)
    assert len(payload) < MIB // 8
    assert measure_peak(lambda: decode_tensor(payload)) < 2 * values.nbytes + MIB
