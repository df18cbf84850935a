"""Echo, FilesExist, Pubkey and Hours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator import Simulator

if TYPE_CHECKING:
    from tests.simulator.conftest import Wire

pytestmark = pytest.mark.anyio

REQUIRED = {
    "models": {"name", "file", "prefix", "version", "upcast_attention", "default_scale"},
    "loras": {"name", "file", "prefix", "version"},
    "controlNets": {"name", "file", "version", "type", "global_average_pooling"},
    "textualInversions": {"name", "file", "keyword", "length", "version"},
    "upscalers": {"name", "file", "scale_factor", "blocks"},
}


async def echo(wire: Wire, simulator: Simulator, **fields: str) -> pb.EchoReply:
    async with wire.open(simulator) as stub:
        reply: pb.EchoReply = await stub.Echo(pb.EchoRequest(name="tests", **fields))
        return reply


async def test_a_browsable_server_lists_files_and_complete_specifications(wire: Wire, simulator: Simulator) -> None:
    reply = await echo(wire, simulator)
    assert reply.message == "HELLO tests"
    assert not reply.sharedSecretMissing
    assert not reply.HasField("thresholds")
    for kind, required in REQUIRED.items():
        entries = json.loads(getattr(reply.override, kind))
        assert entries, kind
        for entry in entries:
            assert required <= entry.keys()
            assert entry["file"] in reply.files


@pytest.mark.parametrize(
    "file",
    [
        "z_image_turbo_1.0_q8p.ckpt",
        "qwen_image_2512_bf16_q8p.ckpt",
        "qwen_image_edit_2509_q6p.ckpt",
        "qwen_image_edit_2511_lightning_4_step_v1.0_lora_f16.ckpt",
        "flux_2_klein_9b_q6p.ckpt",
        "flux_1_fill_dev_q8p.ckpt",
        "svd_i2v_xt_1.1_q6p_q8p.ckpt",
        "flux_1_redux_f16.ckpt",
        "remacri_4x_f16.ckpt",
        "actionhelper_ti_f16.ckpt",
        "qwen_3_vl_4b_instruct_q8p.ckpt",
        "flux_2_vae_f16.ckpt",
    ],
)
async def test_recommended_files_their_encoders_and_decoders_are_there(
    wire: Wire, simulator: Simulator, file: str
) -> None:
    assert file in (await echo(wire, simulator)).files


async def test_a_server_without_browsing_only_greets(wire: Wire) -> None:
    async with Simulator(model_browser=False) as simulator:
        reply = await echo(wire, simulator)
    assert reply.message == "HELLO tests"
    assert reply.serverIdentifier
    assert not reply.files
    assert not reply.HasField("override")


async def test_every_start_has_its_own_identifier(wire: Wire) -> None:
    async with Simulator() as one, Simulator() as other:
        identifiers = [(await echo(wire, server)).serverIdentifier for server in (one, one, other)]
    assert identifiers[0] == identifiers[1] != identifiers[2]


async def test_a_missing_file_takes_what_depends_on_it_off_the_list(wire: Wire) -> None:
    async with Simulator(missing_files=["qwen_3_8b_q8p.ckpt"]) as simulator:
        reply = await echo(wire, simulator)
    models = {entry["file"] for entry in json.loads(reply.override.models)}
    assert "qwen_3_8b_q8p.ckpt" not in reply.files
    assert "flux_2_klein_9b_q6p.ckpt" in reply.files
    assert "flux_2_klein_9b_q6p.ckpt" not in models
    assert "flux_2_klein_4b_q6p.ckpt" in models


async def test_existence_is_reported_in_the_order_of_the_question(wire: Wire) -> None:
    files = ["no.ckpt", "sd_v1.5_f16.ckpt", "z_image_1.0_q8p.ckpt", "sd_v1.5_f16.ckpt"]
    async with Simulator(missing_files=["z_image_1.0_q8p.ckpt"]) as simulator, wire.open(simulator) as stub:
        reply = await stub.FilesExist(
            pb.FileListRequest(files=files, filesWithHash=["sd_v1.5_f16.ckpt", "z_image_1.0_q8p.ckpt"])
        )
    assert list(reply.files) == files
    assert list(reply.existences) == [False, True, False, True]
    assert [len(value) for value in reply.hashes] == [0, 32, 0, 32]
    assert reply.hashes[1] == reply.hashes[3]


async def test_a_direct_server_has_no_key_and_no_thresholds(wire: Wire, simulator: Simulator) -> None:
    async with wire.open(simulator) as stub:
        assert await stub.Pubkey(pb.PubkeyRequest(name="tests")) == pb.PubkeyResponse()
        assert await stub.Hours(pb.HoursRequest()) == pb.HoursResponse()


@pytest.mark.parametrize("fields", [{}, {"sharedSecret": "wrong"}])
async def test_a_wrong_secret_is_reported_by_echo_and_an_error_elsewhere(wire: Wire, fields: dict[str, str]) -> None:
    async with Simulator(shared_secret="right") as simulator, wire.open(simulator) as stub:
        assert await echo(wire, simulator, **fields) == pb.EchoReply(sharedSecretMissing=True)
        begin = pb.FileUploadRequest(initRequest=pb.InitUploadRequest(), sharedSecret=fields.get("sharedSecret"))
        calls = [
            stub.FilesExist(pb.FileListRequest(files=["a"], **fields)),
            stub.GenerateImage(wire.request(**fields)).read(),
            stub.UploadFile(iter([begin])).read(),
        ]
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.INTERNAL
            assert caught.value.details() == "unknown error processing request"
    assert not simulator.requests


async def test_the_right_secret_opens_everything(wire: Wire) -> None:
    async with Simulator(shared_secret="right") as simulator, wire.open(simulator) as stub:
        assert (await echo(wire, simulator, sharedSecret="right")).files
        assert (await stub.FilesExist(pb.FileListRequest(files=["a"], sharedSecret="right"))).existences == [False]
        assert len((await wire.run(simulator, sharedSecret="right")).payloads) == 1
