"""What a call would do, as text for a model or a person."""

from __future__ import annotations

import json
from typing import Any

from drawthings_mcp.studio.results import DryRun


def describe_dry_run(run: DryRun) -> str:
    """Every setting of a call, one line for each place where settings came from, the app's defaults last."""
    rendered = "" if run.size == run.rendered_size else f", rendered at {_join(run.rendered_size)} and cropped"
    family = f", {run.family}" if run.family else ""
    return "\n".join(
        [
            "dry run: nothing was rendered",
            f"{run.mode} with {run.model_file} ({run.model_name}{family}); preset {run.preset or 'none'}",
            f"size {_join(run.size)}{rendered}; sampler {run.sampler}",
            *([f"negative prompt: {run.negative_prompt}"] if run.negative_prompt else []),
            *_describe_settings(run),
            *(f"note: {note}" for note in run.notes),
        ]
    )


def _describe_settings(run: DryRun) -> list[str]:
    by_origin: dict[str, list[str]] = {}
    for key, value, origin in run.settings:
        by_origin.setdefault(origin, []).append(f"{key} {_show(value)}")
    defaults = by_origin.pop("default", [])
    lines = [f"{origin}: {', '.join(settings)}" for origin, settings in by_origin.items()]
    return [*lines, f"default: {', '.join(defaults)}"]


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _join(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
