"""The prompts that a user picks in a chat: a way of working, followed by what the user filled in.

Owns their names and arguments. The texts are data, ``configs/guides``, and are read when a prompt is picked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.prompts.base import Message, PromptArgument
from mcp.types import INVALID_PARAMS, InputRequiredResult

from drawthings_mcp.server.guides import read_guide
from drawthings_mcp.validation import suggest

CREATIVE_DIRECTOR = "creative_director"
DESCRIBE_THEN_EDIT = "describe_then_edit"


class TextPrompt(Prompt):
    """A prompt that refuses what it does not know, in one short line per argument."""

    async def render(
        self, arguments: dict[str, Any] | None, context: Context[Any, Any]
    ) -> list[Message] | InputRequiredResult:
        """One message of the user; see ``Prompt.render``. What was left empty counts as left out.

        Raises
        ------
        MCPError
            An argument is missing or not known; the text says which.
        """
        given = {name: value.strip() for name, value in (arguments or {}).items() if value.strip()}
        problems = list(_find_problems(given, self.arguments or []))
        if problems:
            raise MCPError(code=INVALID_PARAMS, message="\n".join(problems))
        return await super().render(given, context)


def list_prompts() -> tuple[TextPrompt, ...]:
    """All prompts, in the order in which a client shows them."""
    return (
        TextPrompt(
            name=CREATIVE_DIRECTOR,
            title="Creative director",
            description="Works on a picture with you, draft by draft: shows, judges honestly, waits for your word.",
            arguments=[
                PromptArgument(name="request", description="What you want to see.", required=True),
                PromptArgument(name="style", description="How it should look, e.g. watercolour."),
                PromptArgument(name="language", description="The language to answer in."),
            ],
            fn=partial(_compose, f"{CREATIVE_DIRECTOR}.md"),
            context_kwarg=None,
        ),
        TextPrompt(
            name=DESCRIBE_THEN_EDIT,
            title="Describe, then edit",
            description="Describes what is really in a picture before it changes anything, then makes one edit.",
            arguments=[
                PromptArgument(
                    name="image", description="The picture: an id like a1 or v3, latest, or a path.", required=True
                ),
                PromptArgument(name="change", description="What should be different.", required=True),
            ],
            fn=partial(_compose, f"{DESCRIBE_THEN_EDIT}.md"),
            context_kwarg=None,
        ),
    )


async def _compose(file: str, **given: str) -> str:
    """The way of working, then what the user filled in; last, because that is what a model heeds most."""
    wishes = "\n".join(f"{name.capitalize()}: {value}" for name, value in given.items())
    return f"{await read_guide(file)}\n## From the user\n\n{wishes}\n"


def _find_problems(given: Mapping[str, str], arguments: list[PromptArgument]) -> Iterator[str]:
    names = [argument.name for argument in arguments]
    for name in given:
        if name not in names:
            yield f"{name}: there is no such argument.{suggest(name, names)}"
    for argument in arguments:
        if argument.required and argument.name not in given:
            yield f"{argument.name}: is required. {argument.description}"
