"""What a client learns about the tools, and what ``list_models`` answers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from mcp.types import TextContent

from drawthings_mcp.params import FULL, SIMPLE
from drawthings_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio


def walk(node: Any) -> Any:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


async def test_descriptions_and_schemas_are_short_flat_and_closed(over_stdio: Any) -> None:
    async with over_stdio("--server", "demo") as client:
        tools = (await client.list_tools()).tools
        instructions = client.instructions or ""
    assert [tool.name for tool in tools] == [
        "generate_image",
        "list_models",
        "search_images",
        "review_image",
        "transform_image",
        "tag_image",
        "get_job",
        "cancel_job",
    ]
    assert 200 < len(instructions) <= 1500
    for tool in tools:
        assert 0 < len(tool.description or "") <= 600
        schema = tool.input_schema
        assert schema["additionalProperties"] is False
        assert len(json.dumps(schema)) < 4000
        for name, field in schema["properties"].items():
            assert {"type", "enum", "const"} & field.keys(), name
            assert not {"anyOf", "$ref", "title"} & field.keys(), name
            assert field["description"], name
        assert tool.output_schema is None
        assert tool.annotations is not None


@pytest.mark.parametrize(("tools", "most", "arguments"), [("simple", 1500, SIMPLE), ("full", 4000, FULL)])
async def test_a_small_model_is_offered_fewer_arguments(
    in_process: Any, server_environment: dict[str, str], tools: str, most: int, arguments: Sequence[str]
) -> None:
    server_environment["DRAWTHINGS_TOOLS"] = tools
    async with in_process(server="demo") as client:
        (schema,) = [tool.input_schema for tool in (await client.list_tools()).tools if tool.name == "generate_image"]
        refused = await client.call_tool("generate_image", {"prompt": "a fox", "step": 3})
    assert len(json.dumps(schema)) < most
    assert tuple(schema["properties"]) == arguments
    assert refused.is_error


def count_words(text: str, words: str) -> int:
    return sum(word in text.lower() for word in words.split())


@pytest.mark.parametrize("tools", ["simple", "full"])
async def test_who_searches_the_descriptions_for_what_people_say_finds_the_tool(
    in_process: Any, server_environment: dict[str, str], tools: str
) -> None:
    server_environment["DRAWTHINGS_TOOLS"] = tools
    async with in_process(server="demo") as client:
        beginnings = {tool.name: (tool.description or "")[:160] for tool in (await client.list_tools()).tools}
    wanted = {
        "draw art illustration photo": "generate_image",
        "edit a picture logo": "generate_image",
        "inpaint": "generate_image",
        "which model is best for photos": "list_models",
        "find an earlier picture": "search_images",
        "look at pictures again": "review_image",
        "crop resize": "transform_image",
        "favourite": "tag_image",
    }
    for words, name in wanted.items():
        ranked = sorted(beginnings, key=lambda tool: -count_words(beginnings[tool], words))
        assert ranked[0] == name, (words, beginnings)
    assert count_words(beginnings["get_job"], "draw art illustration photo") == 0


async def test_simple_leaves_no_dead_end(in_process: Any, server_environment: dict[str, str]) -> None:
    server_environment["DRAWTHINGS_TOOLS"] = "simple"
    async with in_process(server="demo") as client:
        simple = {tool.name: tool for tool in (await client.list_tools()).tools}
        withheld = await client.call_tool("generate_image", {"prompt": "x", "seed": 3})
        no_mask = await client.call_tool("generate_image", {"prompt": "x", "mode": "inpaint"})
        paged = await client.call_tool("list_models", {"offset": 25})
    server_environment["DRAWTHINGS_TOOLS"] = "full"
    async with in_process(server="demo") as client:
        full = {tool.name: tool for tool in (await client.list_tools()).tools}
    for name, tool in simple.items():
        offered = tool.input_schema["properties"].keys()
        hidden = full[name].input_schema["properties"].keys() - offered
        assert len(json.dumps(tool.input_schema)) <= len(json.dumps(full[name].input_schema))
        assert not [word for word in hidden if re.search(rf"\b{word}=", tool.description or "")], name
    same = [name for name in simple if simple[name].input_schema == full[name].input_schema]
    assert same == ["cancel_job"], "all others are trimmed"
    operations = simple["transform_image"].input_schema["properties"]["operation"]["enum"]
    assert "inpaint" not in f"{simple['generate_image'].description} {simple['generate_image'].input_schema}"
    assert "seed to" not in (simple["generate_image"].description or "")
    assert simple["generate_image"].input_schema["required"] == ["prompt"]
    assert not any("mask" in operation for operation in operations)
    assert withheld.content[0].text == "seed: is not offered here; leave it out. What matters goes into prompt."
    assert no_mask.content[0].text.startswith("mode: must be 'auto', 'text2image', 'image2image' or 'edit'")
    assert not paged.is_error, "what a text says can be called"


async def list_models(client: Any, **arguments: Any) -> tuple[str, dict[str, Any]]:
    result = await client.call_tool("list_models", arguments)
    assert not result.is_error
    first = result.content[0]
    assert isinstance(first, TextContent)
    assert result.structured_content is not None
    return first.text, result.structured_content


async def test_models_are_listed_searched_and_paged(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        text, data = await list_models(client, query="z image", limit=100)
        assert "z_image_turbo_1.0_q8p.ckpt" in text
        assert all("z_image" in row["file"] for row in data["rows"])
        _, everything = await list_models(client, kind="all", limit=100)
        first, second = [(await list_models(client, kind="all", limit=5, offset=at))[1] for at in (0, 5)]
        assert [*first["rows"], *second["rows"]] == everything["rows"][:10]
        assert "go on with offset=5" in (await list_models(client, kind="all", limit=5))[0]
        kinds = {line.split(" | ")[0] for line in (await list_models(client, kind="all", limit=100))[0].splitlines()}
        assert {"model", "LoRA", "control", "upscaler", "embedding"} <= kinds
        nothing, _ = await list_models(client, query="no such thing")
        assert "Nothing matches" in nothing


async def test_models_are_filtered_by_family_and_mode(in_process: Any) -> None:
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        _, flux = await list_models(client, family="flux", limit=100)
        _, edit = await list_models(client, mode="edit", limit=100)
    assert {row["file"].split("_")[0] for row in flux["rows"]} == {"flux"}
    files = {row["file"] for row in edit["rows"]}
    assert "qwen_image_edit_2511_q6p.ckpt" in files
    assert "z_image_turbo_1.0_q8p.ckpt" not in files


async def test_the_default_of_each_mode_comes_first_with_what_it_is_best_for(in_process: Any) -> None:
    async with in_process(server="demo") as client:
        text, data = await list_models(client, limit=100)
        posters, found = await list_models(client, query="posters text")
        plan = await client.call_tool("generate_image", {"prompt": "x", "dry_run": True})
    first, second, *others = text.splitlines()
    assert "default for text2image, image2image; fast, photographs; 1024 px" in first
    assert "default for edit, inpaint; proven edits, several references" in second
    assert data["rows"][0]["file"] in plan.content[0].text
    assert not any("default for" in line for line in others)
    films = ["; video" in line or "films" in line for line in others]
    assert films == sorted(films), "what makes films stands last"
    assert any(films)
    assert all("best for text and posters" in line for line in posters.splitlines())
    assert len(found["rows"]) == 2
    assert all(row.keys() == {"file"} for row in data["rows"]), "rows are not sent twice"


async def test_a_question_finds_the_models_that_have_the_most_of_its_words(in_process: Any) -> None:
    async with in_process(server="demo") as client:
        posters, _ = await list_models(client, query="which model for the text on a poster?")
        photos, _ = await list_models(client, query="photos")
        presets, _ = await list_models(client, kind="presets", limit=100)
    *rows, note = posters.splitlines()
    assert rows
    assert all("best for text and posters" in row for row in rows)
    assert note == "note: no row has all of “which model for the text on a poster?”; these have the most of it"
    assert "default for text2image" in photos.splitlines()[0]
    assert "default for" in presets.splitlines()[0], "of presets that can run the defaults come first"


async def test_presets_that_can_run_come_first_and_loras_say_what_they_fit(in_process: Any) -> None:
    async with in_process(server="demo") as client:
        presets, _ = await list_models(client, kind="presets", limit=100)
        loras, _ = await list_models(client, kind="loras")
    lacking = ["lacks" in line for line in presets.splitlines()]
    assert lacking == sorted(lacking)
    assert 0 < sum(lacking) < len(lacking)
    assert (
        "“Ghibli Cartoon Art” | ghibli_cartoon_art_lora_f16.ckpt | flux | fits FLUX.1; weight 1; trigger words" in loras
    )


async def test_guides_are_reached_without_resources(in_process: Any) -> None:
    async with in_process(server="demo") as client:
        edit = await client.call_tool("list_models", {"kind": "guides", "query": "edit"})
        family = await client.call_tool("list_models", {"kind": "guides", "query": "Z Image"})
        every = await client.call_tool("list_models", {"kind": "guides"})
        (resource,) = (await client.read_resource("guide://prompting/edit")).contents
    assert edit.content[0].text == resource.text
    assert family.content[0].text.startswith("# Z-Image")
    listed = every.content[0].text.splitlines()
    assert "modes: Which mode and which model for what; drafts and finals." in listed
    assert len(listed) == 21


async def test_presets_say_which_files_the_server_lacks(in_process: Any) -> None:
    async with (
        Simulator(missing_files=["z_image_turbo_1.0_q6p.ckpt", "z_image_turbo_1.0_q8p.ckpt"]) as simulator,
        in_process(server=simulator.address, tls="off") as client,
    ):
        text, data = await list_models(client, kind="presets", query="z image turbo")
    assert data["rows"] == [{"id": "Z Image Turbo 1.0", "file": "z_image_turbo_1.0_q6p.ckpt"}]
    assert "lacks z_image_turbo_1.0_q6p.ckpt" in text


async def test_a_server_that_cannot_be_browsed_says_how_to_change_that(in_process: Any) -> None:
    async with (
        Simulator(model_browser=False) as simulator,
        in_process(server=simulator.address, tls="off") as client,
    ):
        text, data = await list_models(client)
    assert "--model-browser" in text
    assert data["rows"]


async def test_an_unknown_kind_is_refused_with_the_allowed_ones(in_process: Any) -> None:
    async with in_process(server="demo") as client:
        result = await client.call_tool("list_models", {"kind": "checkpoints"})
    assert result.is_error
    first = result.content[0]
    assert isinstance(first, TextContent)
    assert "'models'" in first.text
