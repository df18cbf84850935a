"""The prompts that a user picks in a chat: a way of working, followed by what the user filled in.

The texts are data, ``configs/guides``, and are read when a prompt is picked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mcp import MCPError
from mcp.types import (
    INVALID_PARAMS,
    ContentBlock,
    GetPromptResult,
    ImageContent,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.server.face import MCP
from drawthings_mcp.server.resources import read_preview, read_text
from drawthings_mcp.server.viewer import build_image
from drawthings_mcp.studio.studio import Studio
from drawthings_mcp.validation import shorten, suggest

CREATIVE_DIRECTOR = "creative_director"
DESCRIBE_THEN_EDIT = "describe_then_edit"


def list_prompts() -> list[Prompt]:
    """All prompts, in the order in which a client shows them."""
    return [
        Prompt(
            name=CREATIVE_DIRECTOR,
            title="Creative director",
            description="Works on a picture with you, draft by draft: shows, judges honestly, waits for your word.",
            arguments=[
                PromptArgument(name="request", description="What you want to see.", required=True),
                PromptArgument(name="style", description="How it should look, e.g. watercolour.", required=False),
                PromptArgument(name="language", description="The language to answer in.", required=False),
                PromptArgument(name="model", description="A family such as flux, or a model's name.", required=False),
                PromptArgument(name="preset", description="One of your presets, or a built-in one.", required=False),
                PromptArgument(name="lora", description="A LoRA, as name@weight.", required=False),
            ],
        ),
        Prompt(
            name=DESCRIBE_THEN_EDIT,
            title="Describe, then edit",
            description="Describes what is really in a picture before it changes anything, then makes one edit.",
            arguments=[
                PromptArgument(
                    name="image", description="The picture: an id like a1 or v3, latest, or a path.", required=True
                ),
                PromptArgument(name="change", description="What should be different.", required=True),
            ],
        ),
    ]


async def get_prompt(name: str, arguments: Mapping[str, str], studio: Studio) -> GetPromptResult:
    """The message of the user that a prompt stands for: the way of working, then what was filled in.

    A picture that was filled in comes with it.

    The user's own words come last, because that is what a model heeds most. What was left empty counts as left out.

    Raises
    ------
    MCPError
        There is no such prompt or picture, or an argument is missing or not known; the text says which.
    """
    prompts = {prompt.name: prompt for prompt in list_prompts()}
    if name not in prompts:
        raise MCPError(code=INVALID_PARAMS, message=f"There is no prompt {shorten(name)}.{suggest(name, prompts)}")
    prompt = prompts[name]
    known = prompt.arguments or []
    given = {argument: value.strip() for argument, value in arguments.items() if value.strip()}
    problems = list(_find_problems(given, known))
    if problems:
        raise MCPError(code=INVALID_PARAMS, message="\n".join(problems))
    attached = await _attach(given["image"], studio) if "image" in given else None
    if attached is not None and given["image"].lower() != attached[0]:
        given["image"] = f"{attached[0]} ({given['image']})"
    wishes = "\n".join(f"{a.name.capitalize()}: {given[a.name]}" for a in known if a.name in given)
    text = f"{await read_text(f'{name}.md')}\n## From the user\n\n{wishes}\n"
    contents: list[ContentBlock] = [TextContent(text=text), *([attached[1]] if attached else [])]
    messages = [PromptMessage(role="user", content=content) for content in contents]
    return GetPromptResult(description=prompt.description, messages=messages)


async def _attach(reference: str, studio: Studio) -> tuple[str, ImageContent]:
    """The id of a picture, and the picture as its own message."""
    try:
        (picture,) = (await studio.gallery.find([reference])).pictures
        preview = await read_preview(picture.id, studio)
    except DrawThingsError as error:
        raise MCPError(code=INVALID_PARAMS, message=f"image: {MCP.word(error)}") from error
    return picture.id, build_image(preview)


def _find_problems(given: Mapping[str, str], arguments: list[PromptArgument]) -> Iterator[str]:
    names = [argument.name for argument in arguments]
    for name in given:
        if name not in names:
            yield f"{name}: there is no such argument.{suggest(name, names)}"
    for argument in arguments:
        if argument.required and argument.name not in given:
            yield f"{argument.name}: is required. {argument.description}"
