"""The message of a request: what is in it and what never gets into it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.errors import InvalidImageError, InvalidInputError
from drawthings_mcp.generation import GenerationRequest, Hint, HintTensor, HintType, ImageGenerationConfig
from drawthings_mcp.tensors import decode_image
from drawthings_mcp.tensors.mask import decode_mask
from drawthings_mcp.tensors.tensor import decode_tensor
from drawthings_mcp.wire.configuration import parse_configuration
from drawthings_mcp.wire.request import build_request

CONFIGURATION = ImageGenerationConfig(model="m.ckpt", width=192, height=128, seed=7)
CANVAS = np.arange(128 * 192 * 3, dtype=np.uint32).reshape(128, 192, 3).astype(np.uint8)
MASK = np.where(np.arange(192) < 96, 2, 0).astype(np.uint8)[np.newaxis].repeat(128, axis=0)


def request(**fields: Any) -> GenerationRequest:
    return GenerationRequest(**{"prompt": "a fox", "configuration": CONFIGURATION, **fields})


def hint(hint_type: HintType, *shapes: tuple[int, ...], dtype: str = "float32", weight: float = 1.0) -> Hint:
    return Hint(hint_type, tuple(HintTensor(np.zeros(shape, dtype), weight) for shape in shapes))


def content(message: pb.ImageGenerationRequest, reference: bytes) -> bytes:
    (found,) = [payload for payload in message.contents if hashlib.sha256(payload).digest() == reference]
    return found


def test_a_text_request_carries_what_every_request_must() -> None:
    message = build_request(request(negative_prompt="blur"), shared_secret="s", user="me")
    assert (message.prompt, message.negativePrompt, message.user, message.sharedSecret) == ("a fox", "blur", "me", "s")
    assert (message.scaleFactor, message.chunked, message.device) == (1, True, pb.LAPTOP)
    assert parse_configuration(message.configuration) == CONFIGURATION
    assert not message.HasField("image")
    assert not message.HasField("mask")
    assert not message.contents
    assert not build_request(request()).HasField("sharedSecret")


def test_canvas_and_mask_travel_in_contents_by_hash() -> None:
    message = build_request(request(canvas=CANVAS, mask=MASK))
    assert (len(message.image), len(message.mask), len(message.contents)) == (32, 32, 2)
    np.testing.assert_array_equal(decode_image(content(message, message.image)), CANVAS)
    np.testing.assert_array_equal(decode_mask(content(message, message.mask)), MASK)


def test_references_keep_their_order_and_a_picture_used_twice_is_sent_once() -> None:
    one, two = np.full((64, 64, 3), 0.5, np.float32), np.full((96, 32, 3), -0.5, np.float32)
    moodboard = Hint(HintType.Shuffle, (HintTensor(one), HintTensor(two, 0.5), HintTensor(one)))
    message = build_request(request(hints=(moodboard,)))
    (sent,) = message.hints
    assert (sent.hintType, [tensor.weight for tensor in sent.tensors]) == ("shuffle", [1.0, 0.5, 1.0])
    assert len(message.contents) == 2
    shapes = [decode_tensor(content(message, tensor.tensor)).shape for tensor in sent.tensors]
    assert shapes == [(1, 64, 64, 3), (1, 96, 32, 3), (1, 64, 64, 3)]
    assert decode_tensor(content(message, sent.tensors[1].tensor)).dtype == np.float16


def test_an_override_is_sent_as_json_arrays() -> None:
    message = build_request(request(override={"models": [{"file": "m.ckpt", "name": "M ä"}], "loras": []}))
    assert json.loads(message.override.models) == [{"file": "m.ckpt", "name": "M ä"}]
    assert message.override.loras == b""


@pytest.mark.parametrize(
    "canvas",
    [
        CANVAS[:64],
        CANVAS[..., :1],
        CANVAS.astype(np.float32),
        np.zeros((128, 192, 4), np.uint8),
        CANVAS.transpose(1, 0, 2),
    ],
)
def test_a_canvas_that_would_crash_the_server_is_refused(canvas: NDArray[np.uint8]) -> None:
    with pytest.raises(InvalidImageError, match=r"input_image: .*\(128, 192, 3\)"):
        build_request(request(canvas=canvas))


def test_a_mask_needs_a_canvas_and_its_size() -> None:
    with pytest.raises(InvalidImageError, match="needs input_image"):
        build_request(request(mask=MASK))
    with pytest.raises(InvalidImageError, match=r"\(128, 192\)"):
        build_request(request(canvas=CANVAS, mask=MASK[:, :64]))


@pytest.mark.parametrize(
    ("hints", "words"),
    [
        ((hint(HintType.Depth, (128, 192, 3)),), r"\(H, W, 1\)"),
        ((hint(HintType.Depth, (64, 64, 1)),), "size of the picture"),
        ((hint(HintType.Custom, (128, 192, 1)),), r"\(H, W, 3\)"),
        ((hint(HintType.Shuffle, (128, 192)),), r"\(H, W, 3\)"),
        ((hint(HintType.Scribble, (128, 192, 3), dtype="uint8"),), "float"),
        ((hint(HintType.Pose, (64, 64, 3)),), "size of the picture"),
        ((hint(HintType.Shuffle, (64, 64, 3), weight=0.0),), "leave it out"),
        ((hint(HintType.Custom),), "no tensor"),
        ((hint(HintType.Shuffle, (64, 64, 3)), hint(HintType.Shuffle, (64, 64, 3))), "given twice"),
    ],
)
def test_a_hint_that_would_crash_the_server_or_be_dropped_is_refused(hints: tuple[Hint, ...], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        build_request(request(hints=hints))


def test_a_pose_may_have_the_size_of_the_first_pass() -> None:
    configuration = CONFIGURATION.replace(hires_fix=True, hires_fix_width=128, hires_fix_height=128)
    pose = hint(HintType.Pose, (128, 128, 3), (128, 192, 3))
    assert len(build_request(request(configuration=configuration, hints=(pose,))).hints[0].tensors) == 2


def test_an_unknown_kind_of_override_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="loras"):
        build_request(request(override={"lora": []}))
