"""A Draw Things server that shares nothing with the package: it reads messages byte by byte and refuses what is odd.

It knows some files, answers a run with one grey picture, and keeps what it was asked for.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
import grpc.aio

from tests.slots import read_controls, read_loras, read_slots

Fields = dict[int, list[Any]]

_TEXTS = {"prompt": 5, "negative_prompt": 6}


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not byte & 0x80:
            return value, position


def read_message(data: bytes) -> Fields:
    """The fields of a protobuf message by number: numbers for varints, bytes for everything else."""
    fields: Fields = {}
    position = 0
    while position < len(data):
        key, position = _read_varint(data, position)
        value: Any
        if key & 7 == 0:
            value, position = _read_varint(data, position)
        else:
            size, position = {1: (8, position), 5: (4, position)}.get(key & 7) or _read_varint(data, position)
            value, position = data[position : position + size], position + size
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _write_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _write_bytes(number: int, data: bytes) -> bytes:
    return _write_varint(number << 3 | 2) + _write_varint(len(data)) + data


def _write_number(number: int, value: int) -> bytes:
    return _write_varint(number << 3) + _write_varint(value)


def _grey(width: int, height: int, channels: int = 3) -> bytes:
    """A raw float16 tensor of shape (1, H, W, C), all zero, which is middle grey, and clear where alpha comes first."""
    header = struct.pack("<5i12i", 0, 1, 2, 0x20000, 0, 1, height, width, channels, *[0] * 8)
    return header + bytes(2 * channels * width * height)


def _silence(samples: int) -> bytes:
    """A raw float32 tensor of shape (2, samples), all zero."""
    return struct.pack("<5i12i", 0, 1, 1, 0x4000, 0, 2, samples, *[0] * 10) + bytes(8 * samples)


def _read_hints(message: Fields) -> list[tuple[str, list[tuple[int, ...]]]]:
    """Type of each hint, and the dims of its tensors."""
    contents = {hashlib.sha256(blob).digest(): blob for blob in message.get(12, [])}
    hints = []
    for hint in map(read_message, message.get(4, [])):
        tensors = [read_message(item)[1][0] for item in hint.get(2, [])]
        blobs = [contents[value] if len(value) == 32 else value for value in tensors]
        dims = [tuple(dim for dim in struct.unpack_from("<12i", blob, 20) if dim) for blob in blobs]
        hints.append((hint[1][0].decode(), dims))
    return hints


_ALPHA_VERSION = "qwen_image_2.1"
_SOUND_VERSION = "minimax_h3"


@dataclass
class StrictServer:
    """The server; an async context manager.

    Attributes
    ----------
    models, loras, controls
        Specifications of the files that it has.
    seen
        What it was asked for: the slots of each configuration, with ``loras``, ``prompt`` and ``negative_prompt``,
        ``hints`` with the dims of their tensors, and whether there was an ``override``.
    payload
        The tensor that it answers each run with; by default a grey picture of the size that was asked for.
    """

    models: Iterable[dict[str, Any]]
    loras: Iterable[dict[str, Any]] = ()
    controls: Iterable[dict[str, Any]] = ()
    seen: list[dict[str, Any]] = field(default_factory=list)
    payload: bytes = b""
    address: str = ""

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server()
        handlers: dict[str, Any] = {
            "Echo": grpc.unary_unary_rpc_method_handler(self._echo),
            "FilesExist": grpc.unary_unary_rpc_method_handler(self._files_exist),
            "GenerateImage": grpc.unary_stream_rpc_method_handler(self._generate),
        }
        service = grpc.method_handlers_generic_handler("ImageGenerationService", handlers)
        self._server.add_generic_rpc_handlers((service,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    @property
    def files(self) -> set[str]:
        return {entry["file"] for entry in (*self.models, *self.loras, *self.controls)}

    async def _echo(self, request: bytes, _: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        lists: tuple[list[Any], ...] = ([*self.models], [*self.loras], [*self.controls], [], [])
        override = b"".join(
            _write_bytes(number, json.dumps(entries).encode()) for number, entries in enumerate(lists, 1)
        )
        listed = b"".join(_write_bytes(2, file.encode()) for file in sorted(self.files))
        return _write_bytes(1, b"HELLO test") + listed + _write_bytes(3, override)

    async def _files_exist(self, request: bytes, _: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        asked = [file.decode() for file in read_message(request).get(1, [])]
        there = bytes(int(file in self.files) for file in asked)
        return b"".join(_write_bytes(1, file.encode()) for file in asked) + _write_bytes(2, there)

    async def _generate(self, request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
        message = read_message(request)
        (configuration,) = message[7]
        slots = read_slots(configuration)
        loras = read_loras(configuration)
        problem = self._find_problem(slots, loras, message)
        if problem:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
        texts = {
            name: message.get(number, [b""])[0].decode() for name, number in (("prompt", 5), ("negative_prompt", 6))
        }
        self.seen.append(
            {
                **slots,
                **texts,
                "loras": loras,
                "controls": read_controls(configuration),
                "has_image": 1 in message,
                "hints": _read_hints(message),
                "has_override": bool(message.get(8, [b""])[0]),
            }
        )
        version = next(entry["version"] for entry in self.models if entry["file"] == slots["model"])
        channels = 4 if version == _ALPHA_VERSION else 3
        payload = self.payload or _grey(slots["start_width"] * 64, slots["start_height"] * 64, channels)
        count = slots["num_frames"] if version == _SOUND_VERSION else 1
        yield _write_number(7, count * len(payload))
        for _ in range(count):
            yield _write_bytes(1, payload) + _write_number(5, 1)
        if version == _SOUND_VERSION:
            yield _write_bytes(10, _silence(count * 32_000 // 24)) + _write_number(5, 1)

    def _find_problem(self, slots: dict[str, Any], loras: list[Any], message: Fields) -> str:
        specifications = {entry["file"]: entry for entry in self.models}
        if slots["model"] not in specifications:
            return f"no model {slots['model']}"
        if unknown := [file for file, *_ in loras if file not in self.files]:
            return f"no LoRA {unknown}"
        if not (slots["start_width"] and slots["start_height"] and slots["steps"] and slots["batch_size"]):
            return "an empty size, number of steps or batch"
        if not 0 <= slots["sampler"] <= 19 or not 0 <= slots["strength"] <= 1:
            return "a sampler or strength out of range"
        version = specifications[slots["model"]]["version"]
        channels = {dims[3] for kind, tensors in _read_hints(message) for dims in tensors if kind == "shuffle"}
        if not channels <= ({3, 4} if version == _ALPHA_VERSION else {3}):
            return f"references of {channels} channels"
        if version == _SOUND_VERSION and slots["num_frames"] != 1 and (slots["num_frames"] - 5) % 17:
            return f"{slots['num_frames']} frames"
        edits = specifications[slots["model"]].get("modifier", "none").startswith("qwenimage_edit")
        return "a model that edits without a picture" if edits and not {1, 4} & message.keys() else ""
