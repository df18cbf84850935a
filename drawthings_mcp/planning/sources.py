"""Where controls take their input from (protocol §5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from drawthings_mcp.catalog import Control
from drawthings_mcp.generation import ControlInputType, ControlNetConfig, HintType

Source: TypeAlias = HintType | Literal["image"]
"""A hint, or the canvas."""

IMAGE: Literal["image"] = "image"

SOURCES: Mapping[str, tuple[Source, ...]] = {
    "depth": (HintType.Depth, IMAGE),
    "scribble": (HintType.Scribble, IMAGE),
    "softedge": (IMAGE, HintType.Custom),
    "canny": (IMAGE, HintType.Custom),
    "mlsd": (IMAGE, HintType.Custom),
    "pose": (HintType.Pose, HintType.Custom),
    "normalbae": (HintType.Custom,),
    "seg": (HintType.Custom,),
    "lineart": (HintType.Custom,),
    "custom": (HintType.Custom,),
    "tile": (HintType.Custom, IMAGE),
    "blur": (HintType.Custom, IMAGE),
    "gray": (HintType.Custom, IMAGE),
    "lowquality": (HintType.Custom, IMAGE),
    "inpaint": (IMAGE,),
    "ip2p": (IMAGE,),
    "shuffle": (HintType.Shuffle, HintType.Custom),
    "color": (HintType.Color, IMAGE),
}
"""Sources of a control by kind; the first that is there counts."""

REFERENCE_TYPES = frozenset(
    {"ipadapterplus", "ipadapterfull", "ipadapterfaceidplus", "pulid", "redux", "llava", "inject_kv"}
)
"""Types of controls that look at pictures rather than maps."""

_COLOUR_TYPE = "t2iadapter"
"""The only type of control that reads colours."""


def find_kind(control: Control, configuration: ControlNetConfig) -> str:
    """What a control reads: its own modifier, and only without one what the configuration says (protocol §2.3)."""
    if control.type in REFERENCE_TYPES:
        return "shuffle"
    if control.modifier not in {"", "none"}:
        return control.modifier
    override = configuration.input_override
    return "custom" if override is ControlInputType.Unspecified else override.name.lower()


def list_sources(control: Control, kind: str) -> tuple[Source, ...]:
    """What a control of a kind looks at, in order."""
    if kind == "color" and control.type != _COLOUR_TYPE:
        return ()
    return SOURCES.get(kind, ())
