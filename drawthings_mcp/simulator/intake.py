"""A request taken apart: its configuration and its tensors. What they mean for the run is not decided here."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator.journal import CrashError, Journal
from drawthings_mcp.simulator.payloads import Contents, Tensor

_HINT_TYPES = frozenset({*(name.lower() for name in vars(fbs.ControlInputType)), "audio"}) - {"unspecified"}
_CONSUMED_HINT_TYPES = frozenset({"custom", "depth", "scribble", "pose", "color", "shuffle", "audio"})
_LAST_HINT_WINS = frozenset({"scribble", "color"})
_SMALLEST_BUFFER = 8
"""Offset to the root table and offset to its vtable."""


@dataclass(frozen=True)
class Hint:
    """The tensors of one hint that a run may read, with their weights."""

    kind: str
    tensors: tuple[Tensor, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Intake:
    """What a request holds, decoded.

    Attributes
    ----------
    image, mask
        None when not sent or not decodable.
    hints
        Those that the server reads, by type, the one that counts when there are several (protocol §5.1).
    """

    request: pb.ImageGenerationRequest
    configuration: fbs.GenerationConfigurationT
    image: Tensor | None
    mask: Tensor | None
    hints: Mapping[str, Hint]


def read_configuration(data: bytes) -> fbs.GenerationConfigurationT:
    """The configuration of a request.

    Raises
    ------
    CrashError
        The buffer is empty or no FlatBuffer; the server reads it unverified (protocol §2).
    """
    if len(data) < _SMALLEST_BUFFER:
        raise CrashError(f"the configuration has {len(data)} bytes, which is no FlatBuffer")
    try:
        return fbs.GenerationConfigurationT.InitFromPackedBuf(data)
    except (struct.error, IndexError, ValueError, TypeError, OverflowError, MemoryError) as exc:
        raise CrashError(f"the configuration is no valid FlatBuffer ({exc})") from exc


def take_in(
    request: pb.ImageGenerationRequest, configuration: fbs.GenerationConfigurationT, journal: Journal
) -> Intake:
    """Decode the tensors of a request.

    Raises
    ------
    CrashError
        A tensor's header alone takes the server down.
    """
    contents = Contents(request.contents, journal)
    return Intake(
        request,
        configuration,
        image=_read_optional(contents, request, "image"),
        mask=_read_optional(contents, request, "mask"),
        hints=_read_hints(contents, request, journal),
    )


def _read_optional(contents: Contents, request: pb.ImageGenerationRequest, field: str) -> Tensor | None:
    return contents.read(getattr(request, field), field) if request.HasField(field) else None


def _read_hints(contents: Contents, request: pb.ImageGenerationRequest, journal: Journal) -> dict[str, Hint]:
    found: dict[str, Hint] = {}
    for proto in request.hints:
        kind = proto.hintType
        if kind not in _HINT_TYPES:
            journal.degrade(f"hint type {kind!r} is unknown: skipped")
            continue
        hint = _read_hint(contents, proto)
        if kind not in _CONSUMED_HINT_TYPES:
            journal.degrade(f"nothing reads hints of type {kind!r}; send the map as 'custom'")
        elif kind in found and kind not in _LAST_HINT_WINS:
            journal.degrade(f"a second hint of type {kind!r} is ignored; put all tensors into one")
        elif hint.tensors:
            found[kind] = hint
    return found


def _read_hint(contents: Contents, proto: pb.HintProto) -> Hint:
    pairs = [(contents.read(item.tensor, f"hint {proto.hintType}"), item.weight) for item in proto.tensors]
    decoded = [(tensor, weight) for tensor, weight in pairs if tensor is not None]
    return Hint(proto.hintType, tuple(tensor for tensor, _ in decoded), tuple(weight for _, weight in decoded))
