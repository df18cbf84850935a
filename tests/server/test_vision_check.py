"""Proof instead of hope: the test picture, what is remembered of it, descriptions for those who cannot see."""

from __future__ import annotations

import base64
import io
import json
import re
import sqlite3
import threading
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, ImageContent, Implementation, TextContent
from PIL import Image

from drawthings_mcp.library.records import ImageRecord
from drawthings_mcp.server.viewer import ChatClient, Viewer
from drawthings_mcp.settings import load_settings
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.studio.studio import open_studio
from tests.sign_reader import read_signs
from tests.warm_start import list_command
from tests.web_servers import HttpService

pytestmark = pytest.mark.anyio


def texts_of(result: CallToolResult) -> list[str]:
    return [block.text for block in result.content if isinstance(block, TextContent)]


def images_of(result: CallToolResult) -> list[Image.Image]:
    blocks = [block for block in result.content if isinstance(block, ImageContent)]
    return [Image.open(io.BytesIO(base64.b64decode(block.data))).convert("RGB") for block in blocks]


def image_of(result: CallToolResult) -> Image.Image:
    (image,) = images_of(result)
    return image


def chat_as(name: str, environment: dict[str, str]) -> AbstractAsyncContextManager[Client]:
    python, *arguments = list_command("-m", "drawthings_mcp", "--server", "demo")
    command = StdioServerParameters(command=python, args=arguments, env=environment)
    return Client(command, read_timeout_seconds=60, client_info=Implementation(name=name, version="1.2"))


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    with anyio.fail_after(60):
        result = await client.call_tool(tool, arguments)
    assert not result.is_error, texts_of(result)
    return result


async def draw(client: Client, **arguments: Any) -> str:
    result = await call(client, "generate_image", prompt="a fox", width=256, height=256, **arguments)
    return texts_of(result)[0]


async def test_a_proof_of_sight_is_worth_thirty_days(server_environment: dict[str, str]) -> None:
    shown: list[str] = []
    for days in (29, 31):
        async with chat_as("Seer", server_environment) as client:
            signs = read_signs(image_of(await call(client, "review_image", images=["sight"])))
            await call(client, "review_image", sight=signs)
        at = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        with sqlite3.connect(Path(server_environment["DRAWTHINGS_STATE_DIR"]) / "catalog.sqlite3") as catalog:
            assert catalog.execute("UPDATE sights SET at = ?", (at,)).rowcount == 1
        catalog.close()
        async with chat_as("Seer", server_environment) as client:
            shown.append(await draw(client))
    assert ["sight proven" in text for text in shown] == [True, False]


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
    assert verdict == "sight proven: “Seer 1.2” passes pictures on to you"
    assert [text.count("; sight proven") for text in (before, after, later, other)] == [0, 1, 1, 0]
    assert [text.count("; sight unproven") for text in (before, after, later, other)] == [1, 0, 0, 1]


async def test_a_client_that_is_not_known_gets_one_small_preview_until_its_model_proves_that_it_sees(
    in_process: Any,
) -> None:
    photo = {"prompt": "a fox", "width": 1024, "height": 1024, "variants": 2, "steps": 1}
    async with in_process(server="demo", name="Stranger") as client:
        first = await call(client, "generate_image", **photo)
        again = await call(client, "review_image", images=["v1", "v2"], max_edge=1568)
        # What a model asks for is not what the user set.
        asked = await call(client, "generate_image", **photo, preview="always")
        signs = read_signs(image_of(await call(client, "review_image", images=["sight"])))
        await call(client, "review_image", sight=signs)
        proven = await call(client, "generate_image", **photo)
    for result, before in ((first, "shown: outputs"), (again, "shown: outputs")):
        assert max(image_of(result).size) <= 384
        assert (
            f'{before} [sheet of v1 v2] (1/1); sight unproven: one small preview until review_image(images=["sight"])'
            in (texts_of(result)[0])
        )
        assert len(result.model_dump_json()) < 15_000
    assert max(image_of(asked).size) <= 384
    assert "shown: outputs v5 v6 (2/3); sight proven; ~1,574 tokens" in texts_of(proven)[0]
    assert len(proven.content) == 3


async def test_tools_and_two_results_of_four_pictures_leave_room_in_a_context_of_8000_tokens(in_process: Any) -> None:
    async with in_process(server="demo", name="Stranger") as client:
        tools, instructions = (await client.list_tools()).tools, client.instructions or ""
        signs = read_signs(image_of(await call(client, "review_image", images=["sight"])))
        await call(client, "review_image", sight=signs)
        results = [await call(client, "generate_image", prompt="a fox", width=1024, height=1024, variants=4, steps=1)]
        results.append(
            await call(client, "generate_image", prompt="a hare", width=1024, height=1024, variants=4, steps=1)
        )
    words = [tool.model_dump_json(by_alias=True, exclude_none=True) for tool in tools]
    words += [instructions, *(text for result in results for text in texts_of(result))]
    pixels = [width * height for result in results for width, height in (image.size for image in images_of(result))]
    assert len(pixels) == 6
    assert sum(map(len, words)) / 4 + sum(pixels) / 750 < 8_000


@pytest.mark.parametrize(
    ("name", "setting"), [("continue-cli-client", "auto"), ("@cline/core", "auto"), ("Stranger", "never")]
)
async def test_a_call_alone_does_not_have_a_client_paste_large_pictures(
    server_environment: dict[str, str], in_process: Any, name: str, setting: str
) -> None:
    server_environment["DRAWTHINGS_PREVIEW"] = setting
    drawing = {"prompt": "a fox", "width": 512, "height": 512, "variants": 2, "steps": 1}
    async with in_process(server="demo", name=name) as client:
        none = await call(client, "generate_image", **drawing)
        small = await call(client, "generate_image", **drawing, preview="always")
        signs = read_signs(image_of(await call(client, "review_image", images=["sight"])))
        await call(client, "review_image", sight=signs)
        proven = await call(client, "generate_image", **drawing, preview="always")
    assert [len(images_of(result)) for result in (none, small, proven)] == [0, 1, 2]
    assert max(image_of(small).size) <= 384
    assert len(small.model_dump_json()) < 15_000


async def test_what_is_proven_under_a_name_of_many_programs_holds_for_the_session(
    server_environment: dict[str, str],
) -> None:
    shown: list[str] = []
    for _ in range(2):
        async with chat_as("mcp", server_environment) as client:
            shown.append(await draw(client))
            signs = read_signs(image_of(await call(client, "review_image", images=["sight"])))
            await call(client, "review_image", sight=signs)
            shown.append(await draw(client))
    assert ["sight proven" in text for text in shown] == [False, True, False, True]


@pytest.mark.parametrize("variable", ["DRAWTHINGS_PREVIEW=always", "DRAWTHINGS_ATTACHMENTS=max_edge=600"])
async def test_the_user_can_trust_a_client_that_is_not_known(
    server_environment: dict[str, str], in_process: Any, variable: str
) -> None:
    name, _, value = variable.partition("=")
    server_environment[name] = value
    async with in_process(server="demo", name="Stranger") as client:
        result = await call(client, "generate_image", prompt="a fox", width=512, height=512, steps=1)
    assert image_of(result).size == (512, 512)


async def test_results_of_a_session_share_a_window_of_tokens(
    server_environment: dict[str, str], in_process: Any
) -> None:
    server_environment["DRAWTHINGS_ATTACHMENTS"] = "max_tokens=3000 window_tokens=6000"
    async with in_process(server="demo", name="mcp-inspector") as client:
        drawn = await call(client, "generate_image", prompt="a fox", width=1024, height=1024, variants=4, steps=1)
        shown = [drawn] + [await call(client, "review_image", images=["v1", "v2", "v3", "v4"]) for _ in range(5)]
    lines = [re.search(r"; ~([\d,]+) tokens", texts_of(result)[0]) for result in shown]
    spent = [int(line[1].replace(",", "")) for line in lines if line]
    assert all(0 < tokens <= 3000 - 266 for tokens in spent)
    assert all(sum(spent[start : start + 4]) + 4 * 266 <= 6000 for start in range(3))
    assert spent[0] > 2000 > spent[3]
    sizes = [[max(image.size) for image in images_of(result)] for result in shown]
    assert len(sizes) == len(spent) == 6
    assert min(map(min, sizes)) >= 256


async def test_pictures_that_come_a_message_late_are_announced_so(in_process: Any) -> None:
    async with in_process(server="demo", name="claude-ai") as client:
        text = await draw(client)
    assert (
        "shown: outputs v1 (1/3); sight unproven; this client passes pictures on with the user's next message: before "
        "that you have not seen them; ~100 tokens" in text
    )


async def test_pictures_are_counted_by_the_model_that_a_call_names(in_process: Any) -> None:
    turn = {"x-codex-turn-metadata": {"model": "gpt-4o", "session_id": "s"}}
    arguments = {"prompt": "a fox", "width": 1024, "height": 1024, "steps": 1}
    async with in_process(server="demo", name="codex-mcp-client") as client:
        own = await client.call_tool("generate_image", arguments)
        named = await client.call_tool("generate_image", arguments, meta=turn)
        as_json = await client.call_tool(
            "generate_image", arguments, meta={"x-codex-turn-metadata": json.dumps({"model": "gemini-3-pro"})}
        )
        broken = await client.call_tool("generate_image", arguments, meta={"x": "{" * 5000, "y": [1], "model": 5})
    counted = [re.search(r"~([\d,]+) tokens", texts_of(result)[0]) for result in (own, named, as_json, broken)]
    assert [count and count[1] for count in counted] == ["1,229", "765", "1,120", "1,229"]


async def test_a_guess_proves_nothing_and_a_code_counts_once(in_process: Any) -> None:
    async with in_process(server="demo", name="Guesser") as client:
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


async def test_a_client_that_drops_pictures_gets_text_only(in_process: Any) -> None:
    async with in_process(server="demo", name="github-copilot-developer") as client:
        result = await call(client, "generate_image", prompt="a fox", width=256, height=256)
        again = await call(client, "review_image", images=["v1"])
    assert [len(result.content), len(again.content)] == [1, 1]
    line = "shown: none; this client passes no pictures on to you; the user can open the files"
    assert line in texts_of(result)[0].splitlines()
    assert line in texts_of(again)[0].splitlines()


async def test_a_client_that_dropped_pictures_gets_them_once_its_model_proved_that_it_sees(
    in_process: Any,
) -> None:
    async with in_process(server="demo", name="github-copilot-developer") as client:
        signs = read_signs(image_of(await call(client, "review_image", images=["sight"])))
        await call(client, "review_image", images=["sight"], sight=signs)
        result = await call(client, "generate_image", prompt="a fox", width=256, height=256)
    assert [type(block) for block in result.content] == [TextContent, ImageContent]
    assert "shown: outputs v1 (1/3); sight proven" in texts_of(result)[0]


async def test_the_vision_check_comes_alone_and_its_outcome_with_what_is_asked_for(
    in_process: Any,
) -> None:
    async with in_process(server="demo", name="Seer") as client:
        await draw(client)
        asked = await call(client, "review_image", images=["sight", "v1"])
        signs = read_signs(image_of(asked))
        answered = await call(client, "review_image", images=["v1", "sight"], sight=signs)
    assert texts_of(asked)[0].endswith('The test comes alone: then call review_image(["v1"]).')
    assert texts_of(answered)[0].splitlines()[0].startswith("sight proven: “Seer")
    assert "shown: outputs v1 (1/5); sight proven" in texts_of(answered)[0]
    assert image_of(answered).size == (256, 256)


async def test_pictures_that_the_user_never_wants_to_be_sent_are_not(
    server_environment: dict[str, str], in_process: Any
) -> None:
    server_environment["DRAWTHINGS_PREVIEW"] = "never"
    async with in_process(server="demo", name="Seer") as client:
        result = await call(client, "generate_image", prompt="a fox", width=256, height=256)
        again = await call(client, "review_image", images=["v1"])
    assert [len(result.content), len(again.content)] == [1, 1]
    assert "shown: none; previews are off; the user can open the files" in texts_of(again)[0]


async def test_an_outcome_that_cannot_be_remembered_is_reported_all_the_same(in_process: Any, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    async with in_process(server="demo", name="Seer") as client:
        signs = read_signs(image_of(await call(client, "review_image", images=["sight"])))
        (verdict,) = texts_of(await call(client, "review_image", sight=signs))
    assert verdict.startswith("sight proven: “Seer 1.2” passes pictures on to you; not remembered: The catalog")


async def test_the_user_can_ask_for_pictures_all_the_same(in_process: Any) -> None:
    async with in_process(server="demo", name="github-copilot-developer") as client:
        result = await call(client, "generate_image", prompt="a fox", width=256, height=256, preview="always")
    assert [type(block) for block in result.content] == [TextContent, ImageContent]


async def test_settings_outvote_what_is_known_of_a_client(server_environment: dict[str, str], in_process: Any) -> None:
    server_environment["DRAWTHINGS_ATTACHMENTS"] = "max_edge=100 max_outputs=1"
    async with in_process(server="demo", name="claude-ai") as client:
        result = await call(client, "generate_image", prompt="a fox", width=256, height=256, variants=2)
    assert max(image_of(result).size) == 100
    assert "outputs [sheet of v1 v2] (1/1)" in texts_of(result)[0]


async def test_what_is_shown_to_the_user_only_is_not_said_to_be_shown_to_the_model(
    in_process: Any,
) -> None:
    async with in_process(server="demo", name="LM Studio") as client:
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
    assert texts_of(result)[1] == "v1: described by “tiny-vision”, not seen by you: “A red fox in the snow.”"
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


async def test_a_client_that_drops_pictures_gets_their_descriptions(
    server_environment: dict[str, str], in_process: Any, http_service: HttpService
) -> None:
    http_service.answers = {"/v1/chat/completions": (200, ANSWER)}
    server_environment |= {"DRAWTHINGS_VISION_URL": http_service.url, "DRAWTHINGS_VISION_MODEL": "tiny"}
    async with in_process(server="demo", name="github-copilot-developer") as client:
        result = await call(client, "generate_image", prompt="a fox", width=256, height=256)
    text, description = texts_of(result)
    assert len(result.content) == 2
    assert "shown: none; this client passes no pictures on to you" in text
    assert description == "v1: described by “tiny”, not seen by you: “A red fox in the snow.”"


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://[::1", "http://a..b", "http://xn--\udc80"])
async def test_an_address_that_is_none_never_fails_the_call(
    server_environment: dict[str, str], in_process: Any, url: str
) -> None:
    server_environment["DRAWTHINGS_VISION_URL"] = url
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        result = await call(client, "generate_image", prompt="a fox", width=256, height=256)
    assert texts_of(result)[1].startswith("v1: not described: ")


async def test_what_a_cancelled_call_would_have_shown_is_still_new(
    server_environment: dict[str, str], in_process: Any, http_service: HttpService, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (64, 64), (200, 0, 0)).save(photo)
    asked = threading.Event()

    def hold(_: object) -> None:
        asked.set()
        http_service.release.wait(30)

    http_service.answers = {"/v1/chat/completions": hold}
    server_environment |= {
        "DRAWTHINGS_VISION_URL": http_service.url,
        "DRAWTHINGS_VISION_MODEL": "tiny",
        "DRAWTHINGS_INPUT_DIRS": str(tmp_path),
    }
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(draw, client, canvas=str(photo)))
            assert await anyio.to_thread.run_sync(asked.wait, 30)
            tasks.cancel_scope.cancel()
        http_service.answers = {"/v1/chat/completions": (200, ANSWER)}
        line = await draw(client, canvas="a1")
    assert "shown: inputs a1 (1/2), outputs v2 (1/3)" in line


async def test_descriptions_end_before_the_client_gives_up(
    server_environment: dict[str, str], http_service: HttpService, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "v1.png")
    http_service.answers = {"/v1/chat/completions": lambda _: http_service.release.wait(30)}
    options = {"vision_url": http_service.url, "vision_model": "tiny"}
    async with open_studio(load_settings(options, environment=server_environment)) as studio:
        late = anyio.current_time() - 58.5  # of 60 seconds
        picture = ImageRecord("v1", tmp_path / "v1.png", datetime.now(UTC), width=64, height=64)
        result = await Viewer(studio).show(ChatClient("LM Studio"), str, outputs=[picture], started=late)
    assert texts_of(result)[1].endswith("did not answer within 1 s.")
