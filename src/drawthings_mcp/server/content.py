"""Results as content blocks: one text block first, then the pictures in the same order."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import partial

import anyio.to_thread
from mcp.types import CallToolResult, ImageContent, TextContent

from drawthings_mcp.attachments import (
    Candidate,
    Ledger,
    Policy,
    Preview,
    PreviewMode,
    count_result,
    describe_budget,
    plan,
)
from drawthings_mcp.studio import GenerationResult, SavedVariant, load_room

MAX_TEXT = 800
"""Characters of the text block of a generation (contract §5)."""

_RESERVED = count_result('"' * MAX_TEXT)
"""Characters that are kept free of pictures: the longest text there is, were each of its characters to be escaped."""


async def build_generation_result(result: GenerationResult, preview: PreviewMode) -> CallToolResult:
    """The answer of ``generate_image``.

    Parameters
    ----------
    preview
        ``never`` leaves the pictures out; ``auto`` and ``always`` attach what the budget allows.
    """
    policy = Policy().with_preview(preview)
    pictures = {variant.id or variant.path.stem: variant for variant in result.variants}
    candidates = [Candidate(name, variant.size) for name, variant in pictures.items()]
    planned = plan((), candidates, Ledger(), policy)
    paths = {name: variant.path for name, variant in pictures.items()}
    room = await load_room("attachments.encoding")
    encode = partial(room.encode, planned, paths, policy, reserved_characters=_RESERVED)
    shown, attachments = await anyio.to_thread.run_sync(encode)
    text = TextContent(text=describe_generation(result, describe_budget(shown, policy)))
    return CallToolResult(content=[text, *(_image(attachment.preview) for attachment in attachments)])


def describe_generation(result: GenerationResult, budget: str) -> str:
    """What a model reads: files first, then what was shown, then how they came about.

    At most ``MAX_TEXT`` characters: what does not fit is left out, the most useful being first.

    Parameters
    ----------
    budget
        What became of the pictures.
    """
    family = f", {result.family}" if result.family else ""
    lines = [
        *_describe_files(result.variants),
        budget,
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


def _image(preview: Preview) -> ImageContent:
    return ImageContent(data=base64.b64encode(preview.data).decode(), mime_type=preview.mime_type)
