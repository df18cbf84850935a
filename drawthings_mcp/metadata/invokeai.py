"""InvokeAI's texts: ``invokeai_metadata`` since version 3, ``sd-metadata`` and ``Dream`` before (formats §4.4)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from drawthings_mcp.metadata.dialect import (
    ImageMetadata,
    ImageTags,
    find_float,
    find_list,
    find_object,
    find_text,
    parse_object,
    pick_fields,
)

_NAMES = ("name", "model_name")
"""Of a model: since version 4, and in 3."""
_NUMBERS = {"seed": "seed", "steps": "steps", "guidance_scale": "cfg_scale", "strength": "strength"}
_NEGATIVE = re.compile(r"\[([^\[\]]*)\]")
_MAX_DREAM = 100_000
_OPTIONS: Mapping[str, str] = {"-s": "steps", "-S": "seed", "-C": "cfg_scale", "-A": "sampler", "-f": "strength"}


def parse_invokeai(tags: ImageTags) -> ImageMetadata | None:
    """What any of the three texts says; None when there is none."""
    if data := parse_object(tags.texts.get("invokeai_metadata", "")):
        return _build_metadata(data)
    if data := parse_object(tags.texts.get("sd-metadata", "")):
        return _build_old(data)
    return _parse_dream(tags.texts.get("Dream", ""))


def _build_metadata(data: Mapping[str, Any]) -> ImageMetadata:
    version = find_text(data.get("app_version"))
    return ImageMetadata(
        dialect="invokeai",
        model=_find_name(data.get("model")),
        loras=tuple(_list_loras(data.get("loras"))),
        software=f"InvokeAI {version}".strip(),
        **pick_fields(data, prompt="positive_prompt", negative_prompt="negative_prompt", sampler="scheduler"),
        **pick_fields(data, **_NUMBERS),
    )


def _find_name(model: Any) -> str:
    if isinstance(model, str):
        return model
    found = find_object(model)
    return next((find_text(found[key]) for key in _NAMES if key in found), "")


def _list_loras(items: Any) -> list[tuple[str, float | None]]:
    loras = [find_object(item) for item in find_list(items)]
    named = [(_find_name(lora.get("model") or lora.get("lora")), find_float(lora.get("weight"))) for lora in loras]
    return [(name, weight) for name, weight in named if name]


def _build_old(data: Mapping[str, Any]) -> ImageMetadata:
    image = find_object(data.get("image"))
    prompt = image.get("prompt")
    parts = [find_text(find_object(part).get("prompt")) for part in find_list(prompt)]
    return _divide(
        find_text(prompt) or ", ".join(filter(None, parts)),
        {**image, "model": find_text(data.get("model_weights"))},
    )


def _parse_dream(text: str) -> ImageMetadata | None:
    """What a command line says: ``"prompt [negative]" -s 20 -S 1 …``."""
    if not text or len(text) > _MAX_DREAM:
        return None
    try:
        prompt, *words = shlex.split(text)
    except ValueError:
        return None
    options = {word[:2]: word[2:] or following for word, following in zip(words, [*words[1:], ""], strict=True)}
    return _divide(prompt, {_OPTIONS[flag]: value for flag, value in options.items() if flag in _OPTIONS})


def _divide(prompt: str, values: Mapping[str, Any]) -> ImageMetadata:
    """The metadata of a version that wrote both prompts as one, the negative one in brackets."""
    return ImageMetadata(
        dialect="invokeai",
        prompt=" ".join(_NEGATIVE.sub("", prompt).split()),
        negative_prompt=", ".join(part.strip() for part in _NEGATIVE.findall(prompt)),
        software="InvokeAI",
        **pick_fields(values, model="model", sampler="sampler", **_NUMBERS),
    )
