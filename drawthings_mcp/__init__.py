"""Draw Things for chat models and programs: a client library, a studio and an MCP server.

The names below are loaded when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drawthings_mcp.api.async_client import AsyncDrawThingsClient
    from drawthings_mcp.api.blocking import DrawThingsClient, ModelMetadata, generate_image
    from drawthings_mcp.api.recipes import get_record, read_recipe
    from drawthings_mcp.api.results import GeneratedImage
    from drawthings_mcp.errors import DrawThingsError, DrawThingsWarning
    from drawthings_mcp.generation import (
        ControlInputType,
        ControlMode,
        ControlNetConfig,
        GenerationRequest,
        ImageGenerationConfig,
        LoRAConfig,
        LoRAMode,
        SamplerType,
        SeedMode,
    )
    from drawthings_mcp.metadata.reading import read_metadata

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
    "ModelMetadata",
    "SamplerType",
    "SeedMode",
    "__version__",
    "generate_image",
    "get_record",
    "read_metadata",
    "read_recipe",
]

__version__: str


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version

        return version("drawthings-mcp")
    value = globals()[name] = getattr(_import_home(name), name)
    return value


def _import_home(name: str) -> ModuleType:
    if name == "AsyncDrawThingsClient":
        from drawthings_mcp.api import async_client

        return async_client
    if name == "GeneratedImage":
        from drawthings_mcp.api import results

        return results
    if name in ("DrawThingsClient", "ModelMetadata", "generate_image"):
        from drawthings_mcp.api import blocking

        return blocking
    if name in ("get_record", "read_recipe"):
        from drawthings_mcp.api import recipes

        return recipes
    if name in ("DrawThingsError", "DrawThingsWarning"):
        from drawthings_mcp import errors

        return errors
    if name == "read_metadata":
        from drawthings_mcp.metadata import reading

        return reading
    from drawthings_mcp import generation

    return generation


def __dir__() -> list[str]:
    return __all__
