"""Stability Matrix' texts: settings in ``parameters-json``, its project in ``smproj`` (formats §4.9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drawthings_mcp.metadata.a1111 import join_sampler, parse_a1111
from drawthings_mcp.metadata.comfyui import parse_comfyui
from drawthings_mcp.metadata.dialect import (
    ImageMetadata,
    ImageTags,
    complete_metadata,
    find_object,
    find_text,
    parse_object,
    pick_fields,
)

_SETTINGS, _PROJECT = "parameters-json", "smproj"


def parse_stability_matrix(tags: ImageTags) -> ImageMetadata | None:
    """What its settings say, completed by its project, A1111's text and the graph; None without the first two."""
    if not {_SETTINGS, _PROJECT} & tags.texts.keys():
        return None
    found = ImageMetadata("stability-matrix", software="Stability Matrix")
    for other in (_parse_settings(tags), _parse_project(tags), parse_a1111(tags), parse_comfyui(tags)):
        found = complete_metadata(found, other)
    return found


def _parse_settings(tags: ImageTags) -> ImageMetadata | None:
    data = {key.lower(): value for key, value in (parse_object(tags.texts.get(_SETTINGS, "")) or {}).items()}
    # A number that is not there is written as 0.
    data = {key: value for key, value in data.items() if value or key == "seed"}
    return ImageMetadata(
        "",
        **pick_fields(data, prompt="positiveprompt", negative_prompt="negativeprompt", model="modelname"),
        **pick_fields(data, seed="seed", steps="steps", guidance_scale="cfgscale", sampler="sampler"),
    )


def _parse_project(tags: ImageTags) -> ImageMetadata | None:
    state = find_object((parse_object(tags.texts.get(_PROJECT, "")) or {}).get("State"))
    sampling = find_object(state.get("Sampler"))
    return ImageMetadata(
        "",
        sampler=join_sampler(*(_find_name(sampling, key) for key in ("SelectedSampler", "SelectedScheduler"))),
        **pick_fields(find_object(state.get("Prompt")), prompt="Prompt", negative_prompt="NegativePrompt"),
        **pick_fields(find_object(state.get("Model")), model="SelectedModelName"),
        **pick_fields(find_object(state.get("Seed")), seed="Seed"),
        **pick_fields(sampling, steps="Steps", guidance_scale="CfgScale"),
    )


def _find_name(sampling: Mapping[str, Any], key: str) -> str:
    return find_text(find_object(sampling.get(key)).get("Name"))
