"""A request → the message of ``GenerateImage`` (protocol §6).

The last place where a request that would take a server down or be silently changed there can be refused for
its form. Whether names exist on the server is not known here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.errors import InvalidImageError, InvalidInputError
from drawthings_mcp.faces import Text
from drawthings_mcp.generation import GenerationRequest, Hint, HintType
from drawthings_mcp.tensors.image import encode_image
from drawthings_mcp.tensors.mask import encode_mask
from drawthings_mcp.tensors.tensor import encode_tensor
from drawthings_mcp.wire.configuration import build_configuration

_CHANNELS: Mapping[HintType, tuple[int, ...]] = {
    HintType.Custom: (3,),
    HintType.Depth: (1,),
    HintType.Scribble: (3,),
    HintType.Pose: (3,),
    HintType.Color: (3,),
    HintType.Shuffle: (3, 4),
}
"""Channels of a hint's tensors; any other number takes a server down (protocol §5.2). Only few models take references
with alpha, which comes first (protocol §2.8). Audio has its own form."""

_EXACT_SIZE = frozenset({HintType.Depth, HintType.Pose})
"""Hints that a server does not resize, or not correctly (protocol §5.2)."""

_OVERRIDE_KINDS = frozenset({"models", "loras", "controlNets", "textualInversions", "upscalers"})


def build_request(
    request: GenerationRequest, *, shared_secret: str = "", user: str = "drawthings-mcp"
) -> pb.ImageGenerationRequest:
    """The message of a request; every tensor travels once, in ``contents``, and is referred to by SHA-256.

    Raises
    ------
    InvalidInputError
        The configuration has no drawn seed or no model, or a hint does not have the form of its type.
    InvalidImageError
        Canvas or mask do not have the size of the configuration, or there is a mask but no canvas.
    """
    check_form(request)
    contents = _Contents()
    message = pb.ImageGenerationRequest(
        scaleFactor=1,
        prompt=request.prompt,
        negativePrompt=request.negative_prompt,
        configuration=build_configuration(request.configuration),
        override=_build_override(request.override),
        user=user,
        device=pb.LAPTOP,
        chunked=True,
    )
    if request.canvas is not None:
        message.image = contents.add(encode_image(request.canvas))
    if request.mask is not None:
        message.mask = contents.add(encode_mask(request.mask))
    message.hints.extend(_build_hint(hint, contents) for hint in request.hints)
    message.contents.extend(contents.payloads.values())
    if shared_secret:
        message.sharedSecret = shared_secret
    return message


def check_form(request: GenerationRequest) -> None:
    """Refuses pictures and hints that do not have the form that the request needs; raises as ``build_request``."""
    if request.canvas is not None:
        _check_canvas(request, request.canvas)
    if request.mask is not None:
        _check_mask(request, request.mask)
    _check_hints(request)


class _Contents:
    """Payloads by hash, so that a picture that is used twice is sent once."""

    def __init__(self) -> None:
        self.payloads: dict[bytes, bytes] = {}

    def add(self, payload: bytes) -> bytes:
        key = hashlib.sha256(payload).digest()
        self.payloads.setdefault(key, payload)
        return key


def _size(request: GenerationRequest) -> tuple[int, int]:
    return request.configuration.height, request.configuration.width


def _check_canvas(request: GenerationRequest, canvas: NDArray[np.uint8]) -> None:
    wanted = (*_size(request), 3)
    if canvas.dtype != np.uint8 or canvas.shape != wanted:
        raise InvalidImageError(
            f"must be uint8 of shape {wanted} (H, W, RGB), the size of the configuration; "
            f"got {canvas.dtype} {canvas.shape}. Resize it or change width and height.",
            parameter="canvas",
        )


def _check_mask(request: GenerationRequest, mask: NDArray[np.uint8]) -> None:
    if request.canvas is None:
        raise InvalidImageError(Text("needs {canvas}; a server ignores a mask without it."), parameter="mask")
    wanted = _size(request)
    if mask.dtype != np.uint8 or mask.shape != wanted:
        raise InvalidImageError(
            Text(
                "must be uint8 classes of shape {wanted} (H, W), the size of {canvas}; got {dtype} {shape}.",
                wanted=wanted,
                dtype=mask.dtype,
                shape=mask.shape,
            ),
            parameter="mask",
        )


def _check_hints(request: GenerationRequest) -> None:
    types = [hint.type for hint in request.hints]
    for hint_type in types:
        if types.count(hint_type) > 1:
            raise InvalidInputError(
                f"{hint_type} is given twice, of which a server reads one; put all tensors into one hint.",
                parameter="hints",
            )
    for hint in request.hints:
        _check_hint(hint, request)


def _check_hint(hint: Hint, request: GenerationRequest) -> None:
    if not hint.tensors:
        raise InvalidInputError(f"{hint.type} has no tensor; leave the hint out.", parameter="hints")
    for item in hint.tensors:
        if item.weight <= 0 and hint.type is HintType.Shuffle:
            raise InvalidInputError("a reference of weight 0 confuses a server; leave it out.", parameter="hints")
        _check_hint_tensor(hint.type, item.tensor, request)


def _build_hint(hint: Hint, contents: _Contents) -> pb.HintProto:
    message = pb.HintProto(hintType=hint.type.value)
    for item in hint.tensors:
        payload = encode_tensor(np.asarray(item.tensor, np.float16)[np.newaxis])
        message.tensors.append(pb.TensorAndWeight(tensor=contents.add(payload), weight=item.weight))
    return message


def _check_hint_tensor(hint_type: HintType, tensor: NDArray[Any], request: GenerationRequest) -> None:
    channels = _CHANNELS.get(hint_type)
    if channels is None:
        return
    if tensor.ndim != 3 or tensor.shape[2] not in channels or not np.issubdtype(tensor.dtype, np.floating):
        raise InvalidInputError(
            f"{hint_type} takes float tensors of shape (H, W, {channels[0]}), got {tensor.dtype} {tensor.shape}.",
            parameter="hints",
        )
    if hint_type in _EXACT_SIZE and tensor.shape[:2] not in _pass_sizes(request):
        raise InvalidInputError(
            f"{hint_type} must have the size of the picture, {_size(request)} (H, W), got {tensor.shape[:2]}.",
            parameter="hints",
        )


def _pass_sizes(request: GenerationRequest) -> set[tuple[int, int]]:
    configuration = request.configuration
    sizes = {_size(request)}
    if configuration.hires_fix:
        sizes.add((configuration.hires_fix_height, configuration.hires_fix_width))
    return sizes


def _build_override(override: Mapping[str, list[dict[str, Any]]]) -> pb.MetadataOverride:
    if unknown := override.keys() - _OVERRIDE_KINDS:
        raise InvalidInputError(
            f"there is no kind {min(unknown)!r}; kinds are {', '.join(sorted(_OVERRIDE_KINDS))}.",
            parameter="override",
        )
    return pb.MetadataOverride(
        **{kind: json.dumps(entries, ensure_ascii=False).encode() for kind, entries in override.items() if entries}
    )
