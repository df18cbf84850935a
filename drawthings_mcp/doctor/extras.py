"""Questions about what the user added: presets, folders to read and to search, endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from drawthings_mcp.doctor.finding import Verdict, blame, ok, warning
from drawthings_mcp.doctor.machine import Check
from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.presets.collection import read_presets
from drawthings_mcp.settings import Settings
from drawthings_mcp.web.endpoint import Endpoint, get_json

_PATIENCE = 5.0
"""Seconds in which an endpoint has to list its models."""


def check_presets(settings: Settings) -> Verdict:
    """Whether the user's presets can be read."""
    presets = read_presets(settings.custom_configs, settings.state_dir)
    own = [preset.name for preset in presets.presets if preset.is_own]
    if presets.problems:
        return warning(
            " ".join(presets.problems),
            "Mend the file, name another as DRAWTHINGS_CUSTOM_CONFIGS, or set that to none.",
        )
    if not own:
        return ok("none of your own; those you save in the app, or in the presets folder, are found by name")
    return ok(f"{len(own)} of your own, {len(presets.presets) - len(own)} built in")


def check_folders(settings: Settings) -> Verdict:
    """Whether the folders to read pictures from and to search are there."""
    named = {"DRAWTHINGS_INPUT_DIRS": settings.input_dirs, "DRAWTHINGS_SEARCH_DIRS": settings.search_dirs}
    missing = [f"{folder} ({name})" for name, folders in named.items() for folder in folders if not folder.is_dir()]
    if missing:
        return warning(f"not there: {', '.join(missing)}", "Correct the setting, or connect the disk.")
    searched = ", ".join(map(str, settings.search_dirs)) or "the output folder only"
    return ok(f"pictures are read from {', '.join(map(str, settings.input_dirs))}; searched: {searched}")


async def check_endpoint(url: str, model: str, key: str, purpose: str) -> Verdict:
    """Whether an endpoint serves, and has the model that was named.

    Parameters
    ----------
    purpose
        What it is for, when there is none.
    """
    if not url:
        return ok(f"none is set; {purpose}")
    try:
        reply = await get_json(Endpoint(url, model, key), "models", timeout=_PATIENCE)
    except DrawThingsError as error:
        # Nothing fails without it.
        return replace(blame(error, "Start it, or correct the address."), status="warning")
    rows = reply.get("data") if isinstance(reply, dict) else None
    names = [str(row.get("id")) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if model and model not in names:
        return warning(f"it serves, but does not list {model}; it has: {', '.join(names) or 'none'}", "Load it there.")
    return ok(f"it serves {', '.join(names) or 'no model yet'}")


async def check_endpoints(settings: Settings) -> Mapping[str, Verdict]:
    """Both endpoints that can be set."""
    vision = settings.vision_url, settings.vision_model, settings.vision_key.get_secret_value()
    embedding = settings.embedding_url, settings.embedding_model, settings.embedding_key.get_secret_value()
    return {
        "vision endpoint": await check_endpoint(*vision, "pictures are not described to models that cannot see them"),
        "embeddings": await check_endpoint(*embedding, "search goes by words and looks"),
    }


EXTRA_CHECKS: Mapping[str, Check] = {"presets": check_presets, "folders": check_folders}
