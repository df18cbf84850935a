"""A configuration as the JSON object of the app: presets, clipboard, image metadata.

Keys are the configuration's field names in camelCase; sizes are pixels (formats §1.3). The object may be
partial: what it lacks keeps the app's default. Keys that are not the configuration's are ignored, as the app
does.
"""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.generation.configuration import ControlNetConfig, ImageGenerationConfig, LoRAConfig
from drawthings_mcp.generation.enums import (
    ColorCalibration,
    CompressionMethod,
    ControlInputType,
    ControlMode,
    LoRAMode,
)
from drawthings_mcp.limits import UNIT
from drawthings_mcp.validation import suggest

UNIT_SIZES = frozenset(
    (
        "width",
        "height",
        "hires_fix_width",
        "hires_fix_height",
        "decoding_tile_width",
        "decoding_tile_height",
        "decoding_tile_overlap",
        "diffusion_tile_width",
        "diffusion_tile_height",
        "diffusion_tile_overlap",
    )
)
"""Sizes that are counted in units of 64 pixels on the wire."""

_WORDS: Mapping[str, Mapping[enum.IntEnum, str]] = {
    "compression_artifacts": {m: m.name.lower() for m in CompressionMethod},
    "color_calibration": {ColorCalibration.Disabled: "none", ColorCalibration.Lab: "lab"},
    "mode": {m: m.name.lower() for m in LoRAMode},
    "control_mode": {m: m.name.lower() for m in ControlMode},
    "input_override": {
        m: {
            ControlInputType.Unspecified: "",
            ControlInputType.Normalbae: "normal bae",
            ControlInputType.Seg: "segmentation",
            ControlInputType.Ip2p: "instruct pix2pix",
            ControlInputType.Lowquality: "low quality",
        }.get(m, m.name.lower())
        for m in ControlInputType
    },
}
"""Enumerations that the app writes as words; all others are numbers."""


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _keys(model: type[Any], **renamed: str) -> dict[str, str]:
    return {renamed.get(name, _camel(name)): name for name in model.model_fields}


_CONTROL_KEYS = _keys(ControlNetConfig, control_mode="controlImportance")
_LORA_KEYS = _keys(LoRAConfig)
_KEYS = {
    key: name for key, name in _keys(ImageGenerationConfig).items() if name not in {"name", "causal_inference_enabled"}
}


_IGNORED_KEYS = frozenset({"id", "name", "version"})
"""Keys that the app writes or reads beside the settings."""


def list_app_keys() -> Mapping[str, str]:
    """The app's keys, each with the field of ``ImageGenerationConfig`` that it sets."""
    return _KEYS


def check_keys(data: Mapping[str, Any]) -> None:
    """Refuses keys that are not the app's, which would be ignored.

    Raises
    ------
    UnknownNameError
        Names the ones that look like it.
    """
    for key in data:
        if key not in _KEYS and key not in _IGNORED_KEYS:
            raise UnknownNameError(f"configuration: there is no key {key!r}.{suggest(key, _KEYS)}", name=key)


MAX_FLOAT32 = 3.4e38
"""Beyond this a number is no 32-bit float, and no sensible setting."""


def widen_float32(value: float) -> float:
    """The double that a 32-bit float widens to: the only form that the app reads back (formats §3.4)."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def shorten_float32(value: float) -> float:
    """The shortest decimal that is the same 32-bit float: what somebody chose, for ``widen_float32`` of it."""
    single = struct.pack("<f", value)
    # Nine digits tell one 32-bit float from another, but not a double near the middle between two.
    value = widen_float32(value)
    digits = next(d for d in range(1, 10) if struct.pack("<f", float(f"{value:.{d}g}")) == single)
    return float(f"{value:.{digits}g}")


def _build(value: Any, name: str) -> Any:
    if isinstance(value, enum.IntEnum):
        return _WORDS[name][value] if name in _WORDS else int(value)
    if isinstance(value, float):
        return widen_float32(value)
    return list(value) if isinstance(value, tuple) else value


def _parse_word(name: str, value: Any, key: str) -> Any:
    if not isinstance(value, str):
        return value
    words = {word: member for member, word in _WORDS[name].items()}
    if value.lower() not in words:
        allowed = ", ".join(repr(word) for word in words)
        raise InvalidInputError(f"{key}: must be one of {allowed}, got {value!r}.")
    return words[value.lower()]


def _parse(data: Any, keys: Mapping[str, str], what: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise InvalidInputError(f"{what} must be a JSON object, got {type(data).__name__}.")
    fields = {keys[key]: value for key, value in data.items() if key in keys and value is not None}
    return {
        name: _parse_word(name, value, _camel(name)) if name in _WORDS else _parse_number(value)
        for name, value in fields.items()
    }  # fmt: skip


def _parse_number(value: Any) -> Any:
    if not isinstance(value, float) or not abs(value) <= MAX_FLOAT32:
        return value
    return shorten_float32(value)


def _parse_list(data: Any, parse_one: Callable[[Any], Any], key: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise InvalidInputError(f"{key} must be a list, got {type(data).__name__}.")
    return tuple(parse_one(item) for item in data)


def parse_app_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that an app JSON object sets, ready for ``ImageGenerationConfig(**fields)``.

    Sizes are floored to multiples of 64, as the app does. ``null`` counts as absent.

    Raises
    ------
    InvalidInputError
        The value is not an object, or a nested value has the wrong form.
    """
    fields = _parse(data, _KEYS, "A configuration")
    for name in UNIT_SIZES & fields.keys():
        if isinstance(fields[name], int | float) and math.isfinite(fields[name]):
            fields[name] = int(fields[name]) // UNIT * UNIT
    if "loras" in fields:
        fields["loras"] = _parse_list(
            fields["loras"], lambda item: LoRAConfig(**_parse(item, _LORA_KEYS, "A LoRA")), "loras"
        )
    if "controls" in fields:
        fields["controls"] = _parse_list(
            fields["controls"],
            lambda item: ControlNetConfig(**_parse(item, _CONTROL_KEYS, "A control")),
            "controls",
        )
    if isinstance(fields.get("seed"), int) and fields["seed"] < 0:
        fields["seed"] = -1
    if "causal_inference" in fields:
        fields["causal_inference_enabled"] = bool(fields["causal_inference"])
        if not fields["causal_inference"]:
            del fields["causal_inference"]  # 0 says "off", not how many frames there would be
    return fields


def build_app_json(configuration: ImageGenerationConfig) -> dict[str, Any]:
    """The complete object, floats as exact 32-bit floats."""
    data = {key: _build(getattr(configuration, name), name) for key, name in _KEYS.items()}
    data["loras"] = [
        {key: _build(getattr(lora, name), name) for key, name in _LORA_KEYS.items()}
        for lora in configuration.loras
    ]  # fmt: skip
    data["controls"] = [
        {key: _build(getattr(control, name), name) for key, name in _CONTROL_KEYS.items()}
        for control in configuration.controls
    ]
    if not configuration.causal_inference_enabled:
        data["causalInference"] = 0
        data["causalInferencePad"] = 0
    return data
