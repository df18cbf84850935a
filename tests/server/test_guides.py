"""The guides as a client reads them, and whether they say what is so."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import TextResourceContents

from drawthings_mcp import ImageGenerationConfig
from drawthings_mcp.packaged import find_configs, read_packaged
from drawthings_mcp.presets.mode_table import list_families, list_recipes
from drawthings_mcp.presets.preset import find_family

pytestmark = pytest.mark.anyio

MODES = {"text2image", "image2image", "edit", "inpaint"}
MODEL_CHOICES = {"auto", "z-image", "qwen-image", "flux", "custom"}
IMAGE_FORMATS = {"square", "landscape", "portrait", "16:9", "9:16", "3:2", "2:3", "4:3", "3:4"}
TOOLS: Mapping[str, set[str]] = {
    "generate_image": {
        *("prompt", "mode", "model", "canvas", "moodboard", "mask", "negative_prompt", "image_format", "width"),
        *("height", "variants", "seed", "steps", "guidance_scale", "strength", "sampler", "loras", "preset"),
        *("configuration", "settings_from", "sweep", "prompts", "dry_run", "preview"),
    },
    "list_models": {"kind", "query", "family", "mode", "offset", "limit"},
    "search_images": {
        *("query", "source", "like", "model", "lora", "size", "since", "until", "tag", "offset", "limit"),
    },
    "review_image": {"images", "max_edge"},
    "transform_image": {"operation", "images", "long_edge"},
}
"""Arguments that guides may use: those that never change their names. The arguments of transform_image may."""

FAMILIES = read_packaged("families.json")["versions"].keys()
FOLDER = Path(str(find_configs())) / "guides"
TEXTS = {path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.md")}
PROMPTS = {"creative_director.md", "describe_then_edit.md"}
MEDIA_ID = re.compile(r"latest|[avpi]\d+")


async def read(client: Client, uri: str) -> TextResourceContents:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return content


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_every_guide_is_listed_and_is_a_short_text(in_process: Any, mode: str) -> None:
    async with in_process(mode=mode) as client:
        listed = (await client.list_resources()).resources
        read_texts = {resource.uri: await read(client, resource.uri) for resource in listed}
    assert {uri.removeprefix("guide://") + ".md" for uri in read_texts} == TEXTS.keys() - PROMPTS
    assert {uri.split("/")[-1] for uri in read_texts if "families" in uri} == FAMILIES
    assert {uri.split("/")[-1] for uri in read_texts if "prompting" in uri} == MODES
    for resource in listed:
        content = read_texts[resource.uri]
        assert content.mime_type == resource.mime_type == "text/markdown"
        assert content.text == TEXTS[resource.uri.removeprefix("guide://") + ".md"]
        assert content.text.startswith("# ")
        assert 300 < len(content.text) <= 2500, resource.uri
        assert resource.title
        assert resource.description


async def test_guides_are_read_over_stdio_by_templates_too(over_stdio: Any) -> None:
    async with over_stdio() as client:
        found = (await client.list_resource_templates()).resource_templates
        guide = await read(client, "guide://prompting/edit")
    templates = [template for template in found if template.uri_template.startswith("guide://")]
    assert [template.uri_template for template in templates] == [
        "guide://families/{family}",
        "guide://prompting/{mode}",
    ]
    assert {template.mime_type for template in templates} == {"text/markdown"}
    assert "change token" in guide.text


@pytest.mark.parametrize("spelling", ["z-image", "Z-Image", "z_image", "zimage", "Z%20Image"])
async def test_a_family_is_found_however_it_is_spelt(in_process: Any, spelling: str) -> None:
    async with in_process() as client:
        guide = await read(client, f"guide://families/{spelling}")
    assert guide.text.startswith("# Z-Image\n")
    assert guide.mime_type == "text/markdown"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        (
            "guide://family/flux",
            "There is no guide at “guide://family/flux”. There are: guide://modes, guide://families/{family}, guide://",
        ),
        ("guide://families/flx", "There is no guide for the family “flx”. There are: z-image, qwen-image, flux, sdxl,"),
        (
            "guide://prompting/upscale",
            "There is no guide for the mode “upscale”. There are: text2image, image2image, edit, inpaint.",
        ),
    ],
)
async def test_an_unknown_guide_is_refused_with_the_known_ones(
    in_process: Any, mode: str, uri: str, sentence: str
) -> None:
    async with in_process(mode=mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
    assert caught.value.error.message.startswith(sentence)


@pytest.mark.parametrize("name", ["..%2Fmodes", "%2Fetc%2Fpasswd", "flux.md", "a" * 5000, "%00", "%F0%9F%A6%8A"])
async def test_no_address_reads_another_file(in_process: Any, name: str) -> None:
    async with in_process() as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(f"guide://families/{name}")
        assert (await read(client, "guide://families/flux")).text == TEXTS["families/flux.md"]
    assert "Error" not in caught.value.error.message


def test_a_server_that_starts_reads_no_guide_and_no_preset() -> None:
    code = (
        "import sys; from drawthings_mcp.server.app import build_server as build; "
        "from drawthings_mcp.settings import load_settings; "
        "build(load_settings({})); print('drawthings_mcp.presets' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "False\n"


def list_code(text: str) -> Iterator[str]:
    assert "```" not in text, "every example is a code span, so that this test reads it"
    yield from re.findall(r"`([^`]+)`", text)


def check_arguments(tool: str | None, arguments: list[ast.keyword]) -> None:
    known = TOOLS[tool] if tool else set().union(*TOOLS.values())
    for argument in arguments:
        assert argument.arg in known, f"{tool} has no argument {argument.arg}"
        if isinstance(argument.value, ast.Dict):
            keys = {ast.literal_eval(key) for key in argument.value.keys if key}
            assert keys <= (known if argument.arg == "sweep" else ImageGenerationConfig().to_app_json().keys())
            continue
        value = ast.literal_eval(argument.value)
        allowed = {"mode": MODES, "image_format": IMAGE_FORMATS, "family": FAMILIES}.get(argument.arg or "")
        assert allowed is None or value in allowed, ast.unparse(argument)
        if argument.arg == "model":
            assert value in MODEL_CHOICES or value in KNOWN_FILES, value
        for reference in [value] if argument.arg in {"canvas", "mask"} else []:
            assert MEDIA_ID.fullmatch(reference), value
        for reference in value if argument.arg in {"moodboard", "images"} else []:
            assert MEDIA_ID.fullmatch(reference), value


KNOWN_FILES = {model["file"] for model in read_packaged("known_models.json")["models"]}
WORDS = {*TOOLS, *MODES, *MODEL_CHOICES, *IMAGE_FORMATS, *FAMILIES}.union(*TOOLS.values())


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_guide_names_only_tools_arguments_and_values_that_exist(name: str) -> None:
    calls = 0
    for code in list_code(TEXTS[name]):
        if "(" in code:
            call = ast.parse(code, mode="eval").body
            assert isinstance(call, ast.Call)
            assert isinstance(call.func, ast.Name)
            assert not call.args, f"{code}: arguments are named"
            check_arguments(call.func.id, call.keywords)
            calls += call.func.id in {"generate_image", "transform_image"}
        elif "=" in code:
            assignment = ast.parse(f"f({code})", mode="eval").body
            assert isinstance(assignment, ast.Call)
            check_arguments(None, assignment.keywords)
        else:
            assert code in WORDS or MEDIA_ID.fullmatch(code), f"`{code}` is no name of the contract"
    assert calls, "a guide shows a call"


FILMS = {"hunyuan-video", "ltx", "minimax", "svd", "wan"}


@pytest.mark.parametrize("family", sorted(FILMS))
def test_the_guide_of_a_family_for_films_shows_no_call_that_is_refused(family: str) -> None:
    text = TEXTS[f"families/{family}.md"]
    assert "made from Python, by generate_video" in text
    calls = [code for code in list_code(text) if code.startswith("generate_image(")]
    assert calls
    for code in calls:
        call = ast.parse(code, mode="eval").body
        assert isinstance(call, ast.Call)
        models = [ast.literal_eval(each.value) for each in call.keywords if each.arg == "model"]
        assert set(models) <= {"auto"}, code


NUMBERS = {
    "steps": re.compile(r"(\d+)(?: |-)steps?\b"),
    "guidanceScale": re.compile(r"\bguidance (?:is )?([\d.]*\d)"),
    "numFrames": re.compile(r"(\d+) frames"),
    "width": re.compile(r"(\d+) x \d+"),
    "height": re.compile(r"\d+ x (\d+)"),
}


@pytest.mark.parametrize("family", sorted(FAMILIES - {"svd"}))
def test_the_figures_of_a_family_are_those_of_its_recipes(family: str) -> None:
    recipes = [recipe for recipe in list_recipes() if find_family(recipe.checkpoint.version) == family]
    assert recipes
    text = TEXTS[f"families/{family}.md"]
    assert NUMBERS["steps"].search(text)
    for key, pattern in NUMBERS.items():
        side = {recipe.native_side for recipe in recipes} if key in {"width", "height"} else set()
        known = {recipe.configuration[key] for recipe in recipes if key in recipe.configuration} | side
        stated = {float(number) for number in pattern.findall(text)}
        assert stated <= known, f"{key}: {stated - known} of {known}"


@pytest.mark.parametrize("family", sorted(MODEL_CHOICES - {"auto", "custom"}))
def test_a_family_is_said_to_edit_only_when_a_model_of_it_is_preferred_for_that(family: str) -> None:
    edits = family in list_families("edit")
    text = TEXTS[f"families/{family}.md"]
    assert ("Modes: all" in text) is edits
    assert ("No `edit`" in text) is not edits
