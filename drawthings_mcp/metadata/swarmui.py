"""SwarmUI's JSON in ``parameters`` (formats §4.5)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from drawthings_mcp.metadata.a1111 import join_sampler, take_loras
from drawthings_mcp.metadata.dialect import (
    ImageMetadata,
    ImageTags,
    find_float,
    find_moment,
    find_object,
    find_text,
    parse_object,
    pick_fields,
)

_MARK = "sui_image_params"
_OLD_PLACE = 0x0110
"""Older versions put the JSON into EXIF's Model."""


def parse_swarmui(tags: ImageTags) -> ImageMetadata | None:
    """What SwarmUI's JSON says; None for anything else."""
    texts = (tags.parameters, tags.exif.get_text(_OLD_PLACE))
    text = next((text for text in texts if _MARK in text), "")
    data = parse_object(text)
    return None if data is None or _MARK not in data else _build_metadata(data)


def _build_metadata(data: Mapping[str, Any]) -> ImageMetadata:
    values = find_object(data[_MARK])
    prompt, tagged = take_loras(find_text(values.get("prompt")))
    version = find_text(values.get("swarm_version"))
    return ImageMetadata(
        dialect="swarmui",
        prompt=prompt,
        loras=(*tagged, *_list_loras(values)),
        sampler=join_sampler(find_text(values.get("sampler")), find_text(values.get("scheduler"))),
        created=find_moment(find_object(data.get("sui_extra_data")).get("date")),
        software=f"SwarmUI {version}".strip(),
        **pick_fields(values, negative_prompt="negativeprompt", model="model", seed="seed", steps="steps"),
        **pick_fields(values, guidance_scale="cfgscale", strength="initimagecreativity"),
    )


def _list_loras(values: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    names, weights = _split(values.get("loras")), _split(values.get("loraweights"))
    pairs = zip_longest(names, weights[: len(names)])
    return [(name, find_float(weight)) for name, weight in pairs if isinstance(name, str) and name]


def _split(value: Any) -> list[Any]:
    """A list, or texts joined by commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return value if isinstance(value, list) else []
