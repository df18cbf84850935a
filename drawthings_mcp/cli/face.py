"""How the shell names things."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from drawthings_mcp.faces import Face, variable

_OPTIONS: Mapping[str, str] = {
    "batch_count": "--variants",
    "canvas": "--canvas",
    "guidance_scale": "--guidance",
    "hints": "--control",
    "loras": "--lora",
    "mask": "--mask",
    "model": "--model",
    "moodboard": "--moodboard",
    "negative_prompt": "--negative",
    "preset": "--preset",
    "sampler": "--sampler",
    "seed": "--seed",
    "steps": "--steps",
    "strength": "--strength",
    "variants": "--variants",
}
"""Parameters and fields of a configuration that have an option of their own; other fields are keys of ``--config``."""

_SETTINGS = frozenset({"server", "tls", "ca_file", "shared_secret"})
"""Settings that are options as well."""


def _name(parameter: str) -> str:
    from drawthings_mcp.generation.configuration import list_app_keys

    if parameter in _OPTIONS:
        return _OPTIONS[parameter]
    if parameter in _SETTINGS:
        return _option(parameter)
    keys = {name: key for key, name in list_app_keys().items()}
    return keys.get(parameter, parameter)


def _option(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _run(command: str, *arguments: object, **options: Any) -> str:
    words = [command, *(shlex.quote(str(argument)) for argument in arguments if argument)]
    words += [f"--{name} {shlex.quote(str(value))}" for name, value in options.items() if value]
    return f"run `drawthings-mcp {' '.join(words)}`"


def _set(facts: Mapping[str, Any]) -> str:
    setting, value = facts["setting"], facts.get("value")
    given = f"{variable(setting)}={value}" if value is not None else f"{variable(setting)} to another value"
    if setting not in _SETTINGS:
        return f"set {given}"
    option = _option(setting)
    return f"use {option} {value} or set {given}" if value is not None else f"use {option} or set {variable(setting)}"


SHELL = Face(
    name=_name,
    phrases={
        "allow_folder": lambda facts: f"add {facts['folder']} to {variable('input_dirs')}",
        "download": lambda facts: f"download {facts.get('what', 'it')} in Draw Things",
        "generate": "run `drawthings-mcp generate`",
        "list_models": lambda facts: _run("models", kind=facts.get("kind"), query=facts.get("query")),
        "review": "open the files",
        "search": lambda facts: _run("search", facts.get("query")),
        "set": _set,
        "start_server": (
            "start Draw Things and switch its API server on (Advanced settings → API Server, protocol gRPC, "
            "port 7859 by default)"
        ),
        "switch_off_compression": (
            "switch Response Compression off in Draw Things (stand-alone server: --no-response-compression)"
        ),
        "switch_on_browsing": (
            "switch on Enable Model Browsing in Draw Things (Advanced settings → API Server), or start the stand-alone "
            "server with --model-browser"
        ),
        "update_server": "update Draw Things",
    },
)
