"""A request taken apart: its configuration, its tensors, its hints, and whether it would crash a real server.

Whatever crashes one (protocol §6.5; the reasons are in §2, §3.4, §4.1, §5.2) raises ``CrashError``.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.errors import TensorError
from drawthings_mcp.tensors.tensor import decode_tensor

_logger = logging.getLogger("drawthings_mcp.simulator")
_HINT_TYPES = frozenset({*(name.lower() for name in vars(fbs.ControlInputType)), "audio"}) - {"unspecified"}
_CONSUMED_HINT_TYPES = frozenset({"custom", "depth", "scribble", "pose", "color", "shuffle", "audio"})
_LAST_HINT_WINS = frozenset({"scribble", "color"})
_SMALLEST_BUFFER = 8
"""Offset to the root table and offset to its vtable."""
_HEADER = struct.Struct("<I4i12i")
_REFERENCE_SIZE = 32
_CPU = 1
_MEMORY_KIND_BITS = 3
_DATATYPES: Mapping[int, str] = {
    0x01000: "8U", 0x02000: "32S", 0x04000: "32F", 0x08000: "64S", 0x10000: "64F", 0x20000: "16F", 0x40000: "QX",
    0x80000: "16BF",
}  # fmt: skip
UNIT = 64
"""Pixels per unit of a size on the wire."""
_MOST_UNITS = 128
"""8192 px; far larger canvases, as when pixels are sent in place of units, exhaust the memory."""
_MOST = {"batchSize": 64, "numFrames": 2049, "steps": 10_000, "stage2Steps": 10_000}
"""Far above what the app allows; beyond these, a server runs out of memory."""
_FLOATS = frozenset({"16F", "32F", "64F", "16BF"})
_CHANNELS = {"custom": 3, "shuffle": 3, "depth": 1, "scribble": 3, "pose": 3, "color": 3}


class CrashError(Exception):
    """A request that crashes a real server's process (protocol §6.5). Never leaves the simulator."""


class Journal:
    """The two lists that tests read, oldest first; their entries are also logged."""

    def __init__(self) -> None:
        self.crashes: list[str] = []
        self.degradations: list[str] = []

    def crash(self, reason: str) -> None:
        """Note a request that would crash a real server."""
        self.crashes.append(reason)
        _logger.warning("A real server would crash: %s", reason)

    def degrade(self, reason: str) -> None:
        """Note something that a real server would silently leave out or replace."""
        self.degradations.append(reason)
        _logger.warning("Silently degraded: %s", reason)


@dataclass(frozen=True)
class Tensor:
    """A decoded tensor: its datatype's name in the protocol, and its values in the shape of its dims."""

    datatype: str
    values: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The dims."""
        return self.values.shape


@dataclass(frozen=True)
class Hint:
    """The decodable tensors of one hint, with their weights."""

    kind: str
    tensors: tuple[Tensor, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class ParsedRequest:
    """What a request holds, decoded.

    ``image`` and ``mask`` are None when not sent or not decodable. ``hints`` has those that the server reads, by type,
    and of several the one that counts (protocol §5.1).
    """

    message: pb.ImageGenerationRequest
    configuration: fbs.GenerationConfigurationT
    image: Tensor | None
    mask: Tensor | None
    hints: Mapping[str, Hint]


def parse_configuration(data: bytes) -> fbs.GenerationConfigurationT:
    """Parse the configuration of a request.

    Raises ``CrashError`` for an empty buffer or no FlatBuffer; the server reads it unverified (protocol §2).
    """
    if len(data) < _SMALLEST_BUFFER:
        raise CrashError(f"the configuration has {len(data)} bytes, which is no FlatBuffer")
    try:
        return fbs.GenerationConfigurationT.InitFromPackedBuf(data)
    except (struct.error, IndexError, ValueError, TypeError, OverflowError, MemoryError) as exc:
        raise CrashError(f"the configuration is no valid FlatBuffer ({exc})") from exc


def parse_request(
    message: pb.ImageGenerationRequest, configuration: fbs.GenerationConfigurationT, journal: Journal
) -> ParsedRequest:
    """Decode the tensors of a request; raises ``CrashError`` when a tensor's header alone would crash the server."""
    contents = _Contents(message.contents, journal)
    return ParsedRequest(
        message,
        configuration,
        image=contents.read(message.image, "image") if message.HasField("image") else None,
        mask=contents.read(message.mask, "mask") if message.HasField("mask") else None,
        hints=_parse_hints(contents, message, journal),
    )


def _parse_hints(contents: _Contents, message: pb.ImageGenerationRequest, journal: Journal) -> dict[str, Hint]:
    found: dict[str, Hint] = {}
    for proto in message.hints:
        kind = proto.hintType
        if kind not in _HINT_TYPES:
            journal.degrade(f"hint type {kind!r} is unknown: skipped")
            continue
        pairs = [(contents.read(item.tensor, f"hint {kind}"), item.weight) for item in proto.tensors]
        decoded = [(tensor, weight) for tensor, weight in pairs if tensor is not None]
        if kind not in _CONSUMED_HINT_TYPES:
            journal.degrade(f"nothing reads hints of type {kind!r}; send the map as 'custom'")
        elif kind in found and kind not in _LAST_HINT_WINS:
            journal.degrade(f"a second hint of type {kind!r} is ignored; put all tensors into one")
        elif decoded:
            found[kind] = Hint(kind, tuple(tensor for tensor, _ in decoded), tuple(weight for _, weight in decoded))
    return found


class _Contents:
    """The content-addressed blobs of one request."""

    def __init__(self, blobs: Iterable[bytes], journal: Journal) -> None:
        self._blobs = {hashlib.sha256(blob).digest(): blob for blob in blobs}
        self._journal = journal

    def read(self, value: bytes, what: str) -> Tensor | None:
        """Decode a field: a payload or a reference to one (protocol §3.4, §6.1).

        None when there is nothing, the reference is unknown, or the payload cannot be decoded: the server goes on as if
        the field were not there. Raises ``CrashError`` for an unknown datatype or memory that is not the CPU's.
        """
        payload = self._resolve(value, what)
        if not payload:
            return None
        datatype = _check_header(payload, what)
        try:
            values = decode_tensor(payload)
        except TensorError as exc:
            self._journal.degrade(f"{what} cannot be decoded and is ignored: {exc}")
            return None
        return Tensor(datatype, values)

    def _resolve(self, value: bytes, what: str) -> bytes:
        """The blob that 32 bytes refer to; anything of another length is the blob itself."""
        if len(value) != _REFERENCE_SIZE:
            return value
        if value not in self._blobs:
            self._journal.degrade(f"{what} refers to {value.hex()[:12]}…, which is not among the contents: ignored")
        return self._blobs.get(value, b"")


def _check_header(payload: bytes, what: str) -> str:
    """The datatype of a payload; one that is too short is left to the decoder."""
    if len(payload) < _HEADER.size:
        return ""
    _, memory_kind, _, datatype, *_ = _HEADER.unpack_from(payload)
    if memory_kind & _MEMORY_KIND_BITS != _CPU:
        raise CrashError(f"{what} names memory kind {memory_kind}, not {_CPU} (CPU)")
    if datatype not in _DATATYPES:
        raise CrashError(f"{what} has the unknown datatype {datatype:#x}")
    return _DATATYPES[datatype]


def check_configuration(configuration: fbs.GenerationConfigurationT) -> None:
    """Check sizes, batch and strength."""
    for name, units in (("start_width", configuration.startWidth), ("start_height", configuration.startHeight)):
        if units == 0:
            raise CrashError(f"{name} is 0")
        if units > _MOST_UNITS:
            raise CrashError(
                f"{name} is {units}, which is {units * UNIT} px: the memory runs out (units are {UNIT} px)"
            )
    if configuration.batchSize == 0:
        raise CrashError("batch_size is 0")
    for name, most in _MOST.items():
        if getattr(configuration, name) > most:
            raise CrashError(f"{name} is {getattr(configuration, name)}: the memory runs out")
    if not 0 <= configuration.strength <= 1:  # also true for NaN
        raise CrashError(f"strength is {configuration.strength:g}, outside 0…1")


def check_image(request: ParsedRequest, *, sets_size: bool) -> None:
    """Check the image alone; ``sets_size`` when the run starts from it."""
    if request.image is None:
        return
    shape = request.image.shape
    if request.image.datatype not in _FLOATS:
        raise CrashError(f"the image has datatype {request.image.datatype}, not 16F or 32F")
    if len(shape) != 4 or shape[3] != 3:
        raise CrashError(f"the image has the dims {list(shape)}, not [1, height, width, 3]")
    factor = request.message.scaleFactor
    if not sets_size:
        return
    if factor < 1:
        raise CrashError(f"scaleFactor is {factor} with an image: division by zero")
    for side in shape[1:3]:
        if side % (UNIT * factor):
            raise CrashError(f"the image is {shape[2]}x{shape[1]}, its sides are no multiples of {UNIT * factor}")


def check_mask(request: ParsedRequest) -> None:
    """Check the mask against its image; without an image the mask is not read."""
    if request.image is None or request.mask is None:
        return
    if request.mask.datatype != "8U":
        raise CrashError(f"the mask has datatype {request.mask.datatype}, not 8U")
    factor = request.message.scaleFactor
    wanted = tuple(side // factor for side in request.image.shape[1:3])
    if request.mask.shape != wanted:
        raise CrashError(f"the mask has the dims {list(request.mask.shape)}, the image needs {list(wanted)}")


def check_hints(request: ParsedRequest, passes: list[tuple[int, int]], *, takes_alpha: bool) -> None:
    """Check channels and datatypes of every hint that is read.

    ``passes`` are width and height of each pass in pixels, which a pose has to match. With ``takes_alpha`` references
    may have four channels.
    """
    for hint in request.hints.values():
        for tensor in hint.tensors:
            channels = _CHANNELS.get(hint.kind)
            allowed = {channels, 4} if takes_alpha and hint.kind == "shuffle" else {channels}
            if channels and (len(tensor.shape) != 4 or tensor.shape[3] not in allowed):
                raise CrashError(f"a {hint.kind} hint has the dims {list(tensor.shape)}, not {channels} channels")
            if hint.kind == "scribble" and tensor.datatype != "16F":
                raise CrashError(f"a scribble hint has datatype {tensor.datatype}, not 16F")
    if "pose" in request.hints:
        _check_pose(request.hints["pose"], passes)


def _check_pose(pose: Hint, passes: list[tuple[int, int]]) -> None:
    """The first tensor is for the first pass, the last one for the last."""
    for tensor, (width, height) in ((pose.tensors[0], passes[0]), (pose.tensors[-1], passes[-1])):
        if tensor.shape[1:3] != (height, width):
            size = f"{tensor.shape[2]}x{tensor.shape[1]}"
            raise CrashError(f"a pose hint is {size}, its pass is {width}x{height}")
