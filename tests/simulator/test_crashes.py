"""What would take a real server's process down."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import numpy as np
import pytest

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator import Outcome, Simulator
from drawthings_mcp.tensors import encode_image
from drawthings_mcp.tensors.mask import encode_mask

if TYPE_CHECKING:
    from tests.simulator.conftest import Wire

pytestmark = pytest.mark.anyio

IMAGE = encode_image(np.zeros((128, 128, 3), np.uint8))
MASK = encode_mask(np.full((128, 128), 2, np.uint8))
MISFIT = (
    b'[{"name":"x","file":"flux_2_klein_9b_q6p.ckpt","prefix":"","version":"flux2_9b","upcast_attention":false,'
    b'"default_scale":16,"modifier":"depth"}]'
)

CASES: list[tuple[str, Callable[[Wire], dict[str, Any]]]] = [
    ("configuration has 0 bytes", lambda wire: {"configuration": b""}),
    ("no valid FlatBuffer", lambda wire: {"configuration": b"not a flatbuffer at all"}),
    ("no valid FlatBuffer", lambda wire: {"configuration": wire.configuration()[:40]}),
    ("start_width is 0", lambda wire: {"startWidth": 0}),
    ("start_height is 0", lambda wire: {"startHeight": 0}),
    ("start_width is 1024, which is 65536 px", lambda wire: {"startWidth": 1024}),
    ("batch_size is 0", lambda wire: {"batchSize": 0}),
    ("strength is 1.5", lambda wire: {"strength": 1.5}),
    ("strength is -0.1", lambda wire: {"strength": -0.1}),
    ("strength is nan", lambda wire: {"strength": float("nan")}),
    ("scaleFactor is 0", lambda wire: {"image": IMAGE, "strength": 0.5, "scaleFactor": 0}),
    ("scaleFactor is 0", lambda wire: {"image": IMAGE, "mask": MASK, "scaleFactor": 0}),
    ("no multiples of 64", lambda wire: {"image": wire.floats(1, 128, 100, 3), "strength": 0.5}),
    ("no multiples of 128", lambda wire: {"image": wire.floats(1, 64, 128, 3), "strength": 0.5, "scaleFactor": 2}),
    ("mask has the dims [64, 128]", lambda wire: {"image": IMAGE, "mask": wire.floats(64, 128, dtype=np.uint8)}),
    ("mask has datatype 16F", lambda wire: {"image": IMAGE, "mask": wire.floats(128, 128)}),
    ("[1, 128, 128, 4], not [1, height, width, 3]", lambda wire: {"image": wire.floats(1, 128, 128, 4)}),
    ("image has datatype 8U", lambda wire: {"image": wire.floats(1, 128, 128, 3, dtype=np.uint8)}),
    ("depth hint", lambda wire: {"hints": [("depth", [wire.floats(1, 128, 128, 3)])]}),
    ("custom hint", lambda wire: {"hints": [("custom", [wire.floats(1, 128, 128, 1)])]}),
    ("shuffle hint", lambda wire: {"hints": [("shuffle", [IMAGE, wire.floats(1, 64, 64, 4)])]}),
    ("scribble hint has", lambda wire: {"hints": [("scribble", [wire.floats(1, 8, 8, 3, dtype=np.uint8)])]}),
    ("pose hint is 64x128", lambda wire: {"hints": [("pose", [wire.floats(1, 128, 64, 3)])]}),
    ("image has the unknown datatype 0x10", lambda wire: {"image": wire.header(1, 128, 128, 3, datatype=0x10)}),
    ("image names memory kind 2", lambda wire: {"image": wire.header(1, 128, 128, 3, kind=2)}),
    ("hint canny names memory kind 2", lambda wire: {"hints": [("canny", [wire.header(1, kind=2)])]}),
    (
        "'depth' does not fit version 'flux2_9b'",
        lambda wire: {"model": "flux_2_klein_9b_q6p.ckpt", "override": pb.MetadataOverride(models=MISFIT)},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "fields"), CASES, ids=[reason for reason, _ in CASES])
async def test_a_fatal_request_closes_the_socket_says_why_and_the_server_lives_on(
    wire: Wire,
    simulator: Simulator,
    caplog: pytest.LogCaptureFixture,
    reason: str,
    fields: Callable[[Wire], dict[str, Any]],
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await wire.run(simulator, **fields(wire))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "closed" in (caught.value.details() or "")
    (noted,) = simulator.crashes
    assert reason in noted
    warnings = [record for record in caplog.records if record.name == "drawthings_mcp.simulator"]
    assert [record.levelname for record in warnings if reason in record.getMessage()] == ["WARNING"]
    assert len((await wire.run(simulator)).payloads) == 1
    assert [run.outcome for run in simulator.runs] == [Outcome.CRASHED, Outcome.DONE]


async def test_scale_factor_zero_harms_no_run_that_does_not_begin_with_the_image(
    wire: Wire, simulator: Simulator
) -> None:
    assert len((await wire.run(simulator, image=IMAGE, strength=1.0, scaleFactor=0)).payloads) == 1
    assert len((await wire.run(simulator, strength=0.5, scaleFactor=0)).payloads) == 1
    assert simulator.crashes == []


async def test_a_pose_needs_the_size_of_both_passes(wire: Wire, simulator: Simulator) -> None:
    small, large = wire.floats(1, 128, 128, 3), wire.floats(1, 256, 256, 3)
    hires = {
        "startWidth": 4, "startHeight": 4, "hiresFix": True, "hiresFixStartWidth": 2, "hiresFixStartHeight": 2,
    }  # fmt: skip
    await wire.run(simulator, **hires, hints=[("pose", [small, large])])
    with pytest.raises(grpc.aio.AioRpcError):
        await wire.run(simulator, **hires, hints=[("pose", [large])])
    assert simulator.crashes == ["a pose hint is 256x256, its pass is 128x128"]
