"""Civitai's JSON: settings next to the graph that its own generator executed, or alone (formats §4.10).

Its text ``Civitai resources: […]`` belongs to ``parameters`` and is read in ``a1111``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drawthings_mcp.metadata.a1111 import parse_resources
from drawthings_mcp.metadata.comfyui import parse_comfyui
from drawthings_mcp.metadata.dialect import ImageMetadata, ImageTags, complete_metadata, parse_object, pick_fields

_SETTINGS = "extraMetadata"
_OWN_KEYS = ("negativePrompt", "cfgScale", "civitaiResources")
_STACK = '"resource-stack"'
_SOFTWARE = "Civitai"


def parse_civitai(tags: ImageTags) -> ImageMetadata | None:
    """What its settings say, completed by its graph; None when there are no settings of this form."""
    comment = tags.comment
    data = parse_object(comment) if any(mark in comment for mark in (_SETTINGS, *_OWN_KEYS, _STACK)) else None
    settings = _find_settings(data or {}, tags)
    if settings is None:
        return None
    found = complete_metadata(ImageMetadata("civitai", software=_SOFTWARE), _build_metadata(settings))
    return complete_metadata(found, parse_comfyui(tags))


def _find_settings(data: Mapping[str, Any], tags: ImageTags) -> Mapping[str, Any] | None:
    """The settings in a comment, or in a text of their own; empty for a graph of Civitai's without any."""
    extra = data.get(_SETTINGS) or tags.texts.get(_SETTINGS)
    if isinstance(extra, str):
        extra = parse_object(extra)
    if isinstance(extra, dict):
        return extra
    if isinstance(data.get("prompt"), str) and any(key in data for key in _OWN_KEYS):
        return data
    return {} if "resource-stack" in data else None


def _build_metadata(settings: Mapping[str, Any]) -> ImageMetadata:
    model, loras = parse_resources(settings.get("civitaiResources") or settings.get("resources"))
    named = pick_fields(settings, model="Model")["model"] or model or pick_fields(settings, model="baseModel")["model"]
    return ImageMetadata(
        "",
        model=named,
        loras=loras,
        **pick_fields(settings, prompt="prompt", negative_prompt="negativePrompt", sampler="sampler"),
        **pick_fields(settings, seed="seed", steps="steps", guidance_scale="cfgScale", strength="denoise"),
    )
