"""A configuration ↔ the FlatBuffer of a request (protocol §2).

A configuration holds only what the slots can hold; what a model reads may be narrower, and was checked before.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np

from drawthings_mcp._generated.generation_configuration import ControlT, GenerationConfigurationT, LoRAT
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.generation import ControlNetConfig, ImageGenerationConfig, LoRAConfig
from drawthings_mcp.generation.app_json import UNIT_SIZES
from drawthings_mcp.limits import UNIT

_WIRE_NAMES: Mapping[str, str] = {
    "width": "start_width",
    "height": "start_height",
    "hires_fix_width": "hires_fix_start_width",
    "hires_fix_height": "hires_fix_start_height",
    "fps": "fps_id",
    "motion_scale": "motion_bucket_id",
    "guiding_frame_noise": "cond_aug",
    "start_frame_guidance": "start_frame_cfg",
    "stage_2_guidance": "stage_2_cfg",
}
"""Fields whose name on the wire is not that of the app (protocol §2.6)."""


def _attribute(name: str) -> str:
    # flatc names the attributes of its object API in camelCase.
    first, *rest = _WIRE_NAMES.get(name, name).split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


_LORA = {name: _attribute(name) for name in LoRAConfig.model_fields}
_CONTROL = {name: _attribute(name) for name in ControlNetConfig.model_fields}
_FIELDS = {
    name: _attribute(name) for name in ImageGenerationConfig.model_fields if name not in {"loras", "controls"}
}  # fmt: skip


def build_configuration(configuration: ImageGenerationConfig) -> bytes:
    """The FlatBuffer of a configuration.

    Every scalar is written, also where it equals the schema's default, so that nothing depends on a reader's
    defaults (protocol §2.4). Empty texts are left out, as the app does.

    Raises
    ------
    InvalidInputError
        The seed has not been drawn or no model is named: a server would use 0 or any model.
    """
    if configuration.seed < 0:
        raise InvalidInputError("draw one before the request is built; a server has no random seed.", parameter="seed")
    if not configuration.model:
        raise InvalidInputError("name a checkpoint file, or a server uses any model it has.", parameter="model")
    table = _fill_table(GenerationConfigurationT(), configuration, _FIELDS)
    table.causalInferenceEnabled = configuration.causal_inference_enabled and configuration.causal_inference > 0
    table.loras = [_fill_table(LoRAT(), lora, _LORA) for lora in configuration.loras] or None
    table.controls = [_fill_table(ControlT(), control, _CONTROL) for control in configuration.controls] or None
    builder = flatbuffers.Builder(1024)
    builder.ForceDefaults(True)
    builder.Finish(table.Pack(builder))
    return bytes(builder.Output())


def parse_configuration(data: bytes) -> ImageGenerationConfig:
    """The configuration in a FlatBuffer.

    Floats come back as the shortest decimal of their 32-bit value, so that 0.7 stays 0.7.

    Raises
    ------
    InvalidInputError
        The bytes are no such buffer, or an enumeration in it has a member that is not known here.
    """
    try:
        table = GenerationConfigurationT.InitFromPackedBuf(data)
    except (struct.error, IndexError, TypeError, ValueError) as exc:
        raise InvalidInputError(f"These {len(data)} bytes are not a generation configuration.") from exc
    return ImageGenerationConfig.from_saved(
        **_parse_table(table, _FIELDS),
        loras=tuple(LoRAConfig.from_saved(**_parse_table(lora, _LORA)) for lora in table.loras or ()),
        controls=tuple(
            ControlNetConfig.from_saved(**_parse_table(control, _CONTROL)) for control in table.controls or ()
        ),
    )


def _to_wire(name: str, value: Any) -> Any:
    if name in UNIT_SIZES:
        return value // UNIT
    if isinstance(value, enum.IntEnum):
        return int(value)
    if isinstance(value, tuple):
        return list(value) or None
    return None if value == "" else value


def _from_wire(name: str, value: Any) -> Any:
    if name in UNIT_SIZES:
        return value * UNIT
    if isinstance(value, float):
        return float(str(np.float32(value)))
    return value


def _fill_table(table: Any, value: object, names: Mapping[str, str]) -> Any:
    for name, attribute in names.items():
        setattr(table, attribute, _to_wire(name, getattr(value, name)))
    return table


def _parse_table(table: Any, names: Mapping[str, str]) -> dict[str, Any]:
    fields = {name: _from_wire(name, getattr(table, attribute)) for name, attribute in names.items()}
    return {name: value for name, value in fields.items() if value is not None}
