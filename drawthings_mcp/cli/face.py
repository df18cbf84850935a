"""How the shell names things."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from drawthings_mcp.faces import PYTHON, Face, variable, write_into_table

SPELLINGS: Mapping[str, str] = {
    "batch_count": "--variants",
    "configuration": "--config",
    "guidance_scale": "--guidance",
    "hints": "--control",
    "image_format": "--format",
    "long_edge": "--long-edge",
    "loras": "--lora",
    "negative_prompt": "--negative",
    "offset": "--offset",
}
"""Options that are spelt differently from the parameter or field that they stand for."""

_SETTINGS = frozenset({"server", "tls", "ca_file", "shared_secret"})
"""Settings that are options as well."""
_NO_OPTIONS = frozenset({"prompt", "width", "height"})


def _name(parameter: str) -> str:
    """An option, or else a key of ``--config``."""
    from drawthings_mcp.generation.configuration import list_app_keys
    from drawthings_mcp.params import GenerateParams

    if parameter in SPELLINGS:
        return SPELLINGS[parameter]
    if parameter in _SETTINGS or (parameter in GenerateParams.model_fields and parameter not in _NO_OPTIONS):
        return _option(parameter)
    return {name: key for key, name in list_app_keys().items()}.get(parameter, parameter)


def _option(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _run(command: str, *arguments: object, **options: Any) -> str:
    words = [command, *(shlex.quote(str(argument)) for argument in arguments if argument)]
    words += [f"--{name} {shlex.quote(str(value))}" for name, value in options.items() if value]
    return f"run `drawthings-mcp {' '.join(words)}`"


def _set(facts: Mapping[str, Any]) -> str:
    setting, value = facts["setting"], facts.get("value")
    if table := write_into_table(facts):
        return table
    given = f"{variable(setting)}={value}" if value is not None else f"{variable(setting)} to another value"
    if setting not in _SETTINGS:
        return f"set {given}"
    option = _option(setting)
    return f"use {option} {value} or set {given}" if value is not None else f"use {option} or set {variable(setting)}"


SHELL = Face(
    name=_name,
    phrases={
        **PYTHON.phrases,
        "accept_server": "run `drawthings-mcp doctor --discover`",
        "generate": "run `drawthings-mcp generate`",
        "list_models": lambda facts: _run("models", kind=facts.get("kind"), query=facts.get("query")),
        "search": lambda facts: _run("search", facts.get("query")),
        "set": _set,
        "upscale": "run `drawthings-mcp upscale`",
    },
)
