"""A client that knows nothing but the wire: raw stubs, raw bytes."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import flatbuffers
import grpc.aio
import numpy as np
import pytest
from numpy.typing import NDArray

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp._generated import image_service_pb2_grpc as pb_grpc
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.tensors import decode_image, encode_image
from drawthings_mcp.tensors.mask import encode_mask
from drawthings_mcp.tensors.tensor import encode_tensor

Pixels = NDArray[np.uint8]

_PATIENCE = 30
_UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


@dataclass(frozen=True)
class Answer:
    """Everything that one call sent back."""

    messages: list[pb.ImageGenerationResponse]

    @property
    def progress(self) -> list[pb.ImageGenerationResponse]:
        return [message for message in self.messages if message.HasField("currentSignpost")]

    @property
    def signposts(self) -> list[str]:
        """``sampling 3`` and the like, in order."""
        return [name_signpost(message.currentSignpost) for message in self.progress]

    @property
    def totals(self) -> dict[str, int]:
        """The announced set: the total for passes, 0 for everything else."""
        sets = [sorted(map(name_signpost, message.signposts)) for message in self.progress]
        assert all(each == sets[0] for each in sets)
        pairs = (name.split() for name in sets[0])
        return {name: int(total[0]) if total else 0 for name, *total in pairs}

    @property
    def previews(self) -> dict[str, bytes]:
        """Payloads of previews by signpost."""
        return {name_signpost(m.currentSignpost): m.previewImage for m in self.progress if m.HasField("previewImage")}

    @property
    def payloads(self) -> list[bytes]:
        """Images, joined from their pieces."""
        return join(self.messages, "generatedImages")

    @property
    def sounds(self) -> list[bytes]:
        return join(self.messages, "generatedAudio")

    @property
    def pictures(self) -> list[Pixels]:
        return [decode_image(payload) for payload in self.payloads]

    @property
    def picture(self) -> Pixels:
        """The only picture."""
        (picture,) = self.pictures
        return picture


def name_signpost(signpost: pb.ImageGenerationSignpostProto) -> str:
    name = str(signpost.WhichOneof("signpost"))
    return f"{name} {getattr(signpost, name).step}" if "ampling" in name else name


def join(messages: Sequence[pb.ImageGenerationResponse], kind: str) -> list[bytes]:
    joined, pieces = [], b""
    for message in messages:
        for item in getattr(message, kind):
            pieces += item
            if message.chunkState == pb.LAST_CHUNK:
                joined.append(pieces)
                pieces = b""
    assert not pieces
    return joined


class Wire:
    """Builds requests and makes calls."""

    def configuration(self, **fields: Any) -> bytes:
        """A FlatBuffer of a small text-to-image run, with any field changed."""
        chosen = {
            "startWidth": 2,
            "startHeight": 2,
            "seed": 42,
            "steps": 4,
            "guidanceScale": 1.0,
            "strength": 1.0,
            "model": "z_image_turbo_1.0_q6p.ckpt",
            "sampler": 17,
            "seedMode": 2,
            "shift": 3.0,
            "resolutionDependentShift": False,
            **fields,
        }
        configuration = fbs.GenerationConfigurationT(**chosen)
        builder = flatbuffers.Builder(0)
        builder.Finish(configuration.Pack(builder))  # type: ignore[func-returns-value]
        return bytes(builder.Output())

    def request(self, prompt: str = "a red fox", **fields: Any) -> pb.ImageGenerationRequest:
        """A request; fields of the message under its names, all others go into the configuration.

        ``image`` and ``mask`` may be arrays; ``hints`` is a list of (type, payloads) or (type, payloads, weights).
        """
        message = pb.ImageGenerationRequest(prompt=prompt, scaleFactor=1, chunked=True, user="tests", device=pb.LAPTOP)
        own = {name: fields.pop(name) for name in list(fields) if name in message.DESCRIPTOR.fields_by_name}
        own.setdefault("configuration", self.configuration(**fields))
        for name, value in own.items():
            self._set(message, name, value)
        return message

    def _set(self, message: pb.ImageGenerationRequest, name: str, value: Any) -> None:
        if name == "hints":
            for kind, payloads, *weights in value:
                pairs = zip(payloads, weights[0] if weights else [1.0] * len(payloads), strict=True)
                tensors = [pb.TensorAndWeight(tensor=tensor, weight=weight) for tensor, weight in pairs]
                message.hints.append(pb.HintProto(hintType=kind, tensors=tensors))
        elif name == "contents":
            message.contents.extend(value)
        elif name == "override":
            message.override.CopyFrom(value)
        elif isinstance(value, np.ndarray):
            setattr(message, name, encode_mask(value) if name == "mask" else encode_image(value))
        else:
            setattr(message, name, value)

    def reference(self, payload: bytes) -> bytes:
        """What stands for a payload that is among the contents."""
        return hashlib.sha256(payload).digest()

    def floats(self, *shape: int, value: float = 0.0, dtype: Any = np.float16) -> bytes:
        """A raw tensor of one value."""
        return encode_tensor(np.full(shape, value, dtype))

    def header(self, *dims: int, kind: int = 1, datatype: int = 0x20000, identifier: int = 0) -> bytes:
        """The first 68 bytes of a tensor, true or not."""
        return struct.pack("<I4i12i", identifier, kind, 2, datatype, 0, *dims, *(0,) * (12 - len(dims)))

    @asynccontextmanager
    async def open(
        self, simulator: Simulator, options: Sequence[tuple[str, Any]] = _UNLIMITED, **channel: Any
    ) -> AsyncIterator[Any]:
        """A stub on a connection of its own."""
        if simulator.certificate_pem:
            credentials = grpc.ssl_channel_credentials(simulator.certificate_pem)
            opened = grpc.aio.secure_channel(simulator.address, credentials, options=options, **channel)
        else:
            opened = grpc.aio.insecure_channel(simulator.address, options=options, **channel)
        async with opened:
            yield pb_grpc.ImageGenerationServiceStub(opened)

    async def run(self, simulator: Simulator, *args: Any, **fields: Any) -> Answer:
        """One request on a connection of its own, to its end."""
        with anyio.fail_after(_PATIENCE):
            async with self.open(simulator) as stub:
                return Answer([message async for message in stub.GenerateImage(self.request(*args, **fields))])


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A server with everything at its default, on a free port, in plaintext."""
    async with Simulator() as running:
        yield running


@pytest.fixture
def canvas() -> Pixels:
    """A picture of 128 x 128 with all levels in it and no colour twice in a row."""
    rows, columns = np.mgrid[:128, :128]
    return np.stack([rows * 2, columns * 2, (rows + columns) % 256], axis=-1).astype(np.uint8)


@pytest.fixture
def red() -> Pixels:
    """128 x 128 pixels of pure red."""
    return np.full((128, 128, 3), (255, 0, 0), np.uint8)
