"""Fooocus' ``parameters``: JSON of its own, or the text of A1111 with a little more (formats §4.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from drawthings_mcp.metadata.a1111 import join_sampler, parse_pairs, parse_parameters
from drawthings_mcp.metadata.dialect import (
    FOOOCUS_SCHEME,
    ImageMetadata,
    ImageTags,
    find_float,
    find_list,
    find_text,
    parse_object,
    pick_fields,
)

_MARK = "base_model"
_COMBINED = "lora_combined_"
"""Older versions write one ``name : weight`` per key."""


def parse_fooocus(tags: ImageTags) -> ImageMetadata | None:
    """What either scheme says; None for anything else."""
    scheme, text = tags.texts.get(FOOOCUS_SCHEME, ""), tags.parameters
    if scheme == "a1111":
        return _parse_a1111(text)
    data = parse_object(text) if scheme or f'"{_MARK}"' in text else None
    return _build_metadata(data) if data and (scheme or _MARK in data) else None


def _parse_a1111(text: str) -> ImageMetadata | None:
    found = parse_parameters(text)
    if found is None:
        return None
    values = parse_pairs(text.splitlines()[-1])
    return replace(
        found,
        dialect="fooocus",
        prompt=values.get("raw prompt", found.prompt),
        negative_prompt=values.get("raw negative prompt", found.negative_prompt),
        software=values.get("version", "Fooocus"),
    )


def _build_metadata(data: Mapping[str, Any]) -> ImageMetadata:
    return ImageMetadata(
        dialect="fooocus",
        prompt=find_text(data.get("prompt")) or _join(data.get("full_prompt")),
        negative_prompt=find_text(data.get("negative_prompt")) or _join(data.get("full_negative_prompt")),
        loras=tuple(_list_loras(data)),
        sampler=join_sampler(find_text(data.get("sampler")), find_text(data.get("scheduler"))),
        software=find_text(data.get("version")) or "Fooocus",
        **pick_fields(data, model=_MARK, seed="seed", steps="steps", guidance_scale="guidance_scale"),
    )


def _join(value: Any) -> str:
    return "\n".join(part for part in find_list(value) if isinstance(part, str)) or find_text(value)


def _list_loras(data: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    combined = [find_text(value).rpartition(" : ") for key, value in data.items() if key.startswith(_COMBINED)]
    items = [item for item in find_list(data.get("loras")) if isinstance(item, list) and len(item) >= 2]
    pairs = [*((item[0], item[1]) for item in items), *((name, weight) for name, _, weight in combined)]
    named = {name: find_float(weight) for name, weight in pairs if isinstance(name, str) and name not in ("", "None")}
    return list(named.items())
