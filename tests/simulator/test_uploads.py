"""Model files sent to the server."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator import Simulator

if TYPE_CHECKING:
    from tests.simulator.conftest import Wire

pytestmark = pytest.mark.anyio

DATA = bytes(range(256)) * 40
FILE = "my_style_lora_f16.ckpt"


def pieces(size: int = 4096, skip: int = 0, **announced: object) -> list[pb.FileUploadRequest]:
    fields = {"filename": FILE, "sha256": hashlib.sha256(DATA).digest(), "totalSize": len(DATA), **announced}
    first = pb.FileUploadRequest(initRequest=pb.InitUploadRequest(**fields))  # type: ignore[arg-type]
    return [first] + [
        pb.FileUploadRequest(chunk=pb.FileChunk(content=DATA[at : at + size], filename=FILE, offset=at + skip))
        for at in range(0, len(DATA), size)
    ]


async def upload(stub: Any, messages: list[pb.FileUploadRequest]) -> list[pb.UploadResponse]:
    """Send each message when the one before has been acknowledged, so that an error cannot cross a message."""
    call = stub.UploadFile()
    replies = []
    for message in messages:
        await call.write(message)
        replies.append(await call.read())
    await call.done_writing()
    replies.append(await call.read())
    return replies


async def test_an_uploaded_file_is_acknowledged_piece_by_piece_and_then_there(wire: Wire, simulator: Simulator) -> None:
    async with wire.open(simulator) as stub:
        replies = await upload(stub, pieces())
        known = await stub.FilesExist(pb.FileListRequest(files=[FILE], filesWithHash=[FILE]))
        listed = await stub.Echo(pb.EchoRequest(name="tests"))
    assert [reply.receivedOffset for reply in replies] == [0, 4096, 8192, len(DATA), len(DATA)]
    assert all(reply.chunkUploadSuccess and reply.filename == FILE for reply in replies)
    assert list(known.existences) == [True]
    assert list(known.hashes) == [hashlib.sha256(DATA).digest()]
    assert FILE in listed.files


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (pieces(skip=1), grpc.StatusCode.DATA_LOSS),
        (pieces(sha256=b"\0" * 32), grpc.StatusCode.DATA_LOSS),
        (pieces(totalSize=len(DATA) + 1), grpc.StatusCode.INVALID_ARGUMENT),
        (pieces()[:-1], grpc.StatusCode.INVALID_ARGUMENT),
        (pieces()[1:], grpc.StatusCode.INVALID_ARGUMENT),
        ([], grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["offset", "hash", "size", "cut short", "no start", "nothing"],
)
async def test_an_upload_that_breaks_the_rules_leaves_no_file(
    wire: Wire, simulator: Simulator, messages: list[pb.FileUploadRequest], code: grpc.StatusCode
) -> None:
    async with wire.open(simulator) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await upload(stub, messages)
        assert caught.value.code() is code
        assert not (await stub.FilesExist(pb.FileListRequest(files=[FILE]))).existences[0]


async def test_an_uploaded_model_runs_with_the_specification_of_the_request(wire: Wire, simulator: Simulator) -> None:
    spec = (
        b'[{"name":"Mine","file":"my_style_lora_f16.ckpt","prefix":"","version":"flux2_9b","upcast_attention":false,'
        b'"default_scale":16}]'
    )
    async with wire.open(simulator) as stub:
        await upload(stub, pieces())
    answer = await wire.run(simulator, model=FILE, override=pb.MetadataOverride(models=spec))
    assert len(answer.payloads) == 1
    assert simulator.degradations == []
    await wire.run(simulator, model=FILE)
    assert "treated as version v1" in simulator.degradations[0]
