"""Results that are not what they should be, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from drawthings_mcp import AsyncDrawThingsClient, DrawThingsWarning, GenerationRequest
from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.errors import InvalidInputError, StorageError, TensorError, TruncatedTransferError
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.tensors import encode_image
from drawthings_mcp.tensors.header import Codec
from drawthings_mcp.tensors.tensor import encode_tensor

pytestmark = pytest.mark.anyio

Serve = Callable[..., Any]
Messages = AsyncIterator[pb.ImageGenerationResponse]

PICTURE = np.random.default_rng(3).integers(0, 256, (128, 128, 3), dtype=np.uint8)
PAYLOAD = encode_image(PICTURE)


def send(*messages: pb.ImageGenerationResponse) -> Callable[[object, object], Messages]:
    async def generate(request: object, context: object) -> Messages:
        for message in messages:
            yield message

    return generate


def damage(payload: bytes) -> bytes:
    """The same header and length, with a body that no encoder has written."""
    middle = len(payload) // 2
    return payload[:middle] + bytes(byte ^ 0xFF for byte in payload[middle:])


@pytest.mark.parametrize("payload", [b"garbage", PAYLOAD[:200], damage(encode_image(PICTURE, codec=Codec.FPZIP))[:900]])
async def test_a_payload_that_is_no_tensor_is_one_error_and_the_next_run_works(
    serve: Serve, small_request: GenerationRequest, payload: bytes
) -> None:
    payloads = iter([payload, PAYLOAD])

    async def generate(request: object, context: object) -> Messages:
        yield pb.ImageGenerationResponse(generatedImages=[next(payloads)])

    with anyio.fail_after(60):
        async with serve(generate) as address, AsyncDrawThingsClient(address) as client:
            with pytest.raises(TensorError):
                await client.generate(small_request)
            (image,) = await client.generate(small_request)
    assert np.array_equal(image.pixels, PICTURE)


async def test_a_transfer_that_ends_inside_a_chunk_keeps_what_came_whole(
    serve: Serve, small_request: GenerationRequest
) -> None:
    generate = send(
        pb.ImageGenerationResponse(downloadSize=2 * len(PAYLOAD)),
        pb.ImageGenerationResponse(generatedImages=[PAYLOAD]),
        pb.ImageGenerationResponse(generatedImages=[PAYLOAD[:100]], chunkState=pb.MORE_CHUNKS),
    )
    with anyio.fail_after(30):
        async with serve(generate) as address, AsyncDrawThingsClient(address) as client:
            with pytest.raises(TruncatedTransferError, match="Generate it again with the same seed") as caught:
                await client.generate(small_request)
    assert caught.value.complete == (PAYLOAD,)


async def test_pixels_that_are_not_a_number_are_black(serve: Serve, small_request: GenerationRequest) -> None:
    tensor = np.zeros((1, 128, 128, 3), np.float16)
    tensor[0, :, :64] = np.nan
    generate = send(pb.ImageGenerationResponse(generatedImages=[encode_tensor(tensor)]))
    with anyio.fail_after(30):
        async with serve(generate) as address, AsyncDrawThingsClient(address) as client:
            with pytest.warns(DrawThingsWarning, match="are no numbers"):
                (image,) = await client.generate(small_request)
    assert not image.pixels[:, :64].any()
    assert (image.pixels[:, 64:] > 100).all()


async def test_another_size_than_asked_for_is_passed_on_with_a_warning(
    serve: Serve, small_request: GenerationRequest
) -> None:
    generate = send(pb.ImageGenerationResponse(generatedImages=[encode_image(PICTURE[:64])]))
    with anyio.fail_after(30):
        async with serve(generate) as address, AsyncDrawThingsClient(address) as client:
            with pytest.warns(DrawThingsWarning, match="returned 128x64 instead of 128x128"):
                (image,) = await client.generate(small_request)
    assert image.size == (128, 64)


@pytest.mark.parametrize(("factor", "warned"), [(2, False), (1, True)])
async def test_what_an_upscaler_enlarged_has_the_size_that_was_asked_for(
    serve: Serve, small_request: GenerationRequest, recwarn: pytest.WarningsRecorder, factor: int, warned: bool
) -> None:
    payload = encode_image(np.zeros((256, 256, 3), np.uint8))
    generate = send(pb.ImageGenerationResponse(generatedImages=[payload], scaleFactor=factor))
    with anyio.fail_after(30):
        async with serve(generate) as address, AsyncDrawThingsClient(address) as client:
            (image,) = await client.generate(small_request)
    assert image.size == (256, 256)
    assert bool(recwarn.list) is warned


async def test_a_silent_run_is_bounded_by_its_caller_and_stops_on_the_server(
    serve: Serve, small_request: GenerationRequest
) -> None:
    stopped = anyio.Event()

    async def say_nothing(request: object, context: Any) -> Messages:
        context.add_done_callback(lambda _: stopped.set())
        await anyio.sleep_forever()
        yield pb.ImageGenerationResponse()

    with anyio.fail_after(30):
        async with serve(say_nothing) as address, AsyncDrawThingsClient(address) as client:
            with anyio.move_on_after(0.2) as limit:
                await client.generate(small_request)
            await stopped.wait()
    assert limit.cancelled_caught


async def test_frames_of_a_video_that_cannot_be_saved_stop_the_run(
    tmp_path: Path, small_request: GenerationRequest
) -> None:
    (tmp_path / "taken").write_text("no folder")
    config = small_request.configuration.replace(
        model="wan_v2.1_1.3b_480p_q8p.ckpt", num_frames=9, sampler="UniPC Trailing"
    )
    with anyio.fail_after(60):
        async with Simulator() as simulator, AsyncDrawThingsClient(simulator.address) as client:
            with pytest.raises(StorageError):
                await client.generate_video("a boat", config, output_dir=tmp_path / "taken")
            video = await client.generate_video("a boat", config, output_dir=tmp_path)
    assert [path.name for path in video.frames] == [f"video-{number:04}.png" for number in range(1, 10)]


async def test_a_picture_is_no_video_and_several_passes_are_none_either(small_request: GenerationRequest) -> None:
    config = small_request.configuration.replace(sampler="UniPC Trailing")
    video = config.replace(model="wan_v2.1_1.3b_480p_q8p.ckpt", num_frames=9, batch_count=2)
    with anyio.fail_after(60):
        async with Simulator() as simulator, AsyncDrawThingsClient(simulator.address) as client:
            with pytest.raises(InvalidInputError, match="Call generate_image"):
                await client.generate_video("a boat", config)
            with pytest.raises(InvalidInputError, match="batch_count"):
                await client.generate_video("a boat", video)
    assert not simulator.requests
