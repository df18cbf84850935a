"""Proof instead of hope: the test picture, what is remembered of it, descriptions for those who cannot see."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import numpy as np
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, ImageContent, Implementation, TextContent
from numpy.typing import NDArray
from PIL import Image

from drawthings_mcp.attachments.sight import _INKS, ALPHABET, _draw_glyph
from drawthings_mcp.simulator import Simulator
from tests.web_servers import HttpService

pytestmark = pytest.mark.anyio


def texts_of(result: CallToolResult) -> list[str]:
    return [block.text for block in result.content if isinstance(block, TextContent)]


def image_of(result: CallToolResult) -> Image.Image:
    (block,) = [block for block in result.content if isinstance(block, ImageContent)]
    return Image.open(io.BytesIO(base64.b64decode(block.data))).convert("RGB")


def read_signs(picture: Image.Image) -> str:
    """What somebody who knows letters reads in a picture: each sign, in its own ink, by the letter that covers it."""
    colours = np.array([(250, 248, 240), *_INKS])
    distances = np.abs(np.asarray(picture).astype(int)[:, :, None] - colours).sum(axis=-1)
    nearest = distances.argmin(axis=-1)
    cells = [np.s_[:, 32 + 160 * place - 20 : 32 + 160 * place + 180] for place in range(len(_INKS))]
    signs = [
        normalise(((nearest == ink) & (distances[..., ink] < 60))[cell]) for ink, cell in enumerate(cells, start=1)
    ]
    known = {letter: list(turn(letter)) for letter in ALPHABET}
    return "".join(max(known, key=lambda letter: max((sign == t).mean() for t in known[letter])) for sign in signs)


def turn(letter: str) -> Iterator[NDArray[np.bool_]]:
    for angle in range(-10, 11, 2):
        yield normalise(np.asarray(_draw_glyph(letter).rotate(angle)) > 128)


def normalise(ink: NDArray[np.bool_]) -> NDArray[np.bool_]:
    # Single pixels are what JPEG adds between two colours.
    rows, columns = np.flatnonzero(ink.sum(axis=1) > 3), np.flatnonzero(ink.sum(axis=0) > 3)
    cut = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return np.asarray(cut.convert("L").resize((48, 48))) > 128


def chat_as(name: str, environment: dict[str, str]) -> AbstractAsyncContextManager[Client]:
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "drawthings_mcp", "--server", "demo"], env=environment
    )
    return Client(command, read_timeout_seconds=60, client_info=Implementation(name=name, version="1.2"))


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    with anyio.fail_after(60):
        result = await client.call_tool(tool, arguments)
    assert not result.is_error, texts_of(result)
    return result


async def draw(client: Client, **arguments: Any) -> str:
    result = await call(client, "generate_image", prompt="a fox", width=256, height=256, **arguments)
    return texts_of(result)[0]


async def test_who_reads_the_test_picture_is_remembered_by_client(server_environment: dict[str, str]) -> None:
    async with chat_as("Seer", server_environment) as client:
        before = await draw(client)
        signs = read_signs(image_of(await call(client, "review_image", images=["sight"])))
        (verdict,) = texts_of(await call(client, "review_image", sight=f" {signs.lower()} "))
        after = await draw(client)
    async with chat_as("Seer", server_environment) as client:
        later = await draw(client)
    async with chat_as("Other", server_environment) as client:
        other = await draw(client)
    assert len(signs) == 4
    assert verdict == "sight proven: Seer 1.2 passes pictures on to you"
    assert [text.count("; sight proven") for text in (before, after, later, other)] == [0, 1, 1, 0]
    assert [text.count("; sight unproven") for text in (before, after, later, other)] == [1, 0, 0, 1]


async def test_a_guess_proves_nothing_and_a_code_counts_once(server_environment: dict[str, str]) -> None:
    async with chat_as("Guesser", server_environment) as client:
        signs = read_signs(image_of(await call(client, "review_image", images=["sight"])))
        wrong = signs.translate(str.maketrans("ABCDEFGHJK", "KJHGFEDCBA")) if set(signs) & set("ABCDEFGHJK") else "AAAA"
        (verdict,) = texts_of(await call(client, "review_image", sight=wrong))
        with anyio.fail_after(60):
            again = await client.call_tool("review_image", {"sight": signs})
        line = await draw(client)
    assert verdict.startswith("sight unproven")
    assert again.is_error
    assert "no test picture" in texts_of(again)[0]
    assert "; sight unproven" in line


async def test_a_client_that_drops_pictures_gets_text_only(server_environment: dict[str, str]) -> None:
    async with chat_as("github-copilot-developer", server_environment) as client:
        result = await call(client, "generate_image", prompt="a fox", width=256, height=256)
    assert len(result.content) == 1
    assert "previews are off" in texts_of(result)[0]


async def test_the_user_can_ask_for_pictures_all_the_same(server_environment: dict[str, str]) -> None:
    async with chat_as("github-copilot-developer", server_environment) as client:
        result = await call(client, "generate_image", prompt="a fox", width=256, height=256, preview="always")
    assert [type(block) for block in result.content] == [TextContent, ImageContent]


async def test_what_is_shown_to_the_user_only_is_not_said_to_be_shown_to_the_model(
    server_environment: dict[str, str],
) -> None:
    async with chat_as("LM Studio", server_environment) as client:
        result = await call(client, "generate_image", prompt="a fox", width=256, height=256)
    assert "shown to the user, not to you: outputs v1 (1/3); sight unproven" in texts_of(result)[0]


ANSWER = {"choices": [{"message": {"content": "A red fox in the snow."}}]}


async def test_a_vision_endpoint_describes_what_may_not_be_seen(
    server_environment: dict[str, str], in_process: Any, http_service: HttpService
) -> None:
    http_service.answers = {
        "/v1/models": (200, {"data": [{"id": "tiny-vision"}]}),
        "/v1/chat/completions": (200, ANSWER),
    }
    server_environment["DRAWTHINGS_VISION_URL"] = http_service.url
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        result = await call(client, "generate_image", prompt="a fox", width=256, height=256)
    assert texts_of(result)[1] == "v1: described by tiny-vision, not seen by you: A red fox in the snow."
    assert isinstance(result.content[-1], TextContent)


@pytest.mark.parametrize("answer", [(500, {"error": {"message": "out of memory"}}), (200, b"<html>"), (200, {})])
async def test_an_endpoint_that_fails_never_fails_the_call(
    server_environment: dict[str, str], in_process: Any, http_service: HttpService, answer: tuple[int, Any]
) -> None:
    http_service.answers = {"/v1/chat/completions": answer}
    server_environment["DRAWTHINGS_VISION_URL"] = http_service.url
    server_environment["DRAWTHINGS_VISION_MODEL"] = "tiny"
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        result = await call(client, "generate_image", prompt="a fox", width=256, height=256)
    assert any(isinstance(block, ImageContent) for block in result.content)
    assert texts_of(result)[1].startswith("v1: not described: ")
