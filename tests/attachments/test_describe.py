"""Descriptions by a vision endpoint: asked for all, missing where it fails, never an error."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from drawthings_mcp.attachments.budget import Slot, plan_attachments
from drawthings_mcp.attachments.describe import describe_previews
from drawthings_mcp.attachments.encoding import encode
from drawthings_mcp.attachments.policy import Policy
from drawthings_mcp.attachments.preview import Preview
from drawthings_mcp.web.endpoint import Endpoint
from tests.attachments.candidate import Candidate

pytestmark = pytest.mark.anyio

MakePixels = Callable[..., Any]
CHAT, MODELS = "/v1/chat/completions", "/v1/models"


def attach(make_pixels: MakePixels, count: int) -> list[tuple[Slot, Preview]]:
    pictures = {f"v{n}": make_pixels(40, 30, seed=n) for n in range(1, count + 1)}
    made = plan_attachments([], [Candidate(name, (40, 30)) for name in pictures], (), Policy())
    return list(encode(made, pictures, Policy(), 0)[1].items())


def answer(text: Any) -> tuple[int, Any]:
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}}]}


async def test_each_attachment_gets_a_paragraph_that_says_who_saw_it(
    http_service: Any, make_pixels: MakePixels
) -> None:
    http_service.answers = {CHAT: answer("<think>hm</think>A grey\n\nnoise,\tvery  fine.")}
    previews = attach(make_pixels, 4)
    described = await describe_previews(Endpoint(http_service.url, "llava"), previews)
    assert list(map(str, described)) == [
        f"{label}: described by llava, not seen by you: A grey noise, very fine." for label in ("v3", "v4", "v1 v2")
    ]
    sent = [body for _, _, _, body in http_service.requests]
    assert {body["model"] for body in sent} == {"llava"}
    contents = [body["messages"][0]["content"] for body in sent]
    pictures = {content[1]["image_url"]["url"].partition(",")[2] for content in contents}
    assert pictures == {base64.b64encode(preview.data).decode() for _, preview in previews}
    for picture in pictures:
        Image.open(io.BytesIO(base64.b64decode(picture))).load()
    assert sum("v1, v2" in content[0]["text"] for content in contents) == 1


async def test_without_a_name_the_first_model_that_can_see_is_asked(http_service: Any, make_pixels: MakePixels) -> None:
    models = {"data": [{"id": "text-embedding-nomic"}, {"id": "qwen-vl"}, {"id": "other"}]}
    http_service.answers = {MODELS: (200, models), CHAT: answer("Noise.")}
    (described,) = await describe_previews(Endpoint(http_service.url), attach(make_pixels, 1))
    assert (described.model, described.text, described.problem) == ("qwen-vl", "Noise.", "")


@pytest.mark.parametrize("reply", [{"data": []}, {"data": None}, [], "x", {"data": [{"id": 5}, 7]}])
async def test_without_any_model_nothing_is_described_and_the_note_says_so(
    http_service: Any, make_pixels: MakePixels, reply: Any
) -> None:
    http_service.answers = {MODELS: (200, reply)}
    described = await describe_previews(Endpoint(http_service.url), attach(make_pixels, 2))
    assert [(description.ids, description.text) for description in described] == [(("v1",), None), (("v2",), None)]
    assert "lists no model" in str(described[0])


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((500, {"error": "the model cannot see"}), "answered 500: “the model cannot see”"),
        ((200, {}), "without a description"),
        ((200, {"choices": []}), "without a description"),
        (answer(None), "without a description"),
        (answer("<think>endless"), "without a description"),
        ((200, b"no json"), "something else than JSON"),
    ],
)
async def test_a_failure_is_a_note(
    http_service: Any, make_pixels: MakePixels, reply: tuple[int, Any], words: str
) -> None:
    http_service.answers = {CHAT: reply}
    (described,) = await describe_previews(Endpoint(http_service.url, "llava"), attach(make_pixels, 1))
    assert described.text is None
    assert words in str(described.problem)


async def test_one_that_is_slow_costs_only_its_own_description(http_service: Any, make_pixels: MakePixels) -> None:
    previews = attach(make_pixels, 3)
    slow = base64.b64encode(previews[1][1].data).decode()

    def respond(handler: Any) -> None:
        content = http_service.requests[-1][3]["messages"][0]["content"]
        if slow in content[1]["image_url"]["url"]:
            http_service.release.wait(30)
            return
        reply = b'{"choices": [{"message": {"content": "Noise."}}]}'
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(reply)))
        handler.end_headers()
        handler.wfile.write(reply)

    http_service.answers = {CHAT: respond}
    described = await describe_previews(Endpoint(http_service.url, "llava"), previews, timeout=1.5)
    assert [description.text for description in described] == ["Noise.", None, "Noise."]
    assert "did not answer within 1.5 s" in str(described[1].problem)


async def test_many_that_are_slow_take_no_longer_together_than_one(http_service: Any, make_pixels: MakePixels) -> None:
    http_service.answers = {CHAT: lambda _: http_service.release.wait(30)}
    previews = attach(make_pixels, 1) * 5
    described = await describe_previews(Endpoint(http_service.url, "llava"), previews, timeout=1.5)
    assert {str(description.problem).partition(" did ")[2] for description in described} == {"not answer within 1.5 s."}
    assert len(http_service.requests) == 2  # the others were never begun


async def test_names_and_errors_of_any_length_stay_on_short_lines(http_service: Any, make_pixels: MakePixels) -> None:
    http_service.answers = {MODELS: (200, {"data": [{"id": "m" * 5000}]}), CHAT: answer("word " * 1000)}
    (described,) = await describe_previews(Endpoint(http_service.url), attach(make_pixels, 1))
    (failed,) = await describe_previews(Endpoint(f"{http_service.url}/{'x' * 5000}"), attach(make_pixels, 1))
    assert len(str(described)) <= 1000
    assert len(str(failed)) <= 1000


async def test_long_answers_are_cut_and_nothing_is_asked_for_nothing(
    http_service: Any, make_pixels: MakePixels
) -> None:
    http_service.answers = {CHAT: answer("word " * 1000)}
    endpoint = Endpoint(http_service.url, "llava")
    (described,) = await describe_previews(endpoint, attach(make_pixels, 1))
    assert described.text is not None
    assert len(described.text) == 700
    assert await describe_previews(endpoint, ()) == ()
    assert len(http_service.requests) == 1
