"""How MCP names things: for the model that called a tool, and for the user whom it can ask."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from drawthings_mcp.faces import Face, variable, write_into_table

_NAMES: Mapping[str, str] = {"hints": "controls", "batch_count": "variants", "refiner_model": "refinerModel"}
_ARGUMENTS = frozenset({"guidance_scale", "model", "negative_prompt", "sampler", "seed", "steps", "strength"})
"""Fields of a configuration that are arguments of their own."""
_SERVER_SETTINGS = frozenset({"server", "tls", "ca_file", "shared_secret"})
"""Options of a client that only the user can set."""


def _name(parameter: str) -> str:
    if parameter in _NAMES or parameter in _ARGUMENTS:
        return _NAMES.get(parameter, parameter)
    if parameter in _SERVER_SETTINGS:
        return variable(parameter)
    from drawthings_mcp.generation.configuration import list_app_keys

    keys = {name: key for key, name in list_app_keys().items()}
    return keys.get(parameter, parameter)


def _call(tool: str, **arguments: Any) -> str:
    given = {name: json.dumps(value, ensure_ascii=False) for name, value in arguments.items() if value}
    shown = ", ".join(f"{name}={value}" for name, value in given.items())
    return f"call {tool}({shown})" if shown else f"call {tool}"


def _set(facts: Mapping[str, Any]) -> str:
    name, value = variable(facts["setting"]), facts.get("value")
    if table := write_into_table(facts):
        return f"ask the user to {table}"
    return (
        f"ask the user to set {name}={value}" if value is not None else f"ask the user to set {name} to another value"
    )


MCP = Face(
    name=_name,
    quotes=True,
    phrases={
        "accept_server": "ask the user to have the doctor discover servers, which says what to add to config.toml",
        "allow_folder": lambda facts: f"ask the user to add {facts['folder']} to {variable('input_dirs')}",
        "download": lambda facts: f"ask the user to download {facts.get('what', 'it')} in Draw Things",
        "generate": "call generate_image",
        "list_models": lambda facts: _call("list_models", kind=facts.get("kind"), query=facts.get("query")),
        "review": lambda facts: _call("review_image", images=facts.get("images")),
        "search": lambda facts: _call("search_images", query=facts.get("query")),
        "set": _set,
        "start_server": (
            "ask the user to start Draw Things and switch its API server on (Advanced settings → API Server, protocol "
            "gRPC, port 7859 by default)"
        ),
        "switch_off_compression": (
            "ask the user to switch Response Compression off in Draw Things "
            "(stand-alone server: --no-response-compression)"
        ),
        "switch_on_browsing": (
            "ask the user to switch on Enable Model Browsing in Draw Things (Advanced settings → API Server; "
            "stand-alone server: --model-browser)"
        ),
        "update_server": "ask the user to update Draw Things",
        "upscale": 'call transform_image(operation="upscale")',
    },
)
