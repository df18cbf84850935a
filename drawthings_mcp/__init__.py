"""Draw Things for chat models and programs: a client library, a studio and an MCP server.

The names below are loaded when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawthings_mcp.late import import_late

if TYPE_CHECKING:
    from drawthings_mcp.api.async_client import AsyncDrawThingsClient
    from drawthings_mcp.api.blocking import DrawThingsClient, generate_image
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
    "api.async_client": ("AsyncDrawThingsClient",),
    "api.blocking": ("DrawThingsClient", "generate_image"),
    "errors": ("DrawThingsError", "DrawThingsWarning"),
    "generation": (
        "ControlInputType",
        "ControlMode",
        "ControlNetConfig",
        "GeneratedImage",
        "GenerationRequest",
        "ImageGenerationConfig",
        "LoRAConfig",
        "LoRAMode",
        "SamplerType",
        "SeedMode",
    ),
    "metadata": ("read_metadata",),
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

__getattr__ = import_late(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
