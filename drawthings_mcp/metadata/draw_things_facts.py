"""Draw Things' dialect as facts: what an index needs, without the complete configuration that ``draw_things`` builds.

Checking eighty values takes three times as long as everything else that is done with a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from drawthings_mcp.generation import SamplerType
from drawthings_mcp.generation.app_json import MAX_FLOAT32, shorten_float32
from drawthings_mcp.limits import MAX_SEED
from drawthings_mcp.metadata.clues import Clues
from drawthings_mcp.metadata.draw_things import RECORD_KEY, SOFTWARE, parse_metadata
from drawthings_mcp.metadata.draw_things_text import parse_text
from drawthings_mcp.metadata.facts import ImageFacts
from drawthings_mcp.metadata.json_values import (
    find_float,
    find_int,
    find_list,
    find_moment,
    find_object,
    find_text,
    parse_object,
)

_MEDIA_ID = re.compile(r"[avpi][1-9]\d{0,15}")
_ID_KEYS = ("media_id", "id")


def parse_xmp_comment(clues: Clues) -> ImageFacts | None:
    """The facts in the JSON that the app writes into XMP."""
    return _parse_comment(clues.packet.comment, clues)


def parse_exif_comment(clues: Clues) -> ImageFacts | None:
    """The same from EXIF's UserComment, where other programs put it."""
    return _parse_comment(clues.user_comment, clues)


def parse_description(clues: Clues) -> ImageFacts | None:
    """The facts in the text for people, the last resort."""
    raw = parse_text(clues.packet.description) if clues.packet.description else None
    return None if raw is None else _build_facts(raw, clues)


def _parse_comment(text: str, clues: Clues) -> ImageFacts | None:
    raw = parse_object(text)
    return _build_facts(raw, clues) if raw is not None and isinstance(raw.get("c"), str) else None


def _build_facts(raw: Mapping[str, Any], clues: Clues) -> ImageFacts:
    complete, record = find_object(raw.get("v2")), find_object(raw.get(RECORD_KEY))
    # The short keys tell what was rendered (formats §3.5).
    told = {**{short: complete.get(key) for short, key in _LONG_NAMES.items()}, **raw}
    return ImageFacts(
        dialect="draw-things",
        width=0,
        height=0,
        prompt=raw["c"],
        negative_prompt=find_text(told.get("uc")),
        model=find_text(told["model"]),
        loras=tuple(_list_loras(told.get("lora")) or _list_loras(complete.get("loras"))),
        seed=_find_seed(told["seed"]),
        steps=find_int(told["steps"]),
        guidance_scale=_find_single(told["scale"]),
        sampler=_find_sampler(told["sampler"]),
        strength=_find_single(told["strength"]),
        created=find_moment(record.get("created")),
        software=clues.packet.software or SOFTWARE,
        media_id=_find_media_id(record),
        configuration=complete or _complete(raw),
    )


_LONG_NAMES = {
    **{name: name for name in ("model", "seed", "steps", "strength", "sampler")},
    "scale": "guidanceScale",
}
"""Short key → key of the complete object."""


def _find_seed(value: Any) -> int | None:
    seed = find_int(value)
    return seed if seed is not None and 0 <= seed <= MAX_SEED else None


def _find_single(value: Any) -> float | None:
    """A number as somebody chose it: 0.6 for the 0.6000000238418579 that is stored."""
    number = find_float(value)
    return number if number is None or abs(number) > MAX_FLOAT32 else shorten_float32(number)


def _find_sampler(value: Any) -> str:
    is_number = isinstance(value, int) and value in SamplerType.__members__.values()
    return SamplerType(value).display_name if is_number else find_text(value)


def _list_loras(items: Any) -> list[tuple[str, float | None]]:
    loras = [item for item in find_list(items) if isinstance(item, dict)]
    named = [(find_text(lora.get("model") or lora.get("file")), _find_single(lora.get("weight"))) for lora in loras]
    return [(name, weight) for name, weight in named if name]


def _find_media_id(record: Mapping[str, Any]) -> str:
    ids = (find_text(record.get(key)) for key in _ID_KEYS)
    return next((found for found in ids if _MEDIA_ID.fullmatch(found)), "")


def _complete(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The complete object for a picture of an older app, which wrote the short keys only."""
    configuration = parse_metadata(raw).configuration
    return configuration.to_app_json() if configuration else {}
