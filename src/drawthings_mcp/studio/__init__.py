"""One generation from arguments to saved images: model, settings, guard, queue, run, save."""

from drawthings_mcp.studio.arguments import GenerateArguments, ImageFormat
from drawthings_mcp.studio.background import load_room
from drawthings_mcp.studio.heartbeat import Report
from drawthings_mcp.studio.results import CatalogListing, CatalogRow, GenerationResult, SavedVariant
from drawthings_mcp.studio.studio import HEARTBEAT_SECONDS, Studio, open_studio

__all__ = [
    "HEARTBEAT_SECONDS",
    "CatalogListing",
    "CatalogRow",
    "GenerateArguments",
    "GenerationResult",
    "ImageFormat",
    "Report",
    "SavedVariant",
    "Studio",
    "load_room",
    "open_studio",
]
