"""RuinedFooocus' JSON in ``parameters`` (formats §4.7)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from drawthings_mcp.metadata.a1111 import join_sampler
from drawthings_mcp.metadata.dialect import (
    ImageMetadata,
    ImageTags,
    find_float,
    find_list,
    find_text,
    parse_object,
    pick_fields,
)

_NAME = "RuinedFooocus"
_TAG = re.compile(r"<([^<>]{1,200}):([^<>:]{0,40})>")
"""A LoRA of older versions, which joined all of them to one text."""


def parse_ruined_fooocus(tags: ImageTags) -> ImageMetadata | None:
    """What the JSON says; None for anything else."""
    data = parse_object(tags.parameters) if _NAME in tags.parameters else None
    return _build_metadata(data) if data and data.get("software") == _NAME else None


def _build_metadata(data: Mapping[str, Any]) -> ImageMetadata:
    schedule = find_text(data.get("scheduler"))
    return ImageMetadata(
        dialect="ruined-fooocus",
        prompt=find_text(data.get("Prompt")) or find_text(data.get("prompt")),
        loras=tuple(_list_loras(data.get("loras"))),
        sampler=join_sampler(find_text(data.get("sampler_name")), "" if schedule == "simple" else schedule),
        software=_NAME,
        **pick_fields(data, negative_prompt="Negative", model="base_model_name", strength="denoise"),
        **pick_fields(data, seed="seed", steps="steps", guidance_scale="cfg"),
    )


def _list_loras(value: Any) -> Iterator[tuple[str, float | None]]:
    for name, weight in _TAG.findall(find_text(value)):
        yield name, find_float(weight)
    for item in find_list(value):
        # A hash, then weight and file as one text: "0.1 - offset.safetensors".
        text = find_text(item[1]) if isinstance(item, list) and len(item) > 1 else ""
        weight, _, file = text.partition(" - ")
        if file:
            yield file, find_float(weight)
