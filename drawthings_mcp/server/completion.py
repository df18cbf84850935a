"""What a client may offer while its user types an argument of a prompt or the variable of an address.

The protocol completes nothing else: arguments of tools are not asked for here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, TypeAlias

from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.context import ServerRequestContext
from mcp.types import INVALID_PARAMS, CompleteRequestParams, CompleteResult, Completion, PromptReference

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.quoting import clean
from drawthings_mcp.server.prompts import CREATIVE_DIRECTOR, DESCRIBE_THEN_EDIT
from drawthings_mcp.server.resources import FAMILIES, FAMILY_GUIDES, MODES, ORIGINAL, PREVIEW, PROMPTING_GUIDES
from drawthings_mcp.server.session import Session
from drawthings_mcp.studio.studio import Studio
from drawthings_mcp.validation import shorten, suggest

MAX_VALUES = 100
"""Values that the protocol lets an answer have."""

Complete: TypeAlias = Callable[[str, Studio], Awaitable[list[str]]]
"""What was typed so far → what it may become, best first. More than ``MAX_VALUES`` are cut off and counted."""

_ALL = 1_000_000
"""Rows of a listing that is meant to be whole."""

_MAX_IDS = 1_000
"""Pictures that are looked through for an id; older ones are typed in full."""

_LATEST = ("latest", "latest:a", "latest:v", "latest:p")
_STYLES = (
    "photograph",
    "watercolour",
    "oil painting",
    "ink drawing",
    "pencil sketch",
    "flat illustration",
    "anime",
    "3D render",
    "poster",
    "pixel art",
)
_LANGUAGES = (
    "English",
    "Deutsch",
    "Español",
    "Français",
    "Italiano",
    "Português",
    "Polski",
    "中文",
    "日本語",
    "한국어",
)


def _choose_among(names: Iterable[str]) -> Complete:
    """One of a few names; where free text may be given, these are suggestions."""

    async def complete(typed: str, _: Studio) -> list[str]:
        return rank(typed, names)

    return complete


async def _complete_image(typed: str, studio: Studio) -> list[str]:
    """Pictures that can be named without knowing any id, then ids, the newest first."""
    return rank(typed, [*_LATEST, *await studio.gallery.list_ids(_MAX_IDS)])


async def _complete_id(typed: str, studio: Studio) -> list[str]:
    """Ids, the newest first."""
    return rank(typed, await studio.gallery.list_ids(_MAX_IDS))


async def _complete_model(typed: str, studio: Studio) -> list[str]:
    """Families, then the names of the server's models."""
    from drawthings_mcp.presets.mode_table import list_families

    return rank(typed, [*list_families(), *await _list_names(studio, "models")])


async def _complete_listed(kind: str, typed: str, studio: Studio) -> list[str]:
    """Names of the server's listing; of presets, the user's own come first."""
    return rank(typed, await _list_names(studio, kind))


async def _list_names(studio: Studio, kind: str) -> list[str]:
    listing = await studio.list_catalog(kind, limit=_ALL)
    return list(dict.fromkeys(clean(row.name) for row in listing.rows))


COMPLETIONS: Mapping[tuple[str, str], Complete] = {
    (FAMILY_GUIDES, "family"): _choose_among(FAMILIES),
    (PROMPTING_GUIDES, "mode"): _choose_among(MODES),
    (DESCRIBE_THEN_EDIT, "image"): _complete_image,
    (ORIGINAL, "id"): _complete_id,
    (PREVIEW, "id"): _complete_id,
    (CREATIVE_DIRECTOR, "style"): _choose_among(_STYLES),
    (CREATIVE_DIRECTOR, "language"): _choose_among(_LANGUAGES),
    (CREATIVE_DIRECTOR, "model"): _complete_model,
    (CREATIVE_DIRECTOR, "preset"): partial(_complete_listed, "presets"),
    (CREATIVE_DIRECTOR, "lora"): partial(_complete_listed, "loras"),
}
"""Who answers, by prompt or template of an address, and argument. Other arguments of these take free text."""


def rank(typed: str, names: Iterable[str]) -> list[str]:
    """The names that may be meant: those that begin with what was typed, those that contain it, those that have
    its letters in the same order; without regard to case, and otherwise in the order given."""
    wanted = typed.strip().casefold()
    graded = [(grade, name) for name in names if (grade := _grade(wanted, name.casefold())) is not None]
    return [name for _, name in sorted(graded, key=itemgetter(0))]


def _grade(wanted: str, name: str) -> int | None:
    if name.startswith(wanted):
        return 0
    if wanted in name:
        return 1
    letters = iter(name)
    return 2 if all(letter in letters for letter in wanted) else None


def add_completion(server: MCPServer[Session]) -> None:
    """Answers ``completion/complete``, and tells clients so."""
    # The SDK's decorator would not hand the studio to the function.
    server._lowlevel_server.add_request_handler("completion/complete", CompleteRequestParams, _answer)


async def _answer(context: ServerRequestContext[Session, Any], params: CompleteRequestParams) -> CompleteResult:
    reference = params.ref.name if isinstance(params.ref, PromptReference) else params.ref.uri
    references = dict.fromkeys(known for known, _ in COMPLETIONS)
    if reference not in references:
        message = f"There is no prompt or resource template {shorten(reference)}.{suggest(reference, references)}"
        raise MCPError(code=INVALID_PARAMS, message=message)
    complete = COMPLETIONS.get((reference, params.argument.name), _complete_nothing)
    try:
        values = await complete(params.argument.value, context.lifespan_context.studio)
    except DrawThingsError:
        # Somebody is typing: that a server is away is said when it is needed.
        values = []
    completion = Completion(values=values[:MAX_VALUES], total=len(values), has_more=len(values) > MAX_VALUES)
    return CompleteResult(completion=completion)


async def _complete_nothing(_typed: str, _: Studio) -> list[str]:
    return []
