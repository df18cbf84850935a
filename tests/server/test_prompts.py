"""The prompts as a client gets them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import ImageContent, TextContent
from PIL import Image

from drawthings_mcp.packaged import find_configs

pytestmark = pytest.mark.anyio

FOLDER = Path(str(find_configs())) / "guides"
LIMITS = {"creative_director": 4500, "describe_then_edit": 2500}


async def get_text(client: Client, name: str, **arguments: str) -> str:
    message, *_ = (await client.get_prompt(name, arguments)).messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)
    return message.content.text


async def test_prompts_are_listed_with_their_arguments(over_stdio: Any) -> None:
    async with over_stdio() as client:
        prompts = (await client.list_prompts()).prompts
    assert {prompt.name: [(a.name, a.required) for a in prompt.arguments or ()] for prompt in prompts} == {
        "creative_director": [
            ("request", True),
            ("style", False),
            ("language", False),
            ("model", False),
            ("preset", False),
            ("lora", False),
        ],
        "describe_then_edit": [("image", True), ("change", True)],
    }
    for prompt in prompts:
        assert prompt.title
        assert prompt.description
        assert all(argument.description for argument in prompt.arguments or ())


async def test_a_prompt_is_a_way_of_working_and_then_what_the_user_wants(in_process: Any) -> None:
    async with in_process(server="demo") as client:
        await client.call_tool("generate_image", {"prompt": "x", "width": 128, "height": 128})
        directed = await get_text(
            client, "creative_director", language="Polski", request="a {fox} for $5", style=" linocut "
        )
        edited = await get_text(client, "describe_then_edit", image="V1", change="make it night")
        newest = await get_text(client, "describe_then_edit", image="latest", change="make it night")
    protocol = (FOLDER / "creative_director.md").read_text(encoding="utf-8")
    assert directed.startswith(protocol)
    assert directed.endswith("\n## From the user\n\nRequest: a {fox} for $5\nStyle: linocut\nLanguage: Polski\n")
    assert edited.startswith((FOLDER / "describe_then_edit.md").read_text(encoding="utf-8"))
    assert edited.endswith("\nImage: V1\nChange: make it night\n")
    assert newest.endswith("\nImage: v1 (latest)\nChange: make it night\n")


async def test_the_picture_of_an_edit_comes_with_the_prompt_and_has_to_exist(over_stdio: Any) -> None:
    async with over_stdio("--server", "demo") as client:
        await client.call_tool("generate_image", {"prompt": "x", "width": 192, "height": 128})
        _, picture = (await client.get_prompt("describe_then_edit", {"image": "v1", "change": "x"})).messages
        with pytest.raises(MCPError) as caught:
            await client.get_prompt("describe_then_edit", {"image": "a7", "change": "x"})
    assert isinstance(picture.content, ImageContent)
    assert Image.open(io.BytesIO(base64.b64decode(picture.content.data))).size == (192, 128)
    assert caught.value.error.message.startswith("image: There is no picture “a7”; none of that kind exists yet.")
    assert "give the path of its file" in caught.value.error.message


@pytest.mark.parametrize(
    "rule",
    [
        "STOP",
        "The user says stop, enough or thanks: make no call.",
        "Assumed: …",
        "First one sentence",
        "A, B, C",
        "No goals",
        "no file names",
        "Tone:",
    ],
)
def test_the_director_has_the_rule(rule: str) -> None:
    assert rule in (FOLDER / "creative_director.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_a_prompt_leaves_room_for_the_conversation(name: str) -> None:
    assert 1000 < len((FOLDER / f"{name}.md").read_text(encoding="utf-8")) <= LIMITS[name]


async def test_what_is_left_out_or_empty_is_not_mentioned(in_process: Any) -> None:
    async with in_process() as client:
        text = await get_text(client, "creative_director", request="a fox", style="  ")
    assert text.endswith("## From the user\n\nRequest: a fox\n")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("creative_directer", {}, "There is no prompt “creative_directer”. Did you mean 'creative_director'?"),
        ("zzz", {}, "There is no prompt “zzz”. There are: creative_director, describe_then_edit."),
        ("creative_director", {}, "request: is required. What you want to see."),
        (
            "describe_then_edit",
            {"image": "a1", "change": "\n", "chnage": "x"},
            "chnage: there is no such argument. Did you mean 'change'?\nchange: is required. What should be different.",
        ),
    ],
)
async def test_what_does_not_fit_is_refused_in_one_line_each(
    in_process: Any, mode: str, name: str, arguments: dict[str, str], sentence: str
) -> None:
    async with in_process(mode=mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.get_prompt(name, arguments)
    assert caught.value.error.message == sentence


async def test_the_instructions_point_to_what_exists(in_process: Any) -> None:
    async with in_process() as client:
        instructions = client.instructions or ""
        templates = (await client.list_resource_templates()).resource_templates
        prompts = (await client.list_prompts()).prompts
    guides = [found.uri_template for found in templates if found.uri_template.startswith("guide://")]
    assert guides
    assert len(instructions) <= 1500
    for name in ("guide://modes", *guides, *(prompt.name for prompt in prompts)):
        assert name in instructions
