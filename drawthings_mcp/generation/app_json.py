"""The app's JSON form of configurations, LoRAs and controls, as in presets and image metadata (formats §1.3).

Keys are field names in camelCase, sizes are pixels, some enumerations are words, and numbers are 32 bits wide. An
object may be partial; what is not known in it is named.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.generation.enums import (
    ColorCalibration,
    CompressionMethod,
    ControlInputType,
    ControlMode,
    LoRAMode,
)
from drawthings_mcp.validation import find_alike, make_encodable, shorten

if TYPE_CHECKING:
    from pydantic import BaseModel

UNIT_SIZES = frozenset(
    {
        *("width", "height", "hires_fix_width", "hires_fix_height"),
        *("decoding_tile_width", "decoding_tile_height", "decoding_tile_overlap"),
        *("diffusion_tile_width", "diffusion_tile_height", "diffusion_tile_overlap"),
    }
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


_OLDER_WORDS: Mapping[str, Mapping[str, enum.IntEnum]] = {"color_calibration": {"disabled": ColorCalibration.Disabled}}
"""Words that the app no longer writes."""

_RENAMED: Mapping[str, str] = {"control_mode": "controlImportance"}
_WITHOUT_KEY = frozenset({"name", "causal_inference_enabled"})
"""Fields that the app's objects do not have."""
_NO_SETTINGS = frozenset({"id", "name", "version"})
"""Keys that the app writes or reads besides the settings."""

MAX_FLOAT32 = 3.4e38
"""Beyond this a number is no 32-bit float, and no sensible setting."""


def widen_float32(value: float) -> float:
    """The double that a 32-bit float widens to: the only form that the app reads back (formats §3.4)."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def shorten_float32(value: float) -> float:
    """The shortest decimal that is the same 32-bit float: what somebody chose, for ``widen_float32`` of it."""
    single = struct.pack("<f", value)
    # Nine digits distinguish any two 32-bit floats, but not a double near the middle between two.
    value = widen_float32(value)
    digits = next(d for d in range(1, 10) if struct.pack("<f", float(f"{value:.{d}g}")) == single)
    return float(f"{value:.{digits}g}")


@cache
def list_keys(model: type[BaseModel]) -> Mapping[str, str]:
    """The app's keys of a kind of value, each with the field that it sets."""
    return {_RENAMED.get(name) or _camel(name): name for name in model.model_fields if name not in _WITHOUT_KEY}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def build_object(value: BaseModel) -> dict[str, Any]:
    """The complete object of a value."""
    return {key: _build(getattr(value, name), name) for key, name in list_keys(type(value)).items()}


def _build(value: Any, name: str) -> Any:
    if isinstance(value, enum.IntEnum):
        return _WORDS[name][value] if name in _WORDS else int(value)
    if isinstance(value, float):
        return widen_float32(value)
    return list(value) if isinstance(value, tuple) else value


def parse_fields(model: type[BaseModel], data: Any, what: str) -> tuple[dict[str, Any], list[str]]:
    """The fields that an object sets, and what in it is not known here, for people; ``null`` counts as absent.

    Parameters
    ----------
    what
        How an error names the object.

    Raises
    ------
    InvalidInputError
        It is no object.
    """
    if not isinstance(data, Mapping):
        raise InvalidInputError(f"{what} must be a JSON object, got {type(data).__name__}.")
    keys = list_keys(model)
    given = {key: value for key, value in data.items() if value is not None and key not in _NO_SETTINGS}
    unknown = [_name_unknown(str(key), keys) for key in given if key not in keys]
    fields = {keys[key]: _parse_value(keys[key], value) for key, value in given.items() if key in keys}
    unread = [name for name, value in fields.items() if value is _UNKNOWN_WORD]
    unknown += [f"{key} {shorten(given[key])}" for key in given if keys.get(key) in unread]
    return {name: value for name, value in fields.items() if name not in unread}, unknown


_UNKNOWN_WORD = object()


def _name_unknown(key: str, keys: Mapping[str, str]) -> str:
    """A key, with the one that was meant if it looks like a slip of the pen."""
    alike = find_alike(key, keys)
    name = shorten(make_encodable(key))
    return f"{name} (did you mean {alike[0]!r}?)" if alike else name


def _parse_value(name: str, value: Any) -> Any:
    if isinstance(value, str) and name in _WORDS:
        words = {word: member for member, word in _WORDS[name].items()} | dict(_OLDER_WORDS.get(name, {}))
        return words.get(value.lower(), _UNKNOWN_WORD)
    return shorten_float32(value) if isinstance(value, float) and abs(value) <= MAX_FLOAT32 else value
