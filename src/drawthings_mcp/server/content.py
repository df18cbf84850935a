"""Results as content blocks: one text block first, then the pictures in the same order."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread
from mcp.types import CallToolResult, ImageContent, TextContent

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.studio import DryRun, GenerationResult, SavedVariant, describe_dry_run, load_room

if TYPE_CHECKING:
    from drawthings_mcp.attachments import Attachment, Policy, Preview

MAX_TEXT = 800
"""Characters of the text block of a generation (contract §5)."""

_ENVELOPE = 2_000
"""Characters that are kept free for the text and the JSON around the pictures, within the cap of a result."""


async def build_generation_result(result: GenerationResult, preview: str) -> CallToolResult:
    """The answer of ``generate_image``.

    Parameters
    ----------
    preview
        ``never`` leaves the pictures out; ``auto`` and ``always`` attach what the budget allows.
    """
    room = await load_room("attachments")
    policy: Policy = room.Policy()
    attachments: list[Attachment] = []
    if preview != "never":
        originals = [(variant.id or variant.path.stem, variant.path) for variant in result.variants]
        attach = partial(room.attach_outputs, originals, policy, reserved_characters=_ENVELOPE)
        try:
            attachments = await anyio.to_thread.run_sync(attach)
        except DrawThingsError as error:
            # The pictures are made and saved; a preview that fails must not hide where they are.
            result = replace(result, notes=(*result.notes, f"no previews: {error}"))
    text = TextContent(text=describe_generation(result, attachments, policy.max_outputs))
    return CallToolResult(content=[text, *(_image(attachment.preview) for attachment in attachments)])


def build_dry_run(run: DryRun) -> CallToolResult:
    """The answer of ``generate_image`` with ``dry_run``: a line per setting that something set, then the defaults."""
    return CallToolResult(content=[TextContent(text=describe_dry_run(run))])


def describe_generation(result: GenerationResult, attachments: Sequence[Attachment], places: int) -> str:
    """What a model reads: files first, then what was shown, then how they came about.

    At most ``MAX_TEXT`` characters: what does not fit is left out, the most useful being first.

    Parameters
    ----------
    places
        How many pictures a result may show.
    """
    family = f", {result.family}" if result.family else ""
    lines = [
        *_describe_files(result.variants),
        _describe_budget(attachments, places),
        f"{result.mode} with {result.model_file} ({result.model_name}{family}); preset {result.preset or 'none'}",
        f"{result.steps} steps, guidance {result.guidance_scale:g}, {result.sampler}",
        _describe_time(result),
        *(f"note: {note}" for note in result.notes),
    ]
    text = ""
    for line in lines:
        if len(text) + len(line) + 1 <= MAX_TEXT:
            text += f"{line}\n"
    return text.rstrip()


def _describe_files(variants: Sequence[SavedVariant]) -> list[str]:
    lines = [_describe_file(variant, str(variant.path)) for variant in variants]
    if len(variants) < 2 or sum(map(len, lines)) <= MAX_TEXT // 2:
        return lines
    return [f"in {variants[0].path.parent}:", *(_describe_file(variant, variant.path.name) for variant in variants)]


def _describe_file(variant: SavedVariant, name: str) -> str:
    width, height = variant.size
    return f"{variant.id or 'without id'}: {name} {width}×{height} seed {variant.seed}"


def _describe_time(result: GenerationResult) -> str:
    rendered = "×".join(map(str, result.rendered_size))
    cropped = "" if result.variants[0].size == result.rendered_size else f", rendered at {rendered} and cropped"
    simulated = " (simulated: no real model drew this)" if result.simulated else ""
    return f"{result.seconds:.1f} s on {result.server}{simulated}{cropped}"


def _describe_budget(attachments: Sequence[Attachment], places: int) -> str:
    if not attachments:
        return "shown: none; open the files to see them"
    shown = [f"sheet of {' '.join(a.ids)}" if len(a.ids) > 1 else a.ids[0] for a in attachments]
    return f"shown: outputs {', '.join(shown)} ({len(attachments)}/{places})"


def _image(preview: Preview) -> ImageContent:
    return ImageContent(data=base64.b64encode(preview.data).decode(), mime_type=preview.mime_type)
