"""What a client can offer while somebody types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import Completion, PromptReference, ResourceTemplateReference

from drawthings_mcp.errors import ServerUnreachableError
from drawthings_mcp.server import completion
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.studio.studio import Studio

pytestmark = pytest.mark.anyio

FAMILY = ResourceTemplateReference(uri="guide://families/{family}")
MODE = ResourceTemplateReference(uri="guide://prompting/{mode}")
DIRECTOR = PromptReference(name="creative_director")
DESCRIBE = PromptReference(name="describe_then_edit")

Reference = ResourceTemplateReference | PromptReference


async def complete(client: Client, reference: Reference, argument: str, typed: str) -> Completion:
    return (await client.complete(reference, {"name": argument, "value": typed})).completion


@pytest.mark.parametrize(
    ("reference", "argument", "typed", "values"),
    [
        (FAMILY, "family", "sd", ["sdxl", "sd15", "svd"]),
        (FAMILY, "family", "FL", ["flux"]),
        (FAMILY, "family", "image", ["z-image", "qwen-image"]),
        (FAMILY, "family", "zimg", ["z-image"]),
        (
            FAMILY,
            "family",
            "i",
            ["ideogram", "z-image", "qwen-image", "hidream", "ernie", "anima", "hunyuan-video", "minimax"],
        ),
        (FAMILY, "family", "no such family", []),
        (MODE, "mode", "", ["text2image", "image2image", "edit", "inpaint"]),
        (MODE, "mode", "im", ["image2image", "text2image"]),
        (DESCRIBE, "image", "LATEST:", ["latest:a", "latest:v", "latest:p"]),
        (DESCRIBE, "change", "make", []),
        (DIRECTOR, "style", "ink", ["ink drawing"]),
        (DIRECTOR, "language", "deu", ["Deutsch"]),
        (DIRECTOR, "request", "a", []),
        (DIRECTOR, "no such argument", "a", []),
    ],
)
async def test_what_was_typed_is_completed_best_first(
    in_process: Any, reference: Reference, argument: str, typed: str, values: list[str]
) -> None:
    async with in_process() as client:
        answer = await complete(client, reference, argument, typed)
    assert answer.values == values
    assert answer.total == len(answer.values)
    assert answer.has_more is False


@pytest.mark.parametrize(
    ("argument", "typed", "first"),
    [
        ("model", "flux", ["flux", "FLUX.2 [dev] (6-bit)"]),
        ("preset", "edit.", ["edit.flux"]),
        ("preset", "sdxl", ["SDXL v1.0"]),
        ("lora", "ghibli", ["Ghibli Cartoon Art"]),
    ],
)
async def test_models_presets_and_loras_are_offered_by_name(
    in_process: Any, server_environment: dict[str, str], tmp_path: Path, argument: str, typed: str, first: list[str]
) -> None:
    file = tmp_path / "custom_configs.json"
    file.write_text('[{"name": "edit.flux", "configuration": {"steps": 4}}]')
    server_environment["DRAWTHINGS_CUSTOM_CONFIGS"] = str(file)
    async with Simulator() as simulator, in_process(server=simulator.address, tls="off") as client:
        answer = await complete(client, DIRECTOR, argument, typed)
    assert answer.values[: len(first)] == first


async def test_every_prompt_and_template_can_be_asked_about_over_stdio(over_stdio: Any) -> None:
    async with over_stdio() as client:
        assert client.server_capabilities.completions is not None
        for prompt in (await client.list_prompts()).prompts:
            for argument in prompt.arguments or ():
                await complete(client, PromptReference(name=prompt.name), argument.name, "")
        for template in (await client.list_resource_templates()).resource_templates:
            variable = template.uri_template.partition("{")[2].removesuffix("}")
            variable = variable.removesuffix("}/preview")
            answer = await complete(client, ResourceTemplateReference(uri=template.uri_template), variable, "")
            # There are no pictures yet.
            assert bool(answer.values) is template.uri_template.startswith("guide://")
            for value in answer.values:
                await client.read_resource(template.uri_template.replace(f"{{{variable}}}", value))


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        (PromptReference(name="me"), "“me”. There are: guide://families/{family}, guide://prompting/{mode}, desc"),
        (ResourceTemplateReference(uri="guide://family/{x}"), "“guide://family/{x}”. Did you mean 'guide://families/"),
    ],
)
async def test_an_unknown_reference_is_refused_with_the_known_ones(
    in_process: Any, reference: Reference, sentence: str
) -> None:
    async with in_process() as client:
        with pytest.raises(MCPError) as caught:
            await complete(client, reference, "family", "")
    assert caught.value.error.message.startswith(f"There is no prompt or resource template {sentence}")


async def test_who_answers_gets_the_studio_and_too_many_answers_are_cut_off_and_counted(
    in_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def complete_servers(typed: str, studio: Studio) -> list[str]:
        return completion.rank(typed, [f"{studio.settings.server} {number}" for number in range(250)])

    monkeypatch.setitem(completion.COMPLETIONS, ("describe_then_edit", "image"), complete_servers)
    async with in_process(server="localhost:1234") as client:
        answer = await complete(client, DESCRIBE, "image", "")
    assert answer.values == [f"localhost:1234 {number}" for number in range(100)]
    assert (answer.total, answer.has_more) == (250, True)


async def test_a_server_that_is_away_completes_nothing_and_fails_nothing(
    in_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask_server(typed: str, studio: Studio) -> list[str]:
        raise ServerUnreachableError("nobody there")

    monkeypatch.setitem(completion.COMPLETIONS, ("describe_then_edit", "image"), ask_server)
    async with in_process() as client:
        assert (await complete(client, DESCRIBE, "image", "")).values == []
