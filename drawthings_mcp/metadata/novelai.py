"""NovelAI's texts: settings as JSON in ``Comment``, the prompt in ``Description`` (formats §4.8)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from drawthings_mcp.metadata.a1111 import join_sampler
from drawthings_mcp.metadata.containers.bounded import COMMENT_KEYWORD
from drawthings_mcp.metadata.dialect import (
    ImageMetadata,
    ImageTags,
    find_list,
    find_object,
    find_text,
    parse_object,
    pick_fields,
)
from drawthings_mcp.metadata.exif import SOFTWARE

_NAME = "NovelAI"
_HASH = re.compile(r"\s+[0-9A-F]{8}$")
"""Behind the model's name in ``Source``."""


def parse_novelai(tags: ImageTags) -> ImageMetadata | None:
    """What the texts of a PNG say, or the same texts as one object in EXIF's UserComment; None for anything else."""
    texts = tags.texts if _is_own(tags.texts) else _parse_comment(tags)
    return _build_metadata(texts) if texts else None


def _is_own(texts: Mapping[str, Any]) -> bool:
    return any(find_text(texts.get(key)).startswith(_NAME) for key in ("Software", "Source"))


def _parse_comment(tags: ImageTags) -> Mapping[str, Any]:
    is_own = tags.exif.get_text(SOFTWARE).startswith(_NAME)
    if not is_own and _NAME not in tags.user_comment:
        return {}
    texts = parse_object(tags.user_comment) or {}
    if is_own and texts and COMMENT_KEYWORD not in texts:
        return {COMMENT_KEYWORD: tags.user_comment, "Source": tags.exif.get_text(SOFTWARE)}
    return texts if _is_own(texts) else {}


def _build_metadata(texts: Mapping[str, Any]) -> ImageMetadata:
    data = parse_object(find_text(texts.get(COMMENT_KEYWORD))) or {}
    return ImageMetadata(
        dialect="novelai",
        prompt=_read_prompt(data, "v4_prompt")
        or find_text(data.get("prompt"))
        or find_text(texts.get("Description")).strip("\0"),
        negative_prompt=_read_prompt(data, "v4_negative_prompt") or find_text(data.get("uc")),
        model=_HASH.sub("", find_text(texts.get("Source"))),
        sampler=join_sampler(find_text(data.get("sampler")), find_text(data.get("noise_schedule"))),
        software=_NAME,
        **pick_fields(data, seed="seed", steps="steps", guidance_scale="scale", strength="strength"),
    )


def _read_prompt(data: Mapping[str, Any], key: str) -> str:
    """The prompt of version 4, followed by those of its characters."""
    caption = find_object(find_object(data.get(key)).get("caption"))
    return "\n".join(filter(None, (find_text(caption.get("base_caption")), *_list_characters(caption))))


def _list_characters(caption: Mapping[str, Any]) -> Iterator[str]:
    return (find_text(find_object(item).get("char_caption")) for item in find_list(caption.get("char_captions")))
