"""Settings from several places, laid over each other, each value with where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drawthings_mcp.generation import LoRAConfig

DEFAULT = "default"
"""Origin of what no layer sets: the app's default."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Values from one place.

    Attributes
    ----------
    origin
        ``call``, ``preset``, ``mode``, ``recipe``, ``recommended`` and so on.
    fields
        Of an ``ImageGenerationConfig``.
    """

    origin: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Merged:
    """Fields of an ``ImageGenerationConfig`` and the origin of each."""

    fields: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)


def merge(layers: Sequence[Layer]) -> Merged:
    """The fields of all layers; an earlier layer wins over a later one."""
    merged = Merged()
    for layer in reversed(layers):
        merged.fields.update(layer.fields)
        merged.origins.update(dict.fromkeys(layer.fields, layer.origin))
    return merged


def join_loras(below: Sequence[LoRAConfig], added: Sequence[LoRAConfig]) -> tuple[LoRAConfig, ...]:
    """Those of a preset and those that were added to it, which win when a file occurs in both."""
    by_file = {lora.file: lora for lora in below}
    for lora in added:
        by_file[lora.file] = lora.replace(mode=by_file[lora.file].mode) if lora.file in by_file else lora
    return tuple(by_file.values())
