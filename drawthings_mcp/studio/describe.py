"""Plans and pictures in a few words, for a model or a person."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from drawthings_mcp.faces import Face
from drawthings_mcp.studio.results import list_sources

if TYPE_CHECKING:
    from drawthings_mcp.library.records import ImageRecord
    from drawthings_mcp.planning.compose import Plan

_MAX_PROMPT = 60


def describe_plan(plan: Plan, face: Face) -> str:
    """Every setting of a call, one line for each place where settings came from, the app's defaults last."""
    size, rendered_size = (plan.size.width, plan.size.height), plan.size.rendered
    rendered = "" if size == rendered_size else f", rendered at {_join(rendered_size)} and cropped"
    family = f", {plan.family}" if plan.family else ""
    negative_prompt = plan.requests[0].negative_prompt
    return "\n".join(
        [
            "dry run: nothing was rendered",
            f"{plan.mode} with {plan.model.file} ({plan.model.name}{family}); preset {plan.preset or 'none'}",
            f"size {_join(size)}{rendered}; sampler {plan.configuration.sampler.display_name}",
            *([f"negative prompt: {negative_prompt}"] if negative_prompt else []),
            *_describe_settings(plan),
            *(f"note: {face.word(note)}" for note in plan.notes),
        ]
    )


def _describe_settings(plan: Plan) -> list[str]:
    by_origin: dict[str, list[str]] = {}
    for key, value, origin in plan.list_settings():
        by_origin.setdefault(origin, []).append(f"{key} {json.dumps(value, ensure_ascii=False)}")
    defaults = by_origin.pop("default", [])
    lines = [f"{origin}: {', '.join(settings)}" for origin, settings in by_origin.items()]
    return [*lines, f"default: {', '.join(defaults)}"]


def _join(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def describe_origin(record: ImageRecord) -> str:
    """How a picture came about: ``"make it night" seed 7 from canvas v2``; empty when nothing is known."""
    prompt = " ".join(record.prompt.split())
    shown = prompt if len(prompt) <= _MAX_PROMPT else f"{prompt[: _MAX_PROMPT - 1]}…"
    sources = list_sources(record.parents)
    parts = (
        f'"{shown}"' if shown else "",
        f"seed {record.seed}" if record.seed is not None else "",
        f"from {', '.join(sources)}" if sources else "",
    )
    return " ".join(filter(None, parts))
