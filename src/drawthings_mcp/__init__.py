"""Draw Things for chat models and programs: a client library, a studio and an MCP server.

The names below are loaded when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drawthings_mcp.client import AsyncDrawThingsClient, DrawThingsClient, generate_image
    from drawthings_mcp.errors import DrawThingsError, DrawThingsWarning
    from drawthings_mcp.generation import (
        ControlInputType,
        ControlMode,
        ControlNetConfig,
        GeneratedImage,
        GenerationRequest,
        ImageGenerationConfig,
        LoRAConfig,
        LoRAMode,
        SamplerType,
        SeedMode,
    )
    from drawthings_mcp.metadata import read_metadata

_HOMES = {
    "AsyncDrawThingsClient": "client",
    "DrawThingsClient": "client",
    "DrawThingsError": "errors",
    "DrawThingsWarning": "errors",
    "ControlInputType": "generation",
    "ControlMode": "generation",
    "ControlNetConfig": "generation",
    "GeneratedImage": "generation",
    "GenerationRequest": "generation",
    "ImageGenerationConfig": "generation",
    "LoRAConfig": "generation",
    "LoRAMode": "generation",
    "SamplerType": "generation",
    "SeedMode": "generation",
    "generate_image": "client",
    "read_metadata": "metadata",
}

__all__ = [
    "AsyncDrawThingsClient",
    "ControlInputType",
    "ControlMode",
    "ControlNetConfig",
    "DrawThingsClient",
    "DrawThingsError",
    "DrawThingsWarning",
    "GeneratedImage",
    "GenerationRequest",
    "ImageGenerationConfig",
    "LoRAConfig",
    "LoRAMode",
    "SamplerType",
    "SeedMode",
    "generate_image",
    "read_metadata",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
